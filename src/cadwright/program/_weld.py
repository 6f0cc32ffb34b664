"""Triangles as a CAD kernel gives them, face by face, made into one closed surface.

In: corners that neighbouring faces do not share yet. Out: shared vertices, collapsed
triangles dropped, hair-thin slits filled, bodies that touch in an edge apart. Any frame; no
kernel needed. Not covered: larger holes, which stay open and are reported by ``is_closed``.
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


def part_touching_edges(points: FloatArray, triangles: Triangles) -> tuple[FloatArray, Triangles]:
    """Give each body its own vertices along an edge in which more than two triangles meet.

    manifold3d joins the triangles of such an edge as they come, and loses volume by it.
    Here those are joined that have the body between them.

    Args:
        points: (V, 3), welded.
        triangles: (F, 3), closed, counter-clockwise from outside.

    Returns:
        The points, some now more than once, and as many triangles in the same order.
    """
    around: dict[tuple[int, int], list[int]] = defaultdict(list)
    for start, end, triangle in _crowded_edges(triangles):
        around[start, end].append(triangle)
    links = [
        (edge, pair)
        for edge, ahead in around.items()
        if edge[0] < edge[1] and len(ahead) == len(around[edge[1], edge[0]])
        for pair in _pairs_about_body(points, triangles, edge, ahead, around[edge[1], edge[0]])
    ]
    if not links:
        return points, triangles
    new_points, triangles = list(points), triangles.copy()
    for vertex in {vertex for edge, _ in links for vertex in edge}:
        joined = [pair for edge, pair in links if vertex in edge]
        for sheet in _sheets_at(vertex, triangles, set(around), joined)[1:]:
            rows = triangles[sheet]
            triangles[sheet] = np.where(rows == vertex, len(new_points), rows)
            new_points.append(points[vertex])
    return np.array(new_points), triangles


def _crowded_edges(triangles: Triangles) -> list[tuple[int, int, int]]:
    """(start, end, triangle) of the directed edges that several triangles have."""
    ahead = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges, kind, num = np.unique(ahead, axis=0, return_inverse=True, return_counts=True)
    found = np.flatnonzero(num[kind.reshape(-1)] > 1)
    return [(int(ahead[k, 0]), int(ahead[k, 1]), int(k) % len(triangles)) for k in found]


def _pairs_about_body(
    points: FloatArray,
    triangles: Triangles,
    edge: tuple[int, int],
    ahead: list[int],
    back: list[int],
) -> list[tuple[int, int]]:
    """Triangles along and against an edge, in pairs with the body's inside between them."""
    start = points[edge[0]]
    axis = (points[edge[1]] - start) / np.linalg.norm(points[edge[1]] - start)
    across = np.eye(3)[np.argmin(np.abs(axis))]
    first = np.cross(axis, across) / np.linalg.norm(np.cross(axis, across))
    second = np.cross(axis, first)

    def angle(triangle: int) -> float:
        arm = points[triangles[triangle]].sum(axis=0) - points[list(edge)].sum(axis=0) - start
        return float(np.arctan2(arm @ second, arm @ first))

    free = {triangle: angle(triangle) for triangle in back}
    pairs = []
    for triangle in sorted(ahead, key=angle):
        # turning about the edge leads from such a triangle outwards, so the inside lies before it
        here = angle(triangle)
        other = min(free, key=lambda k: (here - free[k]) % (2 * np.pi))
        del free[other]
        pairs.append((triangle, other))
    return pairs


def _sheets_at(
    vertex: int,
    triangles: Triangles,
    crowded: set[tuple[int, int]],
    joined: list[tuple[int, int]],
) -> list[list[int]]:
    """The triangles at a vertex, in groups that hang together by their edges there."""
    own = [int(k) for k in np.flatnonzero((triangles == vertex).any(axis=1))]
    by_edge: dict[int, list[int]] = defaultdict(list)
    for triangle in own:
        for other in triangles[triangle]:
            if other != vertex and (vertex, int(other)) not in crowded:
                by_edge[int(other)].append(triangle)
    links: dict[int, set[int]] = defaultdict(set)
    for group in [*by_edge.values(), *map(list, joined)]:
        for triangle in group:
            links[triangle].update(group)
    sheets, seen = [], set[int]()
    for triangle in own:
        if triangle in seen:
            continue
        sheet, todo = [], [triangle]
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                sheet.append(at)
                todo.extend(links[at])
        sheets.append(sheet)
    return sheets


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
