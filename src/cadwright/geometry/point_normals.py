"""A cloud of points -> outward normals and the area each point stands for.

In: (N, 3) points on one or more closed surfaces, parts of which may be missing. Out: normals of
the plane through each point's neighbours, turned outwards: first to the side from which the
point can be seen, then so that the winding number falls along it. Not covered: clouds that show
the inner side of a wall and not the outer.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from cadwright.types import FloatArray

NEIGHBOURS, MOST_NEIGHBOURS = 10, 40
WIDE = 6.0  # how far neighbours must reach, in distances of the points from their planes
LEVEL = 0.5  # how far a neighbour on one patch may be off the plane, as a share of its distance
DIRECTIONS = np.array([d for d in product((-1, 0, 1), repeat=3) if any(d)], dtype=np.float64)
DIRECTIONS = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)


def points_to_planes(points: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Normals of unknown sign, areas, and how noisy the points are.

    Args:
        points: (N, 3), any frame, N > 16.

    Returns:
        (N, 3) unit normals, (N,) areas in the points' unit squared, and the median distance of
        points from the plane through their neighbours.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(points)
    count = min(NEIGHBOURS, len(points) - 1)
    away, near = tree.query(points, k=count + 1)
    areas = np.pi * away[:, -1] ** 2 / count
    normals, noise = _planes(points[near])
    reach = float(np.median(away[:, -1]))
    if noise * WIDE > reach:  # so few neighbours are all noise: take as many as reach far enough
        count = int(min(MOST_NEIGHBOURS, len(points) - 1, count * (WIDE * noise / reach) ** 2))
        _, near = tree.query(points, k=count + 1)
        normals, noise = _planes(points[near])
    return normals, areas, noise


def _planes(groups: FloatArray) -> tuple[FloatArray, float]:
    """Normals of the planes through (N, K, 3) groups, and the median distance from them."""
    around = groups - groups.mean(axis=1, keepdims=True)
    spread = np.einsum("nki,nkj->nij", around, around) / groups.shape[1]
    squares, axes = np.linalg.eigh(spread)
    noise = float(np.sqrt(max(0.0, float(np.median(squares[:, 0])))))
    return np.asarray(axes[:, :, 0]), noise


def points_to_patches(
    points: FloatArray, normals: FloatArray, *, smooth: float
) -> tuple[NDArray[np.int64], FloatArray]:
    """Which points lie on one smooth piece of surface, and normals that agree within it.

    Args:
        points: (N, 3).
        normals: (N, 3) unit, of unknown sign.
        smooth: least cosine between the normals of neighbours on one patch.

    Returns:
        (N,) index of each point's patch, and (N, 3) normals, each patch's turned as a whole to
        one of its two sides.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order, connected_components
    from scipy.spatial import cKDTree

    count = len(points)
    away, near = cKDTree(points).query(points, k=min(NEIGHBOURS, count - 1) + 1)
    start, end, length = np.repeat(np.arange(count), near.shape[1] - 1), near[:, 1:], away[:, 1:]
    turn = np.einsum("ni,nki->nk", normals, normals[end])
    gap = points[end] - points[:, None]
    height = np.maximum(
        np.abs(np.einsum("nki,ni->nk", gap, normals)),
        np.abs(np.einsum("nki,nki->nk", gap, normals[end])),
    )
    joined = ((np.abs(turn) > smooth) & (height < LEVEL * length)).ravel()
    graph = coo_matrix(
        (np.ones(int(joined.sum())), (start[joined], end.ravel()[joined])), shape=(count, count)
    ).tocsr()
    num, patch = connected_components(graph, directed=False)
    turned = normals.copy()
    _, first = np.unique(patch, return_index=True)
    for root in first.tolist():
        order, before = breadth_first_order(graph, root, directed=False)
        for node in order[1:].tolist():
            if turned[node] @ turned[before[node]] < 0:
                turned[node] = -turned[node]
    return patch.astype(np.int64), turned


def viewers_along(points: FloatArray, normals: FloatArray, *, cell: float) -> FloatArray:
    """(N,) how much more each point is seen from the side of its normal than from the other.

    Args:
        points: (N, 3).
        normals: (N, 3) unit, of unknown sign.
        cell: width of a viewer's rays, in the points' unit: larger than the gaps between points.

    Returns:
        The sum over 26 far viewers that see the point of how much they stand on that side.
    """
    votes = np.zeros_like(points)
    for direction in DIRECTIONS:
        votes += direction * _seen(points, direction, cell)[:, None]
    return np.asarray(np.einsum("ni,ni->n", votes, normals))


def _seen(points: FloatArray, direction: FloatArray, cell: float) -> FloatArray:
    """(N,) 1 where nothing much nearer to a far viewer lies on the same ray or beside it."""
    helper = np.eye(3)[np.argmin(np.abs(direction))]
    right = np.cross(direction, helper)
    right /= np.linalg.norm(right)
    up = np.cross(direction, right)
    flat = np.floor(np.stack([points @ right, points @ up], axis=1) / cell).astype(np.int64)
    flat -= flat.min(axis=0) - 1
    height = points @ direction
    top = np.full(flat.max(axis=0) + 2, -np.inf)
    np.maximum.at(top, (flat[:, 0], flat[:, 1]), height)
    highest = top[flat[:, 0], flat[:, 1]]
    return (height >= highest - 1.5 * cell).astype(np.float64)
