"""Meshes and clouds -> what a 3-D view draws: positions, normals, triangles and sharp edges.

In: a mesh or points, USER frame. Out: float32 and uint32 arrays, positions counted from an origin
near the part, since float32 has seven digits only. Triangles are cut small enough to carry a colour
at each corner, and corners are split at sharp edges. Not covered: colours (``shape_distance``),
bytes (``binary_format``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.geometry.manifolds import mesh_to_manifold
from cadwright.geometry.subdivide import split_long_edges
from cadwright.types import FloatArray, Mesh

if TYPE_CHECKING:
    from manifold3d import Manifold

Arrays = dict[str, NDArray[Any]]

SHARP_DEGREES = 30.0  # between two faces; what is flatter is drawn as one round surface
NUM_PIECES = 5000  # triangles into which a surface is cut, about
MOST_FACES = 200_000  # drawn; a finer mesh is simplified before
MOST_POINTS = 100_000  # of a cloud


def solid_to_buffers(solid: Manifold, *, origin: FloatArray) -> Arrays:
    """A closed surface, by manifold3d alone: a few milliseconds.

    Args:
        solid: USER frame.
        origin: (3,) from which positions are counted.
    Returns:
        ``positions`` and ``normals`` (V, 3) float32, ``indices`` (F, 3) uint32, ``edges``
        (E, 2, 3) float32, the ends of the sharp edges.
    """
    if solid.num_tri() > MOST_FACES:
        low, high = np.reshape(solid.bounding_box(), (2, 3))
        simpler = solid.simplify(1e-3 * float((high - low).max()))
        solid = simpler if simpler.num_tri() else solid
    moved = solid.translate([float(-value) for value in origin])
    plain = moved.to_mesh64()
    edges = sharp_edges(np.asarray(plain.vert_properties[:, :3]), np.asarray(plain.tri_verts))
    piece = np.sqrt(2 * moved.surface_area() / NUM_PIECES) * 1.5
    fine = moved.calculate_normals(0, SHARP_DEGREES).refine_to_length(piece).to_mesh()
    rows = np.asarray(fine.vert_properties, dtype=np.float32)
    return {
        "positions": rows[:, :3],
        "normals": rows[:, 3:6],
        "indices": np.asarray(fine.tri_verts, dtype=np.uint32),
        "edges": edges.astype(np.float32),
    }


def mesh_to_buffers(mesh: Mesh, *, origin: FloatArray) -> Arrays:
    """As ``solid_to_buffers`` for any mesh, open or not.

    Raises:
        GeometryError: the mesh has no area.
    """
    try:
        return solid_to_buffers(mesh_to_manifold(mesh), origin=origin)
    except GeometryError:
        pass  # open, or no solid to manifold3d: drawn as it is
    if len(mesh.faces) > MOST_FACES:
        mesh = _clustered(mesh)
    corners = mesh.triangles
    areas = (
        np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
        )
        / 2
    )
    total = float(areas.sum())
    if not total > 0:
        raise GeometryError("the mesh has no area, so there is nothing to draw.")
    edges = sharp_edges(mesh.vertices - origin, mesh.faces)
    if len(mesh.faces) < NUM_PIECES:
        mesh = split_long_edges(mesh, float(np.sqrt(2 * total / NUM_PIECES)) * 3)
    positions, normals, faces = _split_at_creases(mesh)
    return {
        "positions": (positions - origin).astype(np.float32),
        "normals": normals.astype(np.float32),
        "indices": faces.astype(np.uint32),
        "edges": edges.astype(np.float32),
    }


def points_to_buffers(points: FloatArray, *, origin: FloatArray) -> Arrays:
    """A cloud: ``positions`` alone, of many points evenly picked ones."""
    step = -(-len(points) // MOST_POINTS)
    return {"positions": (points[::step] - origin).astype(np.float32)}


def sharp_edges(vertices: FloatArray, faces: NDArray[Any]) -> FloatArray:
    """(E, 2, 3): the edges between faces that meet at an angle, or that have one face only."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    face = np.repeat(np.arange(len(faces)), 3)
    keys = ends[:, 0].astype(np.int64) * len(vertices) + ends[:, 1]
    order = np.argsort(keys, kind="stable")
    keys, ends, face = keys[order], ends[order], face[order]
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    count = np.diff(np.r_[first, len(keys)])
    pair = first[count == 2]
    flat = np.cos(np.radians(SHARP_DEGREES))
    bent = np.einsum("ij,ij->i", normals[face[pair]], normals[face[pair + 1]]) < flat
    kept = np.concatenate([pair[bent], first[count == 1]])
    return np.asarray(vertices[ends[kept]])


def _split_at_creases(mesh: Mesh) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Vertices, their normals and faces; faces that meet sharply share no vertex."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    faces = mesh.faces.astype(np.int64)
    corners = mesh.triangles
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    units = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    keys = ends[:, 0] * len(mesh.vertices) + ends[:, 1]
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    a, b = order[same] // 3, order[same + 1] // 3
    smooth = np.einsum("ij,ij->i", units[a], units[b]) > np.cos(np.radians(SHARP_DEGREES))
    links = coo_matrix((np.ones(int(smooth.sum())), (a[smooth], b[smooth])), (len(faces),) * 2)
    _, patch = connected_components(links, directed=False)
    corner_keys = patch.astype(np.int64)[:, None] * len(mesh.vertices) + faces
    unique, inverse = np.unique(corner_keys.ravel(), return_inverse=True)
    summed = np.zeros((len(unique), 3))
    np.add.at(summed, inverse, np.repeat(normals, 3, axis=0))
    summed /= np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-300)
    return mesh.vertices[unique % len(mesh.vertices)], summed, inverse.reshape(-1, 3)


def _clustered(mesh: Mesh) -> Mesh:
    """A coarser mesh: vertices that share a cell of a grid become one, empty faces go."""
    low, high = mesh.bounds
    cell = float((high - low).max()) / 300
    keys = np.floor((mesh.vertices - low) / cell).astype(np.int64) @ np.array([1, 1024, 1024**2])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1)[mesh.faces]
    a, b, c = faces.T
    kept = faces[(a != b) & (b != c) & (c != a)]
    return Mesh(mesh.vertices[first], np.unique(kept, axis=0).astype(np.int32))
