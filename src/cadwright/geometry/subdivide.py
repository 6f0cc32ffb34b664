"""Triangles with long edges -> smaller ones on the same surface, without cracks.

In: a mesh of any frame, open or closed. Out: the same surface with every edge at most a given
length. Each long edge is split once for both its faces, so that what was welded stays welded.
Not covered: making triangles of good shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.types import FloatArray, Mesh

MOST_FACES = 4_000_000


def split_long_edges(mesh: Mesh, longest: float) -> Mesh:
    """The same surface with no edge longer than ``longest``, in the mesh's own frame.

    Raises:
        GeometryError: ``longest`` is not positive, or that would take millions of faces.
    """
    if not longest > 0:
        raise GeometryError(f"edges cannot be split to the length {longest:g}.")
    vertices, faces = mesh.vertices, mesh.faces.astype(np.int64)
    while True:
        corners = vertices[faces]
        length = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        is_long = length > longest
        touched = is_long.any(axis=1)
        if not touched.any():
            return Mesh(vertices, faces.astype(np.int32))
        if len(faces) > MOST_FACES:
            raise GeometryError(f"edges of {longest:g} would take more than {MOST_FACES} faces.")
        # Only a face's longest edge is split, so that each face falls into two of better shape.
        chosen = length[touched].argmax(axis=1)
        vertices, middles = _add_middles(vertices, faces, _edges(faces[touched], chosen))
        faces = _split_at(faces, middles)


def _edges(faces: NDArray[np.int64], chosen: NDArray[np.intp]) -> NDArray[np.int64]:
    """(F, 2) one edge of each face, smaller index first."""
    rows = np.arange(len(faces))
    return np.sort(np.stack([faces[rows, chosen], faces[rows, (chosen + 1) % 3]], axis=1), axis=1)


def _add_middles(
    vertices: FloatArray, faces: NDArray[np.int64], edges: NDArray[np.int64]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """The vertices with those edges' middles, and (F, 3) each face edge's middle or -1."""
    edges = np.unique(edges, axis=0)
    added = (vertices[edges[:, 0]] + vertices[edges[:, 1]]) / 2
    keys = edges @ np.array([len(vertices), 1])
    every = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2), axis=2)
    wanted = every @ np.array([len(vertices), 1])
    place = np.searchsorted(keys, wanted).clip(0, len(keys) - 1)
    middles = np.where(keys[place] == wanted, len(vertices) + place, -1)
    return np.concatenate([vertices, added]), middles


def _split_at(faces: NDArray[np.int64], middles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each face in as many pieces as it has middles, and one more; orientation is kept."""
    num = (middles >= 0).sum(axis=1)
    parts = [faces[num == 0]]
    for k in range(3):  # turn the faces so that the edge in question is the first
        a, b, c = np.roll(faces, -k, axis=1).T
        ab, bc, ca = np.roll(middles, -k, axis=1).T
        one = (num == 1) & (ab >= 0)
        parts += [np.stack([a, ab, c], axis=1)[one], np.stack([ab, b, c], axis=1)[one]]
        two = (num == 2) & (ca < 0)
        pieces = ([ab, b, bc], [a, ab, bc], [a, bc, c])
        parts += [np.stack(piece, axis=1)[two] for piece in pieces]
    a, b, c = faces[num == 3].T
    ab, bc, ca = middles[num == 3].T
    inner = ([a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca])
    parts += [np.stack(piece, axis=1) for piece in inner]
    return np.concatenate(parts)
