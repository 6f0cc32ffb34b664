"""How far points lie from a part that was handed in, many points at a time and in milliseconds.

In: a shape, USER frame. Out: signed distances of points: positive outside, negative inside where
the shape is a solid; without a sign where it is an open surface or a cloud. Not covered: the
figures of the report (``geometry.metrics``), which are measured on the exact solid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cadwright.apps.http.view_geometry.triangle_tree import nearest_in_tree, triangles_to_tree
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.point_normals import points_to_planes
from cadwright.geometry.rasterise import compiled
from cadwright.types import FloatArray

MOST_CLOUD = 200_000  # points of a cloud that are searched
MEANING = "+ outside the target (too much), - inside (missing)"
UNSIGNED = "distance from the target"


class ShapeDistance:
    """Measures distances from one shape.

    Args:
        shape: USER frame.

    Attributes:
        signed: whether distances have a sign.
    """

    def __init__(self, shape: Shape) -> None:
        self.signed = shape.kind == "solid"
        self._is_cloud = shape.mesh is None
        if shape.mesh is not None:
            self._triangles = np.ascontiguousarray(shape.mesh.triangles)
            a, b, c = np.moveaxis(self._triangles, 1, 0)
            self._normals = np.cross(b - a, c - a)
            self._normals /= np.maximum(
                np.linalg.norm(self._normals, axis=1, keepdims=True), 1e-300
            )
            self._tree = triangles_to_tree(self._triangles)
        else:
            cloud = np.asarray(shape.points)
            samples = cloud[:: -(-len(cloud) // MOST_CLOUD)]
            self._normals, areas, _ = points_to_planes(samples)
            self._spacing = float(np.sqrt(np.median(areas)))
            self._cloud = cKDTree(samples)

    def distances(self, points: NDArray[np.floating]) -> FloatArray:
        """Distances of points from the shape, in the user's unit.

        Args:
            points: (N, 3), USER frame.
        Returns:
            (N,) float64, signed where ``signed`` is true.
        """
        rows: FloatArray = np.asarray(points, dtype=np.float64)
        if self._is_cloud:
            return self._from_cloud(rows)
        distances = np.zeros(len(rows))
        compiled(nearest_in_tree)(
            rows, *self._tree, self._triangles, self._normals, self.signed, distances
        )
        return distances

    def _from_cloud(self, rows: FloatArray) -> FloatArray:
        """Height over the plane of the nearest point, and what lies beyond its neighbours."""
        away, near = self._cloud.query(rows)
        height = np.abs(np.einsum("ij,ij->i", rows - self._cloud.data[near], self._normals[near]))
        sideways = np.sqrt(np.maximum(away**2 - height**2, 0.0))
        return np.hypot(height, np.maximum(sideways - 2 * self._spacing, 0.0))


def describe(distances: FloatArray, *, signed: bool) -> dict[str, Any]:
    """The range of some deviations, in their own unit, for a header."""
    size = np.abs(distances)
    return {
        "signed": signed,
        "min": float(distances.min()),
        "max": float(distances.max()),
        "mean_abs": float(size.mean()),
        "p95_abs": float(np.percentile(size, 95)),
        "meaning": MEANING if signed else UNSIGNED,
    }
