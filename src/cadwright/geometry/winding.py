"""How often a surface, open or closed, winds around points: generalised winding numbers.

In: a mesh and (N, 3) points of one frame. Out: (N,) float64, about 1 inside, 0 outside, in
between near the gaps of an open surface (Jacobson et al. 2013). Far triangles are summed up as
one dipole per branch of a tree (Barill et al. 2018, first order); near ones are exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.geometry.sdf_kernels import compiled
from cadwright.types import FloatArray, Mesh

LEAF = 8  # triangles that are no longer divided
ACCURACY = 3.0  # a branch farther away than this times its reach counts as one dipole


def winding_numbers(points: NDArray[np.floating] | NDArray[np.integer], mesh: Mesh) -> FloatArray:
    """Generalised winding number of a mesh around each point.

    Args:
        points: (N, 3), the mesh's frame.
        mesh: any frame, closed or open; its faces should agree about the outside.
    Returns:
        (N,) float64; within 0.03 of the exact sum of solid angles over 4 pi.
    Raises:
        GeometryError: the mesh has no faces.
        MissingDependencyError: numba is not installed.
    """
    if not len(mesh.faces):
        raise GeometryError("a winding number needs a mesh with faces.")
    triangles = np.ascontiguousarray(mesh.triangles)
    order, nodes, dipoles = _build_tree(triangles)
    sums = np.zeros(len(points))
    rows = np.ascontiguousarray(points, dtype=np.float64)
    compiled(_sum_angles)(rows, triangles[order], nodes, dipoles, ACCURACY, sums)
    return sums


def _build_tree(
    triangles: FloatArray,
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Order of the triangles, (M, 3) first, end and left child (-1: leaf), (M, 7) dipoles."""
    order = np.arange(len(triangles))
    size = 4 * (len(triangles) // LEAF + 2)
    nodes, dipoles = np.full((size, 3), -1, dtype=np.int64), np.zeros((size, 7))
    centres = triangles.mean(axis=1)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]) / 2
    count, todo = 1, [(0, 0, len(triangles))]
    while todo:
        node, first, end = todo.pop()
        rows = order[first:end]
        nodes[node, :2] = first, end
        dipoles[node] = _dipole(triangles[rows], centres[rows], normals[rows])
        if end - first > LEAF:
            axis = int(np.ptp(centres[rows], axis=0).argmax())
            half = (end - first) // 2
            order[first:end] = rows[np.argpartition(centres[rows, axis], half)]
            nodes[node, 2] = count
            todo += [(count, first, first + half), (count + 1, first + half, end)]
            count += 2
    return order, nodes[:count], dipoles[:count]


def _dipole(triangles: FloatArray, centres: FloatArray, normals: FloatArray) -> Any:
    """Middle by area (3), summed area vectors (3), reach of the farthest corner (1)."""
    areas = np.linalg.norm(normals, axis=1)
    total = areas.sum()
    middle = (centres * areas[:, None]).sum(axis=0) / total if total > 0 else centres.mean(axis=0)
    reach = np.linalg.norm(triangles - middle, axis=2).max()
    return np.concatenate([middle, normals.sum(axis=0), [reach]])


def _sum_angles(
    points: FloatArray,
    triangles: FloatArray,
    nodes: NDArray[np.int64],
    dipoles: FloatArray,
    accuracy: float,
    sums: FloatArray,
) -> None:
    """Fill ``sums``; solid angles after Van Oosterom and Strackee (1983)."""
    stack = np.zeros(128, np.int64)
    corner = np.zeros((3, 3))
    lengths = np.zeros(3)
    for row in range(points.shape[0]):
        total = 0.0
        stack[0] = 0
        depth = 1
        while depth:
            depth -= 1
            node = stack[depth]
            dx = dipoles[node, 0] - points[row, 0]
            dy = dipoles[node, 1] - points[row, 1]
            dz = dipoles[node, 2] - points[row, 2]
            away = math.sqrt(dx * dx + dy * dy + dz * dz)
            if away > accuracy * dipoles[node, 6]:
                flux = dx * dipoles[node, 3] + dy * dipoles[node, 4] + dz * dipoles[node, 5]
                if away > 0.0:
                    total += flux / (away * away * away)
                continue
            if nodes[node, 2] >= 0:
                stack[depth] = nodes[node, 2]
                stack[depth + 1] = nodes[node, 2] + 1
                depth += 2
                continue
            for face in range(nodes[node, 0], nodes[node, 1]):
                for c in range(3):
                    for axis in range(3):
                        corner[c, axis] = triangles[face, c, axis] - points[row, axis]
                    lengths[c] = math.sqrt(
                        corner[c, 0] ** 2 + corner[c, 1] ** 2 + corner[c, 2] ** 2
                    )
                a, b, c3 = corner[0], corner[1], corner[2]
                volume = (
                    a[0] * (b[1] * c3[2] - b[2] * c3[1])
                    + a[1] * (b[2] * c3[0] - b[0] * c3[2])
                    + a[2] * (b[0] * c3[1] - b[1] * c3[0])
                )
                ab = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
                bc = b[0] * c3[0] + b[1] * c3[1] + b[2] * c3[2]
                ca = c3[0] * a[0] + c3[1] * a[1] + c3[2] * a[2]
                under = (
                    lengths[0] * lengths[1] * lengths[2]
                    + ab * lengths[2]
                    + bc * lengths[0]
                    + ca * lengths[1]
                )
                total += 2.0 * math.atan2(volume, under)
        sums[row] = total / (4.0 * math.pi)
