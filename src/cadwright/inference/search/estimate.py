"""Points of a surface, noisy and incomplete -> how much each cell of a grid is inside.

In: points in the PROGRAM frame, with or without normals. Out: an ``Estimate``: a soft solid from
which search reads levels, slices and cells, as it does from a real one. Four winding numbers are
put together: that of the whole surface, and those of flat slices across the three axes, which
stay right where a side that they run along is missing. Not covered: what to build (search).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.point_normals import points_to_patches, points_to_planes, viewers_along
from cadwright.geometry.voxels import HALF_SIDE, Grid
from cadwright.geometry.winding_field import (
    Field,
    flux_to_field,
    flux_to_slice_field,
    splat,
)
from cadwright.types import FloatArray

MOST_POINTS = 16384
COARSE, FINE = 52, 104  # cells a side: to find the signs of normals, and of the estimate
TURNS = 5  # rounds in which patches may change the side they face
SMOOTH = (0.85, 0.9, 0.93, 1.01)  # see ``points_to_patches``; none is best for all parts
USUAL_FALL = 0.92  # of the winding number along normals, within the reach of the coarse grid
NO_GAP = 0.04  # outlines less open than this are as good as closed


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What is probably inside.

    Attributes:
        grid: of 104 cells a side.
        field: (n, n, n) about 1 inside, 0 outside, between where unsure.
        points: (N, 3) of the input, PROGRAM frame.
        normals: (N, 3) outward.
        areas: (N,) PROGRAM units squared each point stands for.
        noise: typical distance of the points from the planes through their neighbours.
    """

    grid: Grid
    field: Field
    points: FloatArray
    normals: FloatArray
    areas: FloatArray
    noise: float


def points_to_estimate(
    points: FloatArray,
    *,
    normals: FloatArray | None = None,
    surface_area: float | None = None,
    seed: int = 0,
) -> Estimate:
    """Estimate the solid that points lie on.

    Args:
        points: (N, 3) PROGRAM frame, N of 17 at least.
        normals: (N, 3) of the faces that the points were drawn from; None for a cloud.
        surface_area: of all those faces, PROGRAM units squared.
        seed: of the choice among very many points.
    """
    kept = np.arange(len(points))
    if len(points) > MOST_POINTS:
        kept = np.random.default_rng([seed, 7]).choice(len(points), MOST_POINTS, replace=False)
    points = np.asarray(points, dtype=np.float64)[kept]
    planes, areas, noise = points_to_planes(points)
    gap = float(np.sqrt(np.median(areas)))
    grid = Grid(FINE)
    if normals is None:
        outward = _outward(points, planes, areas, gap)
        areas = areas * _amplitude(points, outward, areas, gap)
        field = _fused(splat(points, outward * areas[:, None], grid), grid, gap)
        return Estimate(grid, field, points, outward, areas, noise)
    # The faces' own vectors add up to 0 over closed outlines, however crumpled; planes do not.
    vectors = np.asarray(normals, dtype=np.float64)[kept]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    areas = np.full(len(points), surface_area / len(points) if surface_area else areas.mean())
    field = _fused(splat(points, vectors * areas[:, None], grid), grid, gap)
    if (field < -0.5).sum() > (field > 0.5).sum():
        field, vectors = -field, -vectors
    against = np.einsum("ni,ni->n", planes, vectors) < 0
    return Estimate(grid, field, points, np.where(against[:, None], -planes, planes), areas, noise)


def _amplitude(points: FloatArray, normals: FloatArray, areas: FloatArray, gap: float) -> float:
    """By how much areas must be multiplied so that winding numbers fall by 1 at most points."""
    fall = float(np.median(_fall(points, normals, areas, gap)))
    return float(np.clip(USUAL_FALL / max(fall, 0.1), 0.7, 2.0))


def _flipped(normals: FloatArray, patch: NDArray[np.int64], votes: FloatArray) -> FloatArray:
    """Turn the patches whose votes are against the way they face."""
    against = np.bincount(patch, votes)[patch] < 0
    return np.where(against[:, None], -normals, normals)


def _outward(points: FloatArray, planes: FloatArray, areas: FloatArray, gap: float) -> FloatArray:
    """Outward normals: of several ways to cut the surface into patches, the most consistent."""
    best, most = planes, -np.inf
    for smooth in SMOOTH:
        patch, normals = np.arange(len(points)), planes
        if smooth <= 1:
            patch, normals = points_to_patches(points, planes, smooth=smooth)
        votes = viewers_along(points, normals, cell=max(2.0 * gap, 4.0))
        normals = _flipped(normals, patch, votes * areas)
        for _ in range(TURNS):
            fall = _fall(points, normals, areas, gap)
            consistent = float(np.average(fall.clip(-1, 1), weights=areas))
            if consistent > most:
                best, most = normals, consistent
            turned = _flipped(normals, patch, fall * areas)
            if (turned == normals).all():
                break
            normals = turned
    return best


def _fall(points: FloatArray, normals: FloatArray, areas: FloatArray, gap: float) -> FloatArray:
    """(N,) by how much the winding number falls along each normal; 1 where all is well."""
    from scipy.ndimage import map_coordinates

    grid = Grid(COARSE)
    field = _fused(splat(points, normals * areas[:, None], grid), grid, gap)
    step = 1.5 * grid.cell * normals
    ahead, behind = (
        map_coordinates(field, ((place + HALF_SIDE) / grid.cell - 0.5).T, order=1)
        for place in (points + step, points - step)
    )
    return np.asarray(behind - ahead, dtype=np.float64)


def _fused(flux: Field, grid: Grid, gap: float) -> Field:
    """The four winding numbers, each with the more weight the better its outlines close."""
    total = np.linalg.norm(flux.reshape(3, -1).sum(axis=1)) / max(
        1e-6, float(np.linalg.norm(flux, axis=0).sum())
    )
    weight = _trust(np.array(total))
    weights = np.full(flux.shape[1:], weight, dtype=np.float32)
    field = flux_to_field(flux, grid) * weights
    for axis in range(3):
        values, gaps = flux_to_slice_field(flux, grid, axis, reach=max(0.75 * gap, grid.cell / 2))
        shape = [1, 1, 1]
        shape[axis] = grid.n
        trust = _trust(gaps).reshape(shape)
        field += values * trust
        weights += trust
    return np.asarray(field / weights, dtype=np.float32)


def _trust(gaps: FloatArray) -> Field:
    return np.asarray(1.0 / (NO_GAP + gaps) ** 2, dtype=np.float32)
