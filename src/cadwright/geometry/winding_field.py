"""Points with area vectors -> how much each cell of a grid is inside: winding numbers by FFT.

In: (N, 3) points of a surface and their area vectors (outward normal times area), PROGRAM
frame. Out: (n, n, n) values, about 1 inside and 0 outside; gaps in the surface are closed as a
soap film would close them. Flat cuts across an axis can be judged on their own: where one side
of a part is missing, the outlines of its slices are still whole. Needs no mesh; for the winding
numbers of one see ``winding``. Not covered: finding normals.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.voxels import HALF_SIDE, Grid
from cadwright.types import FloatArray

Field = NDArray[np.float32]
CUBE_MEAN = 2.3800774  # mean of 1/r over the unit cube around the origin
SQUARE_MEAN_LOG = -1.0611752  # mean of ln(r) over the unit square around the origin


def splat(points: FloatArray, vectors: FloatArray, grid: Grid) -> Field:
    """(3, n, n, n): vectors shared out to the eight cells around each point, linearly.

    Args:
        points: (N, 3) PROGRAM frame; those outside the grid go to its outermost cells.
        vectors: (N, 3) one to each point.
        grid: the cells.
    """
    n = grid.n
    at = ((points + HALF_SIDE) / grid.cell - 0.5).clip(0, n - 1.001)
    low = np.floor(at).astype(np.int64)
    rest = at - low
    field = np.zeros((3, n**3), dtype=np.float64)
    for corner in range(8):
        bits = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        share = np.prod(np.where(bits, rest, 1 - rest), axis=1)
        x, y, z = (low + bits).T
        cell = (x * n + y) * n + z
        for axis in range(3):
            field[axis] += np.bincount(cell, share * vectors[:, axis], minlength=n**3)
    return np.asarray(field.reshape(3, n, n, n), dtype=np.float32)


def flux_to_field(flux: Field, grid: Grid) -> Field:
    """Winding number of every cell, from all of the surface.

    Args:
        flux: (3, n, n, n) area vectors by cell, see ``splat``.
        grid: the cells.

    The indicator of a solid has the gradient ``-flux``; Poisson's equation is solved with the
    potential of free space, so that nothing repeats beyond the grid.
    """
    from scipy.fft import irfftn, rfftn

    n, m = grid.n, grid.n + 2
    source = sum(_derivative(np.pad(flux[axis], 1), axis) for axis in range(3))
    spectrum = rfftn(source, s=(2 * m, 2 * m, 2 * m)) * _potential_3d(m)
    values = irfftn(spectrum, s=(2 * m, 2 * m, 2 * m))[1 : n + 1, 1 : n + 1, 1 : n + 1]
    return np.asarray(values / grid.cell**2, dtype=np.float32)


def flux_to_slice_field(
    flux: Field, grid: Grid, axis: int, *, reach: float
) -> tuple[Field, FloatArray]:
    """Winding number of every cell within its own flat slice across an axis.

    Args:
        flux: as in ``flux_to_field``; only its parts within the slices count.
        grid: the cells.
        axis: across which is sliced.
        reach: PROGRAM units up and down an axis over which points are averaged.

    Returns:
        (n, n, n) winding numbers, and (n,) how far each slice's outline is from closed: 0
        where its normals cancel out, 1 where they all point one way.
    """
    from scipy.fft import irfft2, rfft2
    from scipy.ndimage import gaussian_filter1d

    n, m = grid.n, grid.n + 2
    within = [other for other in range(3) if other != axis]
    parts = [np.moveaxis(flux[other], axis, 0) for other in within]
    parts = [gaussian_filter1d(part, reach / grid.cell, axis=0, mode="constant") for part in parts]
    sums = np.array([part.sum(axis=(1, 2)) for part in parts])
    sizes = np.hypot(*parts).sum(axis=(1, 2))
    gaps = np.hypot(*sums) / np.maximum(sizes, 1e-6)
    around = ((0, 0), (1, 1), (1, 1))
    source = sum(_derivative(np.pad(part, around), 1 + k) for k, part in enumerate(parts))
    spectrum = rfft2(source, s=(2 * m, 2 * m)) * _potential_2d(m)
    values = irfft2(spectrum, s=(2 * m, 2 * m))[:, 1 : n + 1, 1 : n + 1] / grid.cell**2
    return np.moveaxis(np.asarray(values, dtype=np.float32), 0, axis), gaps


def _derivative(values: Field, axis: int) -> Field:
    """Central differences, everything beyond the array being 0: sums to 0 as it should."""
    moved = np.moveaxis(values, axis, 0)
    result = np.zeros_like(moved)
    result[1:] -= moved[:-1] / 2
    result[:-1] += moved[1:] / 2
    return np.moveaxis(result, 0, axis)


@lru_cache(maxsize=2)
def _potential_3d(n: int) -> Field:
    """Transform of 1 / (4 pi r) on a grid of twice the side, distances wrapped around."""
    from scipy.fft import rfftn

    square = _wrapped(n)
    r = np.sqrt(square[:, None, None] + square[:, None] + square)
    r[0, 0, 0] = 1 / CUBE_MEAN
    return np.asarray(rfftn(np.float32(1.0) / (4 * math.pi * r)).real, dtype=np.float32)


@lru_cache(maxsize=2)
def _potential_2d(n: int) -> Field:
    """Transform of -ln(r) / (2 pi), the same way in two dimensions."""
    from scipy.fft import rfft2

    square = _wrapped(n)
    r = np.sqrt(square[:, None] + square)
    r[0, 0] = math.exp(SQUARE_MEAN_LOG)
    return np.asarray(rfft2(-np.log(r) / (2 * math.pi)).real, dtype=np.float32)


def _wrapped(n: int) -> Field:
    """(2n,) squares of the distance from cell 0, around a ring of 2n cells."""
    step = np.arange(2 * n)
    return np.asarray(np.minimum(step, 2 * n - step) ** 2, dtype=np.float32)
