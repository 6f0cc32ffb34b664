"""Mesh -> sparse SDF: signed distances on a grid, kept only where the surface is near.

In: a mesh of any frame, closed or open. Out: a ``SparseSdf``: distance over band, clipped to
[-1, 1], negative inside, for the samples nearer to the surface than the band. Files and the
way back are in ``sdf_io`` and ``sdf_to_mesh``. Needs numba (extra ``render``).

GRID units: the longest side is centred and 0.95 of the grid, sample i of R lies at i, so that
``i / (R - 1) - 0.5`` is its place in a unit cube around the origin, as published.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.frames import MODEL_SIDE, Placement, placement_to_model
from cadwright.geometry.sdf_kernels import (
    BRICK,
    CELLS,
    SNAP,
    compiled,
    cross_columns,
    gather_bricks,
    spread_distances,
    wind_columns,
)
from cadwright.geometry.welding import is_closed
from cadwright.types import FloatArray, Mesh

FILL = 0.95  # share of the grid's side that the longest side of a shape takes
THRESHOLD_FACTOR = 4.0  # the published band: 4 / R of the grid's side
MIN_RESOLUTION, MAX_RESOLUTION = 8, 1024
SHORTEST_PIECE = 8.0  # steps; shorter ones cost more in bookkeeping than they save
NO_PLACEMENT = Placement(1.0, np.zeros(3))


@dataclass(frozen=True, slots=True, eq=False)
class SparseSdf:
    """Signed distances near a surface.

    Attributes:
        values: (N,) float32 in [-1, 1]: distance over band, negative inside.
        index: (N, 3) int32 x, y, z of each sample, 0 to R - 1, in ascending order.
        resolution: R, samples along each side of the grid.
        band: the distance that became 1, GRID units.
        placement: USER to GRID frame.
        closed: whether the mesh was closed; else the sign is by a winding number over 0.5.
    """

    values: NDArray[np.float32]
    index: NDArray[np.int32]
    resolution: int
    band: float
    placement: Placement = NO_PLACEMENT
    closed: bool = True

    def __post_init__(self) -> None:
        check_samples(self.values, self.index, self.resolution)


@dataclass(slots=True)
class SdfCost:
    """What one conversion took.

    Attributes:
        seconds: wall time.
        working_mb: the largest arrays held at once, 10^6 bytes, without the mesh and the result.
        pieces: triangles after those with long edges were halved.
    """

    seconds: float = 0.0
    working_mb: float = 0.0
    pieces: int = 0
    _held: dict[str, int] = field(default_factory=dict)

    def hold(self, name: str, num_bytes: int) -> None:
        """Note an array that is held from now on (0: given back)."""
        self._held[name] = num_bytes
        self.working_mb = max(self.working_mb, sum(self._held.values()) / 1e6)


def mesh_to_sdf(
    mesh: Mesh,
    *,
    resolution: int,
    threshold_factor: float = THRESHOLD_FACTOR,
    cost: SdfCost | None = None,
) -> SparseSdf:
    """Measure signed distances in a band around a surface.

    Distances are exact but for rounding. A closed mesh, also one of bodies that overlap, is
    inside where its winding number is at least 1, counted exactly along lines of samples; an
    open one where the generalised winding number is over 0.5.

    Args:
        mesh: welded, any frame.
        resolution: R, 8 to 1024.
        threshold_factor: the band is this over R, in sides of the grid; 4 was published.
        cost: filled in with seconds and memory.
    Returns:
        The samples within the band, in GRID units.
    Raises:
        InputError: resolution or factor out of range.
        GeometryError: no extent, or no sample lies within the band.
        MissingDependencyError: numba is not installed.
    """
    begin_s = time.perf_counter()
    cost = cost if cost is not None else SdfCost()
    if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        span = f"{MIN_RESOLUTION} to {MAX_RESOLUTION}"
        raise InputError(f"the resolution must be {span}, not {resolution}")
    if not 0 < threshold_factor <= resolution / 2:
        raise InputError(f"the band factor must be over 0, at most R/2, not {threshold_factor:g}")
    placement = placement_to_grid(mesh.bounds, resolution)
    band = threshold_factor / resolution * (resolution - 1)
    moved = Mesh(placement.apply(mesh.vertices), mesh.faces)
    distances, index = _distances(moved, resolution, band, cost)
    if not len(index):
        raise GeometryError("no sample of the grid lies within the band: widen it, or refine.")
    closed = is_closed(mesh)
    inside = _inside(moved, index, resolution, closed, cost)
    values = np.minimum(distances / np.float32(band), 1.0)
    values[inside] *= -1
    cost.seconds = time.perf_counter() - begin_s
    return SparseSdf(values, index, resolution, band, placement, closed)


def placement_to_grid(bounds: FloatArray, resolution: int) -> Placement:
    """USER to GRID frame: centred, the longest side 0.95 (R - 1). ``bounds`` (2, 3), USER frame.

    Raises:
        GeometryError: the bounds are not finite or have no extent.
    """
    steps = resolution - 1
    half = np.full(3, steps / 2)
    return Placement(FILL / MODEL_SIDE * steps, half).compose(placement_to_model(bounds))


def check_samples(
    values: NDArray[np.floating], index: NDArray[np.integer], resolution: int
) -> None:
    """Raises InputError unless these are finite values within [-1, 1] on cells of the grid."""
    if index.ndim != 2 or index.shape[1] != 3 or values.shape != (len(index),):
        raise InputError(
            f"a sparse SDF needs (N,) values and (N, 3) indices, not {values.shape} "
            f"and {index.shape}"
        )
    if not len(index):
        raise InputError("the sparse SDF is empty: no sample lies in its band")
    if index.min() < 0 or index.max() >= resolution:
        raise InputError(
            f"sparse SDF coordinates reach from {index.min()} to {index.max()}, "
            f"outside 0 to {resolution - 1}"
        )
    if not (np.abs(values) <= 1.0).all():  # NaN fails, too
        raise InputError("sparse SDF values must lie in [-1, 1]: divided by the band and clipped")


def _distances(
    moved: Mesh, resolution: int, band: float, cost: SdfCost
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Distances (N,) within the band and their samples (N, 3), ascending; GRID units."""
    bricks = -(-resolution // BRICK)
    pointer = np.full((bricks, bricks, bricks), -1, dtype=np.int32)
    cost.hold("pointer", pointer.nbytes)
    triangles = np.ascontiguousarray(moved.triangles)
    longest = max(SHORTEST_PIECE, 2 * band)
    spread = compiled(spread_distances)
    spread(triangles, band, longest, resolution, pointer, np.zeros((1, CELLS), np.float32), True)
    where = np.argwhere(pointer == 0)
    pointer[tuple(where.T)] = np.arange(len(where), dtype=np.int32)
    pool = np.full((len(where), CELLS), np.inf, dtype=np.float32)
    cost.hold("pool", pool.nbytes)
    cost.pieces = spread(triangles, band, longest, resolution, pointer, pool, False)
    gather, limit = compiled(gather_bricks), np.float32(band * band)
    none = np.zeros((1, 3), np.int32), np.zeros(1, np.float32)
    num = gather(where, pool, resolution, limit, *none, True)
    index, values = np.zeros((num, 3), np.int32), np.zeros(num, np.float32)
    gather(where, pool, resolution, limit, index, values, False)
    cost.hold("pool", 0)
    order = np.argsort((index[:, 0].astype(np.int64) * resolution + index[:, 1]) * resolution
                       + index[:, 2])  # fmt: skip
    cost.hold("order", order.nbytes + index.nbytes + values.nbytes)
    return values[order], index[order]


def _inside(
    moved: Mesh, index: NDArray[np.int32], resolution: int, closed: bool, cost: SdfCost
) -> NDArray[np.bool_]:
    """(N,) whether each sample is inside the mesh."""
    if not closed:
        from cadwright.geometry.winding import winding_numbers

        return np.asarray(winding_numbers(index, moved) > 0.5)
    corners = np.rint(moved.triangles * SNAP).astype(np.int64)
    start = np.zeros(resolution * resolution + 1, dtype=np.int64)
    none = np.zeros(1), np.zeros(1, np.int8)
    cross = compiled(cross_columns)
    cross(corners, resolution, start, *none, True)
    np.cumsum(start, out=start)
    heights, signs = np.zeros(start[-1]), np.zeros(start[-1], np.int8)
    cost.hold("crossings", corners.nbytes + 2 * start.nbytes + heights.nbytes + signs.nbytes)
    cross(corners, resolution, start.copy(), heights, signs, False)
    winding = np.zeros(len(index), np.int32)
    compiled(wind_columns)(index, resolution, start, heights, signs, winding)
    return winding >= 1
