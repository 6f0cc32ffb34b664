"""How far points lie from a surface: (N, 3) points and a mesh in, (N,) distances out.

Faces are cut into small pieces, whose middles are searched; the faces found are
measured exactly, and the search widens until no other face can be nearer. Not
covered: signs (inside or outside) and which point of the surface is the nearest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.geometry.frames import longest_side
from cadwright.types import FloatArray, Mesh

PIECE = 0.05  # longest edge of a piece, as a share of the longest side of the mesh
NUM_NEAR, MAX_NEAR = 32, 1024  # pieces looked at first, and at most
MAX_ALL = 4096  # with fewer faces than this all are measured, where the search must go on
CHUNK = 1 << 17  # pairs of a point and a face measured at a time


def points_to_surface(points: NDArray[np.floating], mesh: Mesh) -> FloatArray:
    """Distance of every point to the surface of a mesh.

    Args:
        points: (N, 3), the mesh's frame.
        mesh: any frame; need not be closed.
    Returns:
        (N,) float64 in the mesh's unit. Exact but for rounding; only for meshes of more
        than 4096 faces and points that many pieces are about equally near to, it may be
        too large, by less than 5 % of the mesh's longest side.
    Raises:
        GeometryError: the mesh has no faces or no extent, or a value is not finite.
    """
    from scipy.spatial import cKDTree

    rows: FloatArray = np.asarray(points, dtype=np.float64)
    if not len(mesh.faces) or not np.isfinite(rows).all():
        raise GeometryError("distances need a mesh with faces, and finite points.")
    middles, face, reach = _pieces(mesh)
    tree = cKDTree(middles, compact_nodes=False, balanced_tree=False)
    distances = np.full(len(rows), np.inf)
    left = np.arange(len(rows))
    num_near = min(NUM_NEAR, len(middles))
    while len(left) and num_near <= MAX_NEAR and num_near < len(middles):
        sure = np.zeros(len(left), dtype=bool)
        for start in range(0, len(left), step := CHUNK // num_near):
            some = left[start : start + step]
            away, near = tree.query(rows[some], k=num_near)
            triangles = mesh.vertices[mesh.faces[face[near]]]
            distances[some] = points_to_triangles(rows[some, None], triangles).min(axis=1)
            # Any face nearer than this would have shown a piece within this and its reach.
            sure[start : start + step] = away[:, -1] >= distances[some] + reach
        left = left[~sure]
        num_near *= 4
    if len(mesh.faces) <= MAX_ALL:
        _measure_all(rows, mesh.triangles, left, distances)
    return distances


def points_to_triangles(points: FloatArray, triangles: FloatArray) -> FloatArray:
    """Exact distances: points (..., 3) to triangles (..., 3, 3), whose shapes broadcast."""
    corners = [triangles[..., corner, :] for corner in range(3)]
    edges = [corners[(i + 1) % 3] - corners[i] for i in range(3)]
    normal = np.cross(edges[0], edges[1])
    area = _dot(normal, normal)
    nearest = np.full(np.broadcast_shapes(points.shape[:-1], area.shape), np.inf)
    inside = np.broadcast_to(area > 0, nearest.shape)
    for corner, edge in zip(corners, edges, strict=True):
        towards = points - corner
        along = _dot(towards, edge) / np.maximum(_dot(edge, edge), np.finfo(np.float64).tiny)
        gap = towards - np.clip(along, 0.0, 1.0)[..., None] * edge
        nearest = np.minimum(nearest, _dot(gap, gap))
        inside = inside & (_dot(np.cross(edge, towards), normal) >= 0)
    height = _dot(points - corners[0], normal)
    over = height * height / np.where(area > 0, area, 1.0)
    return np.asarray(np.sqrt(np.where(inside, over, nearest)), dtype=np.float64)


def _pieces(mesh: Mesh) -> tuple[FloatArray, NDArray[np.int64], float]:
    """Middles (M, 3) of small pieces, (M,) their faces, and how far a piece reaches at most."""
    longest = PIECE * longest_side(mesh.bounds)
    triangles, face = mesh.triangles, np.arange(len(mesh.faces))
    done: list[tuple[FloatArray, NDArray[np.int64]]] = []
    while len(triangles):
        edges = np.linalg.norm(np.roll(triangles, -1, axis=1) - triangles, axis=2)
        small = edges.max(axis=1) <= longest
        done.append((triangles[small], face[small]))
        triangles, face = _halves(triangles[~small], edges[~small].argmax(axis=1)), face[~small]
        face = np.concatenate([face, face])
    triangles, face = (np.concatenate(parts) for parts in zip(*done, strict=True))
    middles = triangles.mean(axis=1)
    reach = np.linalg.norm(triangles - middles[:, None], axis=2).max()
    return middles, face, float(reach)


def _halves(triangles: FloatArray, edge: NDArray[np.int64]) -> FloatArray:
    """(2M, 3, 3): every triangle cut in two at the middle of the given edge."""
    rows = np.arange(len(triangles))
    a, b, c = (triangles[rows, (edge + i) % 3] for i in range(3))
    middle = (a + b) / 2
    return np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])


def _measure_all(
    points: FloatArray, triangles: FloatArray, rows: NDArray[np.int64], distances: FloatArray
) -> None:
    """Write the distances of some rows of ``points`` to the nearest of all triangles."""
    step = max(1, CHUNK // len(triangles))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        distances[some] = points_to_triangles(points[some, None], triangles).min(axis=1)


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("...i,...i->...", a, b))
