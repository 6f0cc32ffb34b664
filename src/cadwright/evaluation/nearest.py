"""Exact distances to the nearest point of a cloud, made for surfaces: (N, 3) in, (N,) out.

A cloud of about ten thousand points on a surface is sorted into 32^3 cells, 2^3 of them to a part
and 2^3 parts to a block. A query looks at the 27 cells around it; where these cannot hold the
nearest point for sure, it goes through blocks and parts, each with a tight box, and skips those
that are too far. The same distances as a k-d tree's, several times sooner. Any frame. Not
covered: which point is the nearest.
numba is imported at the first call and its code is cached on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.geometry.rasterise import compiled
from cadwright.types import FloatArray

NUM_CELLS = 32  # along the cloud's longest side
NUM_BLOCKS = NUM_CELLS // 4  # along a side
CELLS_A_BLOCK, CELLS_A_PART = 4**3, 2**3
_LAST = NUM_CELLS - 1


@dataclass(frozen=True, slots=True, eq=False)
class SortedCloud:
    """A cloud made ready to be searched.

    Attributes:
        points: (N, 3) float64, sorted by block and cell.
        starts: (32^3 + 1,) int64, first point of each cell, in the order of blocks and parts.
        lower: (3,) corner of the cells' cube.
        cell: side of a cell.
        blocks, parts: (B,) and (S,) int64, the first cell of those that hold points.
        block_boxes, part_boxes: (B, 6) and (S, 6), lower and upper corner of their points.
        part_starts: (B + 1,) int64, the first part of each block.
    """

    points: FloatArray
    starts: NDArray[np.int64]
    lower: FloatArray
    cell: float
    blocks: NDArray[np.int64]
    block_boxes: FloatArray
    parts: NDArray[np.int64]
    part_boxes: FloatArray
    part_starts: NDArray[np.int64]


def sort_cloud(points: NDArray[np.floating]) -> SortedCloud:
    """Sort a cloud into cells.

    Args:
        points: (N, 3), any frame.
    Raises:
        GeometryError: there are no points, or one is not finite.
        MissingDependencyError: numba is not installed.
    """
    rows = np.ascontiguousarray(points, dtype=np.float64)
    if not len(rows) or not np.isfinite(rows).all():
        raise GeometryError("a chamfer distance needs points, and finite ones.")
    columns = [rows[:, axis] for axis in range(3)]
    lower = np.array([column.min() for column in columns])
    longest = max(float(column.max() - low) for column, low in zip(columns, lower, strict=True))
    cell = longest / NUM_CELLS if longest > 0 else 1.0
    ordered, starts = _kernels()[0](rows, lower, cell)
    blocks, block_boxes = _boxes(ordered, starts, CELLS_A_BLOCK)
    parts, part_boxes = _boxes(ordered, starts, CELLS_A_PART)
    part_starts = np.searchsorted(parts, np.append(blocks, NUM_CELLS**3))
    return SortedCloud(
        ordered, starts, lower, cell, blocks, block_boxes, parts, part_boxes, part_starts
    )


def _boxes(
    points: FloatArray, starts: NDArray[np.int64], num_cells: int
) -> tuple[NDArray[np.int64], FloatArray]:
    """First cell and tight box of every group of ``num_cells`` cells that holds points."""
    filled = np.flatnonzero(np.diff(starts[::num_cells])) * num_cells
    low = np.minimum.reduceat(points, starts[filled])
    return filled, np.concatenate([low, np.maximum.reduceat(points, starts[filled])], axis=1)


def squared_distances(points: NDArray[np.floating], cloud: SortedCloud) -> FloatArray:
    """Squared distance of every point to the nearest of a cloud, both in one frame.

    Args:
        points: (N, 3), finite; several times sooner where neighbours follow each other, as in
            ``SortedCloud.points``.
        cloud: what ``sort_cloud`` made.
    Returns:
        (N,) float64.
    """
    rows = np.ascontiguousarray(points, dtype=np.float64)
    return _kernels()[1](
        rows,
        cloud.points,
        cloud.starts,
        cloud.lower,
        cloud.cell,
        cloud.blocks,
        cloud.block_boxes,
        cloud.parts,
        cloud.part_boxes,
        cloud.part_starts,
    )


def chamfer(a: SortedCloud, b: SortedCloud) -> float:
    """``geometry.metrics.chamfer_distance`` of two sorted clouds: not times 1000."""
    a_to_b, b_to_a = squared_distances(a.points, b), squared_distances(b.points, a)
    return float(a_to_b.mean() + b_to_a.mean())


def share_within(a: SortedCloud, b: SortedCloud, distance: float) -> float:
    """Share of the points of both clouds that have one of the other nearer than ``distance``."""
    limit = distance * distance
    there = np.count_nonzero(squared_distances(a.points, b) < limit)
    back = np.count_nonzero(squared_distances(b.points, a) < limit)
    return float(there + back) / (len(a.points) + len(b.points))


@cache
def _kernels() -> tuple[Any, Any]:
    return compiled(_sort), compiled(_search)


def _sort(points, lower, cell):  # type: ignore[no-untyped-def]
    """Counting sort by block, part and cell (numba)."""
    num = points.shape[0]
    keys = np.zeros(num, dtype=np.int64)
    starts = np.zeros(NUM_CELLS**3 + 1, dtype=np.int64)
    for row in range(num):
        x = min(int((points[row, 0] - lower[0]) / cell), _LAST)
        y = min(int((points[row, 1] - lower[1]) / cell), _LAST)
        z = min(int((points[row, 2] - lower[2]) / cell), _LAST)
        key = ((x >> 2) * NUM_BLOCKS + (y >> 2)) * NUM_BLOCKS + (z >> 2)
        key = (key << 3) | ((x & 2) << 1) | (y & 2) | ((z & 2) >> 1)
        keys[row] = (key << 3) | ((x & 1) << 2) | ((y & 1) << 1) | (z & 1)
        starts[keys[row] + 1] += 1
    for key in range(NUM_CELLS**3):
        starts[key + 1] += starts[key]
    heads = starts[:-1].copy()
    ordered = np.zeros((num, 3), dtype=np.float64)
    for row in range(num):
        place = heads[keys[row]]
        heads[keys[row]] = place + 1
        for axis in range(3):
            ordered[place, axis] = points[row, axis]
    return ordered, starts


def _search(  # type: ignore[no-untyped-def]
    points, cloud, starts, lower, cell, blocks, block_boxes, parts, part_boxes, part_starts
):
    """Squared distance of each point to the cloud (numba).

    Longer than a function should be because numba inlines nothing it has not compiled before.
    """
    num = points.shape[0]
    found = np.zeros(num, dtype=np.float64)
    at = np.zeros(3, dtype=np.int64)
    order = np.array([0, -1, 1])
    cells_a_length = 1.0 / cell
    gaps = np.zeros((3, 3))  # squared, by axis: to the own cell, that below and that above
    nearest = 0  # of the point before, which is near where the points are sorted
    for row in range(num):
        px, py, pz = points[row, 0], points[row, 1], points[row, 2]
        sure = np.inf  # no point outside the 27 cells is nearer than this
        for axis in range(3):
            place = (points[row, axis] - lower[axis]) * cells_a_length
            own = int(min(max(place, 0.0), _LAST + 0.5))
            at[axis] = own
            if own > 1:
                sure = min(sure, (place - own + 1) * cell)
            if own < _LAST - 1:
                sure = min(sure, (own + 2 - place) * cell)
            below, above = (place - own) * cell, (own + 1 - place) * cell
            outside = max(max(-below, -above), 0.0)
            gaps[axis, 0] = outside * outside
            gaps[axis, 1] = max(below, 0.0) ** 2 if own > 0 else np.inf
            gaps[axis, 2] = max(above, 0.0) ** 2 if own < _LAST else np.inf
        sure = max(sure, 0.0) * (1 - 1e-9)
        best = np.inf
        for i in range(3):  # the own cell first, so that its neighbours can be left out
            if gaps[0, i] >= best:
                continue
            x = at[0] + order[i]
            for j in range(3):
                gap = gaps[0, i] + gaps[1, j]
                if gap >= best:
                    continue
                y = at[1] + order[j]
                for k in range(3):
                    if gap + gaps[2, k] >= best:
                        continue
                    z = at[2] + order[k]
                    key = ((x >> 2) * NUM_BLOCKS + (y >> 2)) * NUM_BLOCKS + (z >> 2)
                    key = (key << 3) | ((x & 2) << 1) | (y & 2) | ((z & 2) >> 1)
                    key = (key << 3) | ((x & 1) << 2) | ((y & 1) << 1) | (z & 1)
                    for other in range(starts[key], starts[key + 1]):
                        dx, dy = cloud[other, 0] - px, cloud[other, 1] - py
                        dz = cloud[other, 2] - pz
                        square = dx * dx + dy * dy + dz * dz
                        if square < best:
                            best = square
                            nearest = other
        if best > sure * sure:
            dx, dy, dz = cloud[nearest, 0] - px, cloud[nearest, 1] - py, cloud[nearest, 2] - pz
            best = min(best, dx * dx + dy * dy + dz * dz)
            for block in range(blocks.shape[0]):
                dx = max(max(block_boxes[block, 0] - px, px - block_boxes[block, 3]), 0.0)
                dy = max(max(block_boxes[block, 1] - py, py - block_boxes[block, 4]), 0.0)
                dz = max(max(block_boxes[block, 2] - pz, pz - block_boxes[block, 5]), 0.0)
                if dx * dx + dy * dy + dz * dz >= best:
                    continue
                for part in range(part_starts[block], part_starts[block + 1]):
                    dx = max(max(part_boxes[part, 0] - px, px - part_boxes[part, 3]), 0.0)
                    dy = max(max(part_boxes[part, 1] - py, py - part_boxes[part, 4]), 0.0)
                    dz = max(max(part_boxes[part, 2] - pz, pz - part_boxes[part, 5]), 0.0)
                    if dx * dx + dy * dy + dz * dz >= best:
                        continue
                    for other in range(starts[parts[part]], starts[parts[part] + CELLS_A_PART]):
                        dx, dy, dz = (
                            cloud[other, 0] - px,
                            cloud[other, 1] - py,
                            cloud[other, 2] - pz,
                        )
                        square = dx * dx + dy * dy + dz * dz
                        if square < best:
                            best = square
                            nearest = other
        found[row] = best
    return found
