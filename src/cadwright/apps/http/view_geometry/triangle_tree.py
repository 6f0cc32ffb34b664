"""A tree of boxes over triangles, and the compiled loop that finds distances with it.

In: triangles, then points. Out: exact distances, negative on the inner side of the nearest
triangle. Nothing is approximated, whatever the triangles' shapes. Not covered: compiling
(``geometry.rasterise``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cadwright.types import FloatArray

LEAF = 4  # triangles of one box at the bottom
DEEPEST = 64  # levels of the tree, which halves
TIE = 1e-9  # squared distances nearer than this share of each other are of one place


def triangles_to_tree(triangles: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Put triangles into a complete binary tree of boxes.

    Args:
        triangles: (M, 3, 3), any frame.
    Returns:
        (leaves * 4,) the triangles of each leaf in turn, some of them twice to fill it up; and
        (nodes, 2, 3) the boxes, the root first, the children of i at 2i + 1 and 2i + 2.
    """
    levels = max(0, math.ceil(math.log2(max(1, len(triangles)) / LEAF)))
    middles = triangles.mean(axis=1)
    order = np.arange(LEAF << levels) % len(triangles)
    for level in range(levels):
        rows = order.reshape(1 << level, -1)
        found = middles[rows]
        axis = np.ptp(found, axis=1).argmax(axis=1)
        keys = np.take_along_axis(found, axis[:, None, None], axis=2)[..., 0]
        halves = keys.argpartition(rows.shape[1] // 2, axis=1)
        order = np.take_along_axis(rows, halves, axis=1).ravel()
    corners = triangles[order].reshape(1 << levels, -1, 3)
    boxes = [np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)]
    while len(boxes[0]) > 1:
        pairs = boxes[0].reshape(-1, 2, 2, 3)
        boxes.insert(0, np.stack([pairs[:, :, 0].min(axis=1), pairs[:, :, 1].max(axis=1)], axis=1))
    return order, np.concatenate(boxes)


def nearest_in_tree(
    points: FloatArray,
    order: NDArray[np.int64],
    boxes: FloatArray,
    triangles: FloatArray,
    normals: FloatArray,
    signed: bool,
    out: FloatArray,
) -> None:
    """Write the distance of each point into ``out`` (numba).

    Longer than a function should be because numba inlines nothing it has not compiled before. The
    nearest point of a triangle is found by the regions of its plane (Ericson, Real-Time Collision
    Detection, 2005, 5.1.5). Where several triangles are equally near, as along an edge, the one
    that the point stands over most steeply says on which side it is.

    Args:
        points: (N, 3).
        order: and ``boxes``, as ``triangles_to_tree`` gives them.
        boxes: (nodes, 2, 3).
        triangles: (M, 3, 3) in the points' frame and unit.
        normals: (M, 3) unit, outwards.
        signed: whether a point may be inside.
        out: (N,).
    """
    num_inner = boxes.shape[0] // 2
    stack = np.zeros(DEEPEST, np.int64)
    reach = np.zeros(DEEPEST)
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        best, steepest, side = math.inf, -1.0, 1.0
        depth, stack[0], reach[0] = 1, 0, 0.0
        while depth:
            depth -= 1
            node = stack[depth]
            if reach[depth] > best * (1.0 + TIE):
                continue
            if node < num_inner:
                near, far = 2 * node + 1, 2 * node + 2
                near_square, far_square = 0.0, 0.0
                for axis in range(3):
                    p = points[i, axis]
                    gap = max(boxes[near, 0, axis] - p, p - boxes[near, 1, axis], 0.0)
                    near_square += gap * gap
                    gap = max(boxes[far, 0, axis] - p, p - boxes[far, 1, axis], 0.0)
                    far_square += gap * gap
                if far_square < near_square:
                    near, far, near_square, far_square = far, near, far_square, near_square
                stack[depth], reach[depth] = far, far_square
                stack[depth + 1], reach[depth + 1] = near, near_square
                depth += 2
                continue
            for j in range(LEAF):
                k = order[(node - num_inner) * LEAF + j]
                ax, ay, az = triangles[k, 0, 0], triangles[k, 0, 1], triangles[k, 0, 2]
                ux, uy, uz = (
                    triangles[k, 1, 0] - ax,
                    triangles[k, 1, 1] - ay,
                    triangles[k, 1, 2] - az,
                )
                vx, vy, vz = (
                    triangles[k, 2, 0] - ax,
                    triangles[k, 2, 1] - ay,
                    triangles[k, 2, 2] - az,
                )
                wx, wy, wz = px - ax, py - ay, pz - az
                d1 = ux * wx + uy * wy + uz * wz
                d2 = vx * wx + vy * wy + vz * wz
                uu = ux * ux + uy * uy + uz * uz
                uv = ux * vx + uy * vy + uz * vz
                vv = vx * vx + vy * vy + vz * vz
                d3, d4 = d1 - uu, d2 - uv
                d5, d6 = d1 - uv, d2 - vv
                va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
                s, t = 0.0, 0.0
                if d1 <= 0.0 and d2 <= 0.0:
                    pass
                elif d3 >= 0.0 and d4 <= d3:
                    s = 1.0
                elif d6 >= 0.0 and d5 <= d6:
                    t = 1.0
                elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
                    s = d1 / (d1 - d3)
                elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
                    t = d2 / (d2 - d6)
                elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
                    t = (d4 - d3) / ((d4 - d3) + (d5 - d6))
                    s = 1.0 - t
                elif va + vb + vc > 0.0:
                    s, t = vb / (va + vb + vc), vc / (va + vb + vc)
                gx, gy, gz = wx - s * ux - t * vx, wy - s * uy - t * vy, wz - s * uz - t * vz
                square = gx * gx + gy * gy + gz * gz
                over = wx * normals[k, 0] + wy * normals[k, 1] + wz * normals[k, 2]
                if square < best * (1.0 - TIE):
                    best, steepest, side = square, abs(over), over
                elif square <= best * (1.0 + TIE) and abs(over) > steepest:
                    best, steepest, side = min(best, square), abs(over), over
        out[i] = math.sqrt(best)
        if signed and side < 0.0:
            out[i] = -out[i]
