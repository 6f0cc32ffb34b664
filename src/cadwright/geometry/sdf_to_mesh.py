"""Sparse SDF -> mesh: marching cubes over the samples that are stored.

In: a ``SparseSdf``, or values and indices of GRID units. Out: a mesh, in the USER frame where
the way back is known. Sample i lies at i / (R - 1), the exact inverse of ``mesh_to_sdf``; the
published code divides by R, which shrinks a shape. Needs scikit-image (extra ``sdf``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.geometry.mesh_to_sdf import SparseSdf, check_samples
from cadwright.optional import require
from cadwright.types import FloatArray, Mesh

# A cube that the surface crosses has no corner farther from it than its diagonal: a band this
# wide stores all eight. Narrower ones are filled up by sign first.
WHOLE_CUBES = math.sqrt(3.0)


def sdf_to_mesh(sdf: SparseSdf, *, level: float = 0.0) -> Mesh:
    """The surface where the stored distance is ``level``.

    Args:
        sdf: as ``mesh_to_sdf`` makes it.
        level: in bands, -1 to 1; 0 is the surface itself.
    Returns:
        The mesh in the USER frame, faces counter-clockwise from outside; closed where the SDF
        is that of a closed mesh and its band is at least one step wide.
    Raises:
        GeometryError: no stored cube is crossed by the level.
        MissingDependencyError: scikit-image is not installed.
    """
    # Beyond one step, a stored sample and the missing one beside it lie on the same side.
    fill = 1.0 <= sdf.band < WHOLE_CUBES * (1.0 + abs(level))
    mesh = samples_to_mesh(sdf.values, sdf.index, resolution=sdf.resolution, level=level, fill=fill)
    return Mesh(sdf.placement.inverse().apply(mesh.vertices), mesh.faces)


def samples_to_mesh(
    values: NDArray[np.floating],
    index: NDArray[np.integer],
    *,
    resolution: int,
    level: float = 0.0,
    fill: bool = False,
) -> Mesh:
    """Marching cubes (Lewiner) over samples on a grid.

    Args:
        values: (N,) in [-1, 1], negative inside.
        index: (N, 3) samples, 0 to R - 1.
        resolution: R.
        level: the value of the surface.
        fill: give missing samples the sign of the last stored one before them along z; else
            cubes with a missing corner are left out.
    Returns:
        The mesh in GRID units.
    Raises:
        InputError: values or coordinates out of range, or none at all.
        GeometryError: no cube is crossed by the level.
        MissingDependencyError: scikit-image is not installed.
    """
    check_samples(values, index, resolution)
    measure = require("skimage.measure", extra="sdf")
    low = index.min(axis=0) - 1  # a rim of one sample: outside, unless it is left out
    size = tuple(index.max(axis=0) - low + 2)
    at = tuple((index - low).T)
    volume = np.full(size, np.nan, dtype=np.float32)
    volume[at] = values
    mask = None if fill else _whole_cubes(~np.isnan(volume))
    _fill_along_z(volume) if fill else np.nan_to_num(volume, copy=False, nan=1.0)
    try:
        vertices, faces, _, _ = measure.marching_cubes(
            volume, level, mask=mask, gradient_direction="descent"
        )
    except (ValueError, RuntimeError) as error:  # the level is out of range; nothing is crossed
        raise GeometryError(
            f"the SDF has no surface at level {level:g}: nothing lies inside, or all does"
        ) from error
    return Mesh(np.asarray(vertices, dtype=np.float64) + low, np.asarray(faces, dtype=np.int32))


def sdf_to_dense(sdf: SparseSdf) -> NDArray[np.float32]:
    """(R, R, R) float32: stored values, and 1 or -1 by sign wherever none is stored.

    Args:
        sdf: its band at least one step wide, so that signs can be followed along z.
    Raises:
        GeometryError: the band is narrower.
    """
    if sdf.band < 1.0:
        raise GeometryError(f"a band of {sdf.band:g} steps is too narrow to tell what is inside.")
    dense = np.full((sdf.resolution,) * 3, np.nan, dtype=np.float32)
    dense[tuple(sdf.index.T)] = sdf.values
    _fill_along_z(dense)
    return dense


def corners_of_crossed_cubes(dense: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(R, R, R) the samples that marching cubes at level 0 needs, and no others.

    Args:
        dense: (R, R, R) values of which only the signs are read.
    """
    inside = dense < 0
    side = slice(None, -1), slice(1, None)
    cubes = [inside[x, y, z] for x in side for y in side for z in side]
    crossed = np.logical_or.reduce(cubes) & ~np.logical_and.reduce(cubes)
    corners = np.zeros_like(inside)
    for x in side:
        for y in side:
            for z in side:
                corners[x, y, z] |= crossed
    return corners


def mesh_to_unit_cube(mesh: Mesh, resolution: int) -> Mesh:
    """GRID units to the frame of published meshes, [-1, 1] along each side of the grid."""
    vertices: FloatArray = mesh.vertices * (2.0 / (resolution - 1)) - 1.0
    return Mesh(vertices, mesh.faces)


def _whole_cubes(stored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True at the highest corner of every cube whose eight corners are stored.

    The highest corner is where scikit-image asks its mask whether to march a cube.
    """
    whole = stored.copy()
    for axis in range(3):
        shifted = np.zeros_like(whole)
        here = [slice(None)] * 3
        there = [slice(None)] * 3
        here[axis], there[axis] = slice(1, None), slice(None, -1)
        shifted[tuple(here)] = whole[tuple(there)]
        whole &= shifted
    return whole


def _fill_along_z(volume: NDArray[np.float32]) -> None:
    """Missing samples become 1 or -1 by the last stored one before them; none before: outside."""
    for plane in volume:  # one plane at a time: the indices of all would be twice the volume
        missing = np.isnan(plane)
        last = np.where(missing, -1, np.arange(plane.shape[1], dtype=np.int32))
        np.maximum.accumulate(last, axis=1, out=last)
        before = np.take_along_axis(plane, np.maximum(last, 0), axis=1)
        signs = np.where((last >= 0) & (before < 0), np.float32(-1), np.float32(1))
        plane[missing] = signs[missing]
