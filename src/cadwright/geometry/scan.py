"""A clean part -> what a scanner would have made of it: noise, missing sides, holes, a pose.

In: a mesh or points in the MODEL frame and a seed. Out: a mesh or points in the same MODEL frame,
not brought back to fill it, so that they can still be held against the clean part. ``TRACKS``
names the protocols of evaluation; ``degrade_points`` is the quick form for training. The ``scan``
track follows the idea of CADReasoner's simulation (oriented points, hidden ones removed from a
few cameras with one side missing, holes, noise); no Poisson surface is made: it gives points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.mesh_to_points import sample_surface_faces
from cadwright.geometry.subdivide import split_long_edges
from cadwright.types import FloatArray, Mesh

NOISE_STD = 0.01  # MODEL frame, the published augmentation and track
FINE_EDGE = 0.06  # faces are split to this before vertices move or faces go
NUM_SCAN = 20_000  # points of a simulated scan before any is lost
SCAN_NOISE_STD = 0.003
CELL, DEPTH = 0.12, 0.06  # of the depth buffer that tells what is seen; MODEL frame
FACING = 0.25  # cosine to the line of sight from which on a surface is seen
SIDES: FloatArray = np.concatenate([np.eye(3), -np.eye(3)])

Degraded = Mesh | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PointDegradation:
    """What may happen to the points of a training sample, each with its own probability.

    Attributes:
        noise_std: standard deviation of the noise, MODEL frame.
        noise: probability of noise at all.
        missing_side: probability that one side is missing.
        holes: probability of one to four holes.
        uneven: probability that the density falls off in some direction.
    """

    noise_std: float = NOISE_STD
    noise: float = 0.5
    missing_side: float = 0.3
    holes: float = 0.2
    uneven: float = 0.2


def degrade_points(
    points: NDArray[np.float32],
    normals: NDArray[np.floating] | None,
    rng: np.random.Generator,
    *,
    degradation: PointDegradation,
    least: int = 256,
) -> NDArray[np.float32]:
    """Spoil the points of a surface as scanners do; for training, before farthest points.

    Args:
        points: (N, 3) float32, MODEL frame, even over the surface; not changed.
        normals: (N, 3) outward, or None: then a side is told by depth alone.
        rng: moved on by the draws.
        degradation: what may happen, and how often.
        least: a step that would leave fewer points is left out.

    Returns:
        (M, 3) float32, MODEL frame, M <= N.
    """
    cuts: list[Callable[[], NDArray[np.bool_]]] = []
    shares = rng.random(4)
    if shares[0] < degradation.missing_side:
        direction = SIDES[int(rng.integers(6))]
        cuts.append(lambda: ~_seen_from(points, normals, direction))
    if shares[1] < degradation.holes:
        cuts.append(lambda: _outside_holes(points, int(rng.integers(1, 5)), rng))
    if shares[2] < degradation.uneven:
        cuts.append(lambda: _unevenly(points, rng))
    for cut in cuts:
        kept = cut()
        if np.count_nonzero(kept) >= least:
            points = points[kept]
            normals = None if normals is None else normals[kept]
    if shares[3] < degradation.noise and degradation.noise_std > 0:
        noise = rng.standard_normal(points.shape, dtype=np.float32)
        points = points + np.float32(degradation.noise_std) * noise
    return points


def degrade_mesh(mesh: Mesh, track: str, *, seed: int) -> Degraded:
    """One part as a track of evaluation wants it.

    Args:
        mesh: MODEL frame; need not be closed.
        track: a name in ``TRACKS``.
        seed: with the track's name, fixes the result.

    Returns:
        A mesh, or (N, 3) float32 points where the track is one of clouds. MODEL frame; the part
        lies where it lay, but for ``posed``: there it is turned by ``random_pose(seed)``.

    Raises:
        InputError: there is no such track.
        GeometryError: the mesh has no area, or nothing of it is left.
    """
    if track not in TRACKS:
        raise InputError(f"a track is one of {', '.join(TRACKS)}, not {track!r}")
    number = list(TRACKS).index(track)
    degraded = TRACKS[track](mesh, np.random.default_rng((seed, number)))
    if not (len(degraded.faces) if isinstance(degraded, Mesh) else len(degraded)):
        raise GeometryError(f"the track {track!r} leaves nothing of the surface.")
    return degraded


def random_pose(seed: int) -> FloatArray:
    """(3, 3) the rotation of the ``posed`` track; multiply points by its transpose from the right.

    Even over all rotations (Shoemake's subgroup algorithm, Graphics Gems III, 1992).
    """
    return _rotation(np.random.default_rng((seed, list(TRACKS).index("posed"))))


def seen_from(mesh: Mesh, direction: FloatArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(F,) which faces of a finely divided mesh are seen from far away in a direction.

    Raises:
        GeometryError: the mesh has no area.
    """
    middles = mesh.triangles.mean(axis=1)
    samples, _ = sample_surface_faces(mesh, NUM_SCAN, rng)
    both = np.concatenate([middles, samples])
    front = _front(both, direction)[: len(middles)]
    return front & (face_normals(mesh) @ direction > FACING)


def face_normals(mesh: Mesh) -> FloatArray:
    """(F, 3) unit normals, outward where the faces are; zero for faces without area."""
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: FloatArray = normals / np.maximum(length, 1e-30)
    return unit


def cluster_vertices(mesh: Mesh, cell: float) -> Mesh:
    """A coarser mesh: vertices of one grid cell become one, faces that collapse go.

    Args:
        mesh: any frame.
        cell: side of the cells, the mesh's own unit.
    """
    _, group = np.unique(np.floor(mesh.vertices / cell), axis=0, return_inverse=True)
    group = group.reshape(-1)
    counts = np.bincount(group)
    columns = [np.bincount(group, mesh.vertices[:, axis]) / counts for axis in range(3)]
    faces = group[mesh.faces]
    whole = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    kept = np.unique(np.sort(faces[whole], axis=1), axis=0, return_index=True)[1]
    return _compact(Mesh(np.stack(columns, axis=1), faces[whole][np.sort(kept)].astype(np.int32)))


def _clean(mesh: Mesh, rng: np.random.Generator) -> Degraded:
    return mesh


def _noise(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    fine = split_long_edges(mesh, FINE_EDGE)
    return Mesh(fine.vertices + NOISE_STD * rng.standard_normal(fine.vertices.shape), fine.faces)


def _missing_side(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    fine = split_long_edges(mesh, FINE_EDGE)
    return _with_faces(fine, ~seen_from(fine, SIDES[int(rng.integers(6))], rng))


def _noise_missing_side(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    open_mesh = _missing_side(mesh, rng)
    noise = NOISE_STD * rng.standard_normal(open_mesh.vertices.shape)
    return Mesh(open_mesh.vertices + noise, open_mesh.faces)


def _holes(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    fine = split_long_edges(mesh, FINE_EDGE)
    return _with_faces(fine, _outside_holes(fine.triangles.mean(axis=1), 4, rng))


def _decimated(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    fine = split_long_edges(mesh, FINE_EDGE)
    coarse = cluster_vertices(fine, float(rng.uniform(0.07, 0.12)))
    return coarse if len(coarse.faces) else fine  # a part smaller than a cell stays as it is


def _uneven(mesh: Mesh, rng: np.random.Generator) -> NDArray[np.float32]:
    points = sample_surface_faces(mesh, NUM_SCAN, rng)[0].astype(np.float32)
    return points[_unevenly(points, rng)]


def _posed(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    return Mesh(mesh.vertices @ _rotation(rng).T, mesh.faces)


def _scan(mesh: Mesh, rng: np.random.Generator) -> NDArray[np.float32]:
    """Points that cameras on five sides, and at the corners between them, have seen."""
    points, faces = sample_surface_faces(mesh, NUM_SCAN, rng)
    normals = face_normals(mesh)[faces]
    missing = SIDES[int(rng.integers(6))]
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 3**0.5
    cameras = [*SIDES[SIDES @ missing < 0.5], *corners[corners @ missing < 0]]
    seen = np.zeros(len(points))
    for camera in cameras:
        facing = (normals @ camera).clip(0, 1)
        seen += facing * ((facing > FACING) & _front(points, camera))
    # what more cameras look at more squarely has more points
    kept = seen > rng.random(len(points)) * np.quantile(seen, 0.9)
    kept &= _outside_holes(points, int(rng.integers(3, 5)), rng)
    noise = SCAN_NOISE_STD * rng.standard_normal((int(kept.sum()), 1)) * normals[kept]
    return (points[kept] + noise).astype(np.float32)


TRACKS: dict[str, Callable[[Mesh, np.random.Generator], Degraded]] = {
    "clean": _clean,
    "noise": _noise,
    "missing_side": _missing_side,
    "noise_missing_side": _noise_missing_side,
    "holes": _holes,
    "decimated": _decimated,
    "uneven": _uneven,
    "scan": _scan,
    "posed": _posed,
}
"""How each named track spoils a mesh. ``uneven`` and ``scan`` give clouds, the others meshes."""


def _seen_from(
    points: NDArray[np.floating], normals: NDArray[np.floating] | None, direction: FloatArray
) -> NDArray[np.bool_]:
    front = _front(points, direction)
    return front if normals is None else front & (normals @ direction > FACING)


def _front(points: NDArray[np.floating], direction: FloatArray) -> NDArray[np.bool_]:
    """Which points no other hides from a viewer far away, by a depth buffer of coarse cells."""
    across = np.eye(3)[int(np.argmin(np.abs(direction)))]
    first = np.cross(direction, across)
    first /= np.linalg.norm(first)
    x, y, depth = (points @ axis for axis in (first, np.cross(direction, first), direction))
    columns = int((x.max() - x.min()) / CELL) + 1
    cell = ((y - y.min()) / CELL).astype(np.intp) * columns + ((x - x.min()) / CELL).astype(np.intp)
    nearest = np.full(int(cell.max()) + 1, -np.inf)
    np.maximum.at(nearest, cell, depth)
    front: NDArray[np.bool_] = depth > nearest[cell] - DEPTH
    return front


def _outside_holes(
    points: NDArray[np.floating], num: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which points lie in none of ``num`` balls about some of them."""
    kept = np.ones(len(points), dtype=np.bool_)
    for _ in range(num):
        offset = points - points[int(rng.integers(len(points)))]
        kept &= (offset * offset).sum(axis=1) > rng.uniform(0.1, 0.3) ** 2
    return kept


def _unevenly(points: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A draw in which points grow rarer in some direction, up to some ten times."""
    direction = rng.standard_normal(3)
    along = points @ (direction / np.linalg.norm(direction))
    rate = rng.uniform(1.0, 2.5) / max(float(np.ptp(along)), 1e-9)
    kept: NDArray[np.bool_] = rng.random(len(points)) < np.exp(rate * (along.min() - along))
    return kept


def _rotation(rng: np.random.Generator) -> FloatArray:
    turn, height, swing = rng.random(3)
    a, b, c, d = (
        np.sqrt(1 - height) * np.sin(2 * np.pi * turn),
        np.sqrt(1 - height) * np.cos(2 * np.pi * turn),
        np.sqrt(height) * np.sin(2 * np.pi * swing),
        np.sqrt(height) * np.cos(2 * np.pi * swing),
    )
    return np.array(
        [
            [1 - 2 * (b * b + c * c), 2 * (a * b - c * d), 2 * (a * c + b * d)],
            [2 * (a * b + c * d), 1 - 2 * (a * a + c * c), 2 * (b * c - a * d)],
            [2 * (a * c - b * d), 2 * (b * c + a * d), 1 - 2 * (a * a + b * b)],
        ]
    )


def _with_faces(mesh: Mesh, kept: NDArray[np.bool_]) -> Mesh:
    return _compact(Mesh(mesh.vertices, mesh.faces[kept]))


def _compact(mesh: Mesh) -> Mesh:
    """The mesh without vertices that no face uses."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    return Mesh(mesh.vertices[used], faces.reshape(-1, 3).astype(np.int32))
