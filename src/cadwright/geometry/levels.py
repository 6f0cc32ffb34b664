"""A shape -> the levels along x, y and z at which it has faces across that axis.

In: a mesh or a cloud, PROGRAM frame (lengths are in its units). Out: growing coordinates with
the area found at each, looking up and down the axis. A curved face counts where it is square to
the axis, a noisy one is gathered at its middle. Not covered: slanted faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.point_normals import points_to_planes
from cadwright.types import FloatArray, Mesh

ACROSS = 0.95  # least cosine between a face's normal and the axis
FAR, STEP = 150.0, 0.25  # units; of the grid on which levels are told apart
BLUR = 0.5  # units, of a mesh; of a cloud this many distances of its points from their planes
BLUR_OF_NOISE = 1.5
SMALLEST_AREA = 20.0  # square units of a level
CLOUD_POINTS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Where a shape has faces across one axis.

    Attributes:
        places: (L,) growing coordinates along the axis.
        areas: (L, 2) of the faces that look up and down the axis; half and half where the side
            is not known.
    """

    places: FloatArray
    areas: FloatArray


def shape_to_levels(shape: Shape, *, seed: int) -> list[Levels]:
    """Levels of a mesh, open or closed, or of a cloud.

    Args:
        shape: PROGRAM frame.
        seed: chooses the points of a large cloud.
    Returns:
        Those along x, y and z.
    """
    if shape.mesh is not None:
        return mesh_to_levels(shape.mesh)
    points = np.asarray(shape.points, dtype=np.float64)
    some = np.random.default_rng([seed, 23]).permutation(len(points))[:CLOUD_POINTS]
    normals, areas, noise = points_to_planes(points[some])
    return [
        _gathered(
            points[some][:, axis],
            np.stack([areas, areas], axis=1) / 2,
            np.abs(normals[:, axis]) > ACROSS,
            max(BLUR, BLUR_OF_NOISE * noise),
        )
        for axis in range(3)
    ]


def mesh_to_levels(mesh: Mesh) -> list[Levels]:
    """Levels along x, y and z of a mesh, PROGRAM frame."""
    corners = mesh.triangles
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    sizes, middles = np.linalg.norm(across, axis=1), corners.mean(axis=1)
    return [
        _gathered(
            middles[:, axis],
            np.stack([across[:, axis], -across[:, axis]], axis=1).clip(min=0.0),
            np.abs(across[:, axis]) > ACROSS * sizes,
            BLUR,
        )
        for axis in range(3)
    ]


def _gathered(
    places: FloatArray, areas: FloatArray, across: NDArray[np.bool_], blur: float
) -> Levels:
    """Pieces of faces put together where their blurred areas have a peak.

    Args:
        places: (N,) of the pieces.
        areas: (N, 2).
        across: (N,) which of them lie across the axis.
        blur: standard deviation, units.
    """
    from scipy.ndimage import gaussian_filter1d

    places, areas = places[across], areas[across]
    sizes = areas.sum(axis=1)
    edges = np.arange(-FAR, FAR + STEP, STEP)
    density, _ = np.histogram(places, edges, weights=sizes)
    density = gaussian_filter1d(density, blur / STEP)
    inner = density[1:-1]
    # A piece belongs to the peak on its side of the lowest place between two peaks.
    valleys = edges[1:-2][(inner < density[:-2]) & (inner <= density[2:])] + STEP / 2
    group = np.searchsorted(valleys, places)
    num = len(valleys) + 1
    total = np.bincount(group, sizes, num)
    middle = np.bincount(group, sizes * places, num) / np.maximum(total, 1e-12)
    sides = [np.bincount(group, areas[:, side], num) for side in (0, 1)]
    large = total > SMALLEST_AREA
    return Levels(middle[large], np.stack(sides, axis=1, dtype=np.float64)[large])
