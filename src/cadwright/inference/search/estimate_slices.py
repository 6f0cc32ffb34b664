"""An estimated solid -> bodies that fit inside it, as ``slices`` reads them off a real one.

In: an ``Estimate``. Out: proposals. Levels are peaks among the heights of points whose normals
run along an axis, and heights where the slices change, since the faces at a level may be missing
from the scan. Between two levels all slices are averaged, which takes most of the noise away.
Not covered: choosing among the bodies (``cover``).
"""

from __future__ import annotations

from collections.abc import Iterator

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.contours import values_to_area
from cadwright.geometry.voxels import HALF_SIDE
from cadwright.geometry.winding_field import Field
from cadwright.inference.search.estimate import Estimate
from cadwright.inference.search.slices import (
    MOST_LEVELS,
    Proposal,
    area_to_proposals,
    steps_to_proposals,
)
from cadwright.program.grammar import PLANE_AXES, Axes
from cadwright.program.program_to_mesh import AXES
from cadwright.types import FloatArray

BIN = 0.5  # PROGRAM units of the histogram of heights
ALONG = 0.9  # cosine above which a normal runs along an axis
FACE_AREA = 150.0  # PROGRAM units squared: smallest face that makes a level
CHANGE = 0.04  # share of the largest slice that must come or go at a level
APART = 5.0  # PROGRAM units between two levels at least
SPREAD = 6.0  # PROGRAM units over which a noisy level is gathered
THINNEST = 3.0
BLUR = 2.5  # of averaged slices, in typical distances of the points from their planes
MOST_FACES = 4  # of either side along an axis, whose forms are extruded; largest first
NEAR_FACE = 1.0  # PROGRAM units: points of a face lie this near to its level, noise apart
INSET = 2.5  # PROGRAM units left out at both ends of an interval, where its slices are blurred


def propose_from_estimate(estimate: Estimate) -> Iterator[Proposal]:
    """Bodies that the estimate's slices suggest, thick ones first on each axis."""
    tolerance = 0.5 + 3.0 * estimate.noise
    for axes in PLANE_AXES:
        x_axis, y_axis, normal = AXES[axes]
        field = np.transpose(estimate.field, (normal, x_axis, y_axis))
        levels = estimate_levels(estimate, normal)
        steps = [
            _mean_area(field, estimate, low, high)
            for low, high in zip(levels, levels[1:], strict=False)
        ]
        yield from steps_to_proposals(steps, levels, axes, thinnest=THINNEST, tolerance=tolerance)


def propose_from_faces(estimate: Estimate) -> Iterator[Proposal]:
    """Bodies that end in a flat face and have its form, which shows walls that slices do not.

    A wall thinner than the estimate's cells, or one whose other side the scan lacks, is still
    seen whole where it ends.
    """
    tolerance = 0.5 + 3.0 * estimate.noise
    for axes in PLANE_AXES:
        levels = estimate_levels(estimate, AXES[axes][2])
        for sign in (1.0, -1.0):
            yield from _from_side(estimate, axes, levels, sign, tolerance)


def _from_side(
    estimate: Estimate, axes: Axes, levels: list[float], sign: float, tolerance: float
) -> Iterator[Proposal]:
    """Those whose faces look up (``sign`` 1) or down (-1) along a plane's normal."""
    x_axis, y_axis, normal = AXES[axes]
    facing = sign * estimate.normals[:, normal] > ALONG
    for height, _ in _heights_of(estimate, facing, normal)[:MOST_FACES]:
        near = np.abs(estimate.points[:, normal] - height) < NEAR_FACE + 2 * estimate.noise
        area = _covered(estimate, facing & near, (x_axis, y_axis))
        for level in levels:
            if sign * (height - level) >= THINNEST:
                low, high = sorted((level, float(round(height))))
                yield from area_to_proposals(area, axes, low, high, tolerance=tolerance)


def _covered(
    estimate: Estimate, chosen: NDArray[np.bool_], within: tuple[int, int]
) -> m3.CrossSection:
    """The area that some points of a flat face stand for."""
    from scipy.ndimage import gaussian_filter

    grid = estimate.grid
    cells = ((estimate.points[chosen][:, within] + HALF_SIDE) / grid.cell).astype(np.int64)
    cells = cells.clip(0, grid.n - 1)
    flat = cells[:, 0] * grid.n + cells[:, 1]
    share = np.bincount(flat, estimate.areas[chosen], grid.n**2) / grid.cell**2
    gap = float(np.sqrt(np.median(estimate.areas)))
    values = gaussian_filter(share.reshape(grid.n, grid.n), max(0.7 * gap, 1.5) / grid.cell)
    return values_to_area(values, 0.5, grid)


def _mean_area(field: Field, estimate: Estimate, low: float, high: float) -> m3.CrossSection:
    """Where the mean of an interval's slices says inside."""
    from scipy.ndimage import gaussian_filter

    grid = estimate.grid
    inset = min(INSET, 0.25 * (high - low))
    span = grid.span(low + inset, high - inset)
    if span.stop <= span.start:
        middle = int(np.clip(((low + high) / 2 + HALF_SIDE) / grid.cell, 0, grid.n - 1))
        span = slice(middle, middle + 1)
    values = gaussian_filter(field[span].mean(axis=0), BLUR * estimate.noise / grid.cell)
    return values_to_area(values, 0.5, grid)


def estimate_levels(estimate: Estimate, axis: int) -> list[float]:
    """Heights along an axis at which bodies probably begin or end, sorted.

    Args:
        estimate: of the solid.
        axis: 0, 1, 2 for x, y, z.
    """
    slices = np.moveaxis(estimate.field, axis, 0).clip(0, 1)
    change = np.abs(np.diff(slices, axis=0)).sum(axis=(1, 2)) * estimate.grid.cell**2
    largest = float(slices.sum(axis=(1, 2)).max()) * estimate.grid.cell**2
    edges = estimate.grid.centers[:-1] + estimate.grid.cell / 2
    found = _face_heights(estimate, axis)
    found += [(height, size) for height, size in _peaks(edges, change, CHANGE * largest)]
    levels: list[float] = []
    ends = _ends(slices, edges)
    for height, _ in sorted(found, key=lambda one: -one[1]):
        if all(abs(height - other) >= APART for other in levels) and len(levels) < MOST_LEVELS:
            levels.append(height)
    for end in ends:
        if all(abs(end - other) >= APART for other in levels):
            levels.append(end)
    return sorted(float(round(level)) for level in levels)


def _face_heights(estimate: Estimate, axis: int) -> list[tuple[float, float]]:
    """(height, area) of the planar faces across an axis, apart by which way they face."""
    found = []
    for sign in (1.0, -1.0):
        facing = sign * estimate.normals[:, axis] > ALONG
        found += _heights_of(estimate, facing, axis)
    return found


def _heights_of(
    estimate: Estimate, facing: NDArray[np.bool_], axis: int
) -> list[tuple[float, float]]:
    """(height, area) at which many points lie of those that face one way along an axis."""
    if not facing.any():
        return []
    low = -HALF_SIDE - 10
    bins = ((estimate.points[facing, axis] - low) / BIN).astype(np.int64).clip(0, 455)
    areas = np.asarray(np.bincount(bins, estimate.areas[facing], 456), dtype=np.float64)
    heights = low + BIN * (np.arange(456, dtype=np.float64) + 0.5)
    return _peaks(heights, areas, FACE_AREA)


def _peaks(heights: FloatArray, sizes: FloatArray, least: float) -> list[tuple[float, float]]:
    """(height, size) of the places where more gathers than around them, largest first."""
    sizes = sizes.copy()
    found: list[tuple[float, float]] = []
    step = float(heights[1] - heights[0])
    reach = max(1, round(SPREAD / 2 / step))
    inner, outer = np.ones(2 * reach + 1), np.ones(6 * reach + 3)
    while len(found) < 2 * MOST_LEVELS:
        gathered = np.convolve(sizes, inner, mode="same")
        around = np.convolve(sizes, outer, mode="same") - gathered
        excess = gathered - around / 2
        best = int(np.argmax(excess))
        if excess[best] < least:
            break
        near = slice(max(0, best - reach), best + reach + 1)
        height = float(np.average(heights[near], weights=sizes[near] + 1e-12))
        found.append((height, float(excess[best])))
        sizes[near] = around[best] / (4 * reach + 2)
    return found


def _ends(slices: FloatArray, edges: FloatArray) -> list[float]:
    """Where the solid begins and ends along the axis of its slices."""
    area = slices.sum(axis=(1, 2))
    filled = np.flatnonzero(area > 0.1 * area.max())
    if not len(filled):
        return []
    return [float(edges[max(0, filled[0] - 1)]), float(edges[min(len(edges) - 1, filled[-1])])]
