"""Where on a part its bodies show and its surface bends: what a warm-up can learn cell by cell.

In: a program of united prisms, and latent cells. Out: points in GRID units, and three numbers a
cell: ``bend``, whose sum over a part is twice its pieces less twice its holes (Gauss and Bonnet);
``count``, whose sum is the number of bodies that show; ``main``, the share of the surface that
belongs to the largest body. An aligned model never sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.frames import Placement
from cadwright.models.align3d.visible import Slab

NUM_POINTS = 4096  # on the surface
HINTS = ("bend", "count", "main")
CORNER = -1  # owner of a point that is a corner of the mesh


@dataclass(frozen=True, slots=True, eq=False)
class Hints:
    """Points of a part's surface.

    Attributes:
        places: (P, 3) float32, GRID units.
        owners: (P,) int16 body, the largest is 0; ``CORNER`` where the surface bends.
        bends: (P,) float32 the angle that the faces about a corner lack, in full turns; else 0.
    """

    places: NDArray[np.float32]
    owners: NDArray[np.int16]
    bends: NDArray[np.float32]


def slabs_to_hints(slabs: list[Slab], placement: Placement, *, seed: int) -> Hints:
    """Points of the union's surface, evenly by area, and its corners.

    Args:
        slabs: bodies, largest first.
        placement: their frame to GRID.
        seed: of the points.
    """
    originals = [slab.solid.as_original() for slab in slabs]
    mesh = m3.Manifold.batch_boolean(originals, m3.OpType.Add).to_mesh64()
    vertices = np.array(mesh.vert_properties[:, :3], dtype=np.float64)
    faces = np.array(mesh.tri_verts, dtype=np.int64)
    same = np.arange(len(vertices))  # corners that stand twice, where two bodies meet
    same[np.array(mesh.merge_from_vert, dtype=np.int64)] = np.array(
        mesh.merge_to_vert, dtype=np.int64
    )
    faces = same[faces]
    bends = corners_to_bends(vertices, faces)
    corners = np.flatnonzero(np.abs(bends) > 1e-6)
    points, owners = _sample(vertices, faces, _owners(mesh, originals), seed)
    places = placement.apply(np.concatenate([vertices[corners], points])).astype(np.float32)
    return Hints(
        places,
        np.concatenate([np.full(len(corners), CORNER), owners]).astype(np.int16),
        np.concatenate([bends[corners], np.zeros(len(points))]).astype(np.float32),
    )


def corners_to_bends(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[np.float64]:
    """(V,) full turns less the angles of the faces about each corner; 0 where none is.

    Args:
        vertices: (V, 3).
        faces: (F, 3) of a closed mesh; the sum is then its Euler number.
    """
    total = np.zeros(len(vertices))
    for k in range(3):
        here, one, two = (vertices[faces[:, (k + j) % 3]] for j in range(3))
        first, second = one - here, two - here
        across = np.linalg.norm(np.cross(first, second), axis=1)
        angles = np.arctan2(across, np.einsum("nd,nd->n", first, second))
        total += np.bincount(faces[:, k], angles, minlength=len(vertices))
    used = np.bincount(faces.reshape(-1), minlength=len(vertices)) > 0
    return np.where(used, 1 - total / (2 * np.pi), 0.0)


def turn_hints(hints: Hints, axes: tuple[int, ...], flips: tuple[bool, ...], side: int) -> Hints:
    """The same points after a rotation of the grid of ``side`` samples, see ``sources.TURNS``."""
    places = hints.places[:, list(axes)]
    return replace(hints, places=np.where(flips, np.float32(side - 1) - places, places))


def hints_to_cells(
    hints: Hints, cells: NDArray[np.integer[Any]], *, cell_side: int
) -> NDArray[np.float16]:
    """(N, 3) ``HINTS`` of each cell.

    Args:
        hints: of a part.
        cells: (N, 3) latent cells of the same part.
        cell_side: samples of the grid that a cell is wide.
    """
    from scipy.spatial import cKDTree

    middles = cells * float(cell_side) + (cell_side - 1) / 2
    # Nearest and not around: a surface may run just outside of the cells that the VAE kept.
    cell = cKDTree(middles).query(hints.places)[1]
    on_surface = hints.owners != CORNER
    owners = hints.owners[on_surface]
    sizes = np.maximum(np.bincount(owners), 1)
    own = np.bincount(cell[on_surface], minlength=len(cells))
    is_main = np.bincount(cell[on_surface], owners == 0, minlength=len(cells))
    table = np.stack(
        [
            np.bincount(cell, hints.bends, minlength=len(cells)),
            np.bincount(cell[on_surface], 1 / sizes[owners], minlength=len(cells)),
            is_main / np.maximum(own, 1),
        ],
        axis=1,
    )
    return table.astype(np.float16)


def _owners(mesh: Any, originals: list[m3.Manifold]) -> NDArray[np.int64]:
    """(F,) number of the body that each face of the union came from."""
    numbers = {solid.original_id(): k for k, solid in enumerate(originals)}
    ends = np.array(mesh.run_index, dtype=np.int64) // 3
    lengths = ends[1:] - ends[:-1]
    runs = [numbers[int(number)] for number in mesh.run_original_id]
    return np.repeat(np.array(runs, dtype=np.int64), lengths)


def _sample(
    vertices: NDArray[Any], faces: NDArray[Any], owners: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    corners = vertices[faces]
    areas = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    even = (np.arange(NUM_POINTS) + rng.random()) / NUM_POINTS
    chosen = np.searchsorted(np.cumsum(areas) / areas.sum(), even).clip(max=len(faces) - 1)
    one, two = rng.random((2, NUM_POINTS, 1))
    fold = one + two > 1
    one, two = np.where(fold, 1 - one, one), np.where(fold, 1 - two, two)
    a, b, c = (corners[chosen, k] for k in range(3))
    return a + one * (b - a) + two * (c - a), owners[chosen]
