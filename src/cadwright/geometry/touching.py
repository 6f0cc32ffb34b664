"""A closed surface with edges of four triangles -> one in which each body has its own vertices.

Two bodies that touch along an edge, or one that touches itself, share that edge after welding.
manifold3d joins the triangles there as they come, and silently loses volume by it. Here those are
joined that have a body between them. Any frame. Not covered: open meshes, and meshes
whose every other edge is of that kind (doubled surfaces), which are left as they are.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from cadwright.types import FloatArray, IntArray, Mesh

MOST_CROWDED = 20_000  # directed edges; a surface with more is doubled, not touching

Edge = tuple[int, int]


def part_touching_edges(mesh: Mesh) -> Mesh:
    """Give each body its own vertices along an edge in which more than two triangles meet.

    Args:
        mesh: welded and closed, counter-clockwise from outside, any frame.

    Returns:
        The same triangles in the same order, some vertices now there more than once; the mesh
        itself where no edge is of that kind.
    """
    around: dict[Edge, list[int]] = defaultdict(list)
    for start, end, triangle in _crowded_edges(mesh.faces):
        around[start, end].append(triangle)
    points = mesh.vertices
    links = [
        (edge, pair)
        for edge, ahead in around.items()
        if edge[0] < edge[1] and len(ahead) == len(around.get((edge[1], edge[0]), []))
        for pair in _pairs_about_body(mesh, edge, ahead, around[edge[1], edge[0]])
    ]
    if not links:
        return mesh
    vertices = sorted({vertex for edge, _ in links for vertex in edge})
    near = np.flatnonzero(np.isin(mesh.faces, vertices).any(axis=1))
    faces, new_points = mesh.faces.copy(), list[FloatArray]()
    for vertex in vertices:
        joined = [pair for edge, pair in links if vertex in edge]
        own = near[(faces[near] == vertex).any(axis=1)]
        for sheet in _sheets_at(vertex, faces, own, set(around), joined)[1:]:
            rows = faces[sheet]
            faces[sheet] = np.where(rows == vertex, len(points) + len(new_points), rows)
            new_points.append(points[vertex])
    if not new_points:
        return mesh
    return Mesh(np.concatenate([points, np.array(new_points)]), faces)


def _crowded_edges(faces: IntArray) -> list[tuple[int, int, int]]:
    """(start, end, triangle) of the directed edges that several triangles have."""
    starts = faces.astype(np.int64)
    keys = ((starts << 32) | np.roll(starts, -1, axis=1)).ravel()
    ordered = np.sort(keys)
    crowded = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(crowded) == 0 or len(crowded) > MOST_CROWDED:
        return []
    found = np.flatnonzero(np.isin(keys, crowded))
    return [(int(keys[k]) >> 32, int(keys[k]) & 0xFFFFFFFF, int(k) // 3) for k in found]


def _pairs_about_body(
    mesh: Mesh, edge: Edge, ahead: list[int], back: list[int]
) -> list[tuple[int, int]]:
    """Triangles along and against an edge, in pairs with the body's inside between them."""
    points = mesh.vertices
    start = points[edge[0]]
    axis = (points[edge[1]] - start) / np.linalg.norm(points[edge[1]] - start)
    across = np.eye(3)[np.argmin(np.abs(axis))]
    first = np.cross(axis, across) / np.linalg.norm(np.cross(axis, across))
    second = np.cross(axis, first)

    def angle(triangle: int) -> float:
        arm = points[mesh.faces[triangle]].sum(axis=0) - points[list(edge)].sum(axis=0) - start
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
    faces: IntArray,
    own: NDArray[np.intp],
    crowded: set[Edge],
    joined: list[tuple[int, int]],
) -> list[list[int]]:
    """The triangles at a vertex, in groups that hang together by their edges there."""
    by_edge: dict[int, list[int]] = defaultdict(list)
    for triangle in own.tolist():
        for other in faces[triangle].tolist():
            if other != vertex and (vertex, other) not in crowded:
                by_edge[other].append(triangle)
    links: dict[int, set[int]] = defaultdict(set)
    for group in [*by_edge.values(), *map(list, joined)]:
        for triangle in group:
            links[triangle].update(group)
    sheets, seen = [], set[int]()
    for triangle in own.tolist():
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
