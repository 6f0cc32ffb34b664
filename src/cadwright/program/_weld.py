"""Triangles as a CAD kernel gives them, face by face, made into one closed surface.

In: corners that neighbouring faces do not share yet. Out: shared vertices, collapsed
triangles dropped, hair-thin slits filled. Any frame; no kernel needed. Not covered: larger
holes, which stay open and are reported by ``is_closed``; bodies that touch in an edge
(``geometry.touching``).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from cadwright.types import FloatArray

Triangles = NDArray[np.int64]
WELD_DISTANCE = 1e-7  # share of the longest side; what a kernel calls the same point
LARGEST_SLIT = 1e-3  # share of the surface's area


def weld(points: FloatArray, triangles: Triangles) -> tuple[FloatArray, Triangles]:
    """Merge corners that agree, and drop triangles that this collapses.

    Args:
        points: (N, 3), any frame.
        triangles: (F, 3) indices into ``points``.

    Returns:
        (V, 3) points, each used, and (G, 3) triangles with three different corners.
    """
    if len(triangles) == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    cell = WELD_DISTANCE * float(np.ptp(points, axis=0).max()) or 1.0
    _, first, index = np.unique(
        np.round(points / cell), axis=0, return_index=True, return_inverse=True
    )
    triangles = index.reshape(-1)[triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    used, triangles = np.unique(triangles, return_inverse=True)
    return points[first[used]], triangles.reshape(-1, 3)


def is_closed(triangles: Triangles) -> bool:
    """Whether each directed edge is met as often by its opposite; False for no triangles."""
    return len(triangles) > 0 and not _unmet_edges(triangles)


def close_slits(points: FloatArray, triangles: Triangles) -> Triangles:
    """Fill slits as OpenCASCADE leaves them where two curves of one face touch.

    There the two polygons cross by a hair, and it drops the sliver between them. Filled are
    all slits or none: together they must be below a thousandth of the surface.

    Args:
        points: (V, 3), welded.
        triangles: (F, 3).

    Returns:
        The triangles, then those that fill the slits.
    """
    unmet = _unmet_edges(triangles)
    if not unmet:
        return triangles
    patch = [
        (loop[0], loop[k], loop[k + 1])
        for loop in _loops([(end, start) for start, end in unmet])
        for k in range(1, len(loop) - 1)
    ]
    filled = np.array(patch, np.int64).reshape(-1, 3)
    small = _area(points[filled]) <= LARGEST_SLIT * _area(points[triangles])
    return np.concatenate([triangles, filled]) if small else triangles


def _unmet_edges(triangles: Triangles) -> list[tuple[int, int]]:
    """Directed edges without an opposite, as often as one is missing."""
    ahead = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    size = int(triangles.max(initial=0)) + 1
    keys, num = np.unique(ahead @ np.array([size, 1]), return_counts=True)
    back, num_back = np.unique(ahead @ np.array([1, size]), return_counts=True)
    place = np.minimum(np.searchsorted(back, keys), len(back) - 1)
    missing = num - np.where(back[place] == keys, num_back[place], 0)
    lone = np.repeat(keys, np.maximum(missing, 0))
    return [(int(key) // size, int(key) % size) for key in lone]


def _loops(edges: list[tuple[int, int]]) -> list[list[int]]:
    """Closed walks that use each directed edge once; what does not close is left out."""
    ways: dict[int, list[int]] = defaultdict(list)
    for start, end in edges:
        ways[start].append(end)
    loops = []
    for start in list(ways):
        while ways[start]:
            loop, at = [start], ways[start].pop()
            while at != start and ways[at]:
                loop.append(at)
                at = ways[at].pop()
            if at == start:
                loops.append(loop)
    return loops


def _area(corners: FloatArray) -> float:
    sides = corners[:, 1:] - corners[:, :1]
    return float(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1).sum() / 2)
