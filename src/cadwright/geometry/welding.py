"""Loose triangles -> one indexed mesh, and the questions whether it is closed and how large.

In: corner coordinates, or an indexed mesh with doubled vertices. Out: a mesh whose
equal vertices are one. Only vertices equal bit for bit are joined: gaps are not
closed, T-junctions not repaired. Made for tens of millions of faces: sorts of
64-bit keys, and chunks for whatever is large per face.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.types import FloatArray, IntArray, Mesh

CHUNK = 1 << 18  # faces handled at a time where temporaries are large

# Odd 64-bit multipliers (fractions of the golden ratio, sqrt 2 and sqrt 3), one per coordinate.
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0x6A09E667F3BCC909, 0xBB67AE8584CAA73B)


def weld(vertices: NDArray[np.floating], faces: NDArray[np.integer] | None = None) -> Mesh:
    """Join equal vertices, drop faces that lose a corner by it and vertices without a face.

    Args:
        vertices: (N, 3) float32 or float64, any frame.
        faces: (F, 3) indices; None means that vertices 3i, 3i+1, 3i+2 are face i.
    Returns:
        The mesh in the same frame, vertices in their order of first use in ``vertices``.
        Faces that are thin but have three different corners stay, since closed
        tessellations need them.
    """
    vertices = np.ascontiguousarray(vertices) + 0  # a copy in which -0.0 became 0.0
    first, inverse = _groups(vertices)
    corners = inverse.reshape(-1, 3) if faces is None else inverse[faces]
    a, b, c = corners.T
    corners = corners[(a != b) & (b != c) & (c != a)]
    used = np.zeros(len(first), dtype=bool)
    used[corners] = True
    renumber = np.cumsum(used, dtype=np.int32) - 1
    kept = vertices[first[used]].astype(np.float64)
    return Mesh(kept, np.ascontiguousarray(renumber[corners], dtype=np.int32))


def _groups(vertices: NDArray[np.floating]) -> tuple[NDArray[np.int64], IntArray]:
    """First row of every distinct vertex, ascending, and (N,) the group of every row."""
    bits: NDArray[np.unsignedinteger] = (
        vertices.view(np.uint32) if vertices.dtype == np.float32 else vertices.view(np.uint64)
    )
    first, group = _groups_by_key(_row_keys(bits))
    if not _same_rows(bits, first, group):  # two keys collided: exact, and slow
        _, first, group = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    by_first = np.argsort(first)
    rank = np.zeros(len(first), dtype=np.int32)
    rank[by_first] = np.arange(len(first), dtype=np.int32)
    return first[by_first], rank[group.reshape(-1)]


def _groups_by_key(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], IntArray]:
    order = np.argsort(keys)
    if not len(keys):
        return order, order.astype(np.int32)
    sorted_keys = keys[order]
    new = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]])
    # The lowest row of a group, so that the answer does not depend on the sort's ties.
    first = np.minimum.reduceat(order, np.flatnonzero(new))
    group = np.zeros(len(order), dtype=np.int32)
    group[order] = np.cumsum(new, dtype=np.int32) - 1
    return first, group


def _row_keys(bits: NDArray[np.unsignedinteger]) -> NDArray[np.uint64]:
    """(N,) 64-bit keys; equal rows have equal keys, others differ but for rare accidents."""
    keys = np.zeros(len(bits), dtype=np.uint64)
    for axis, multiplier in enumerate(_MULTIPLIERS):
        keys ^= bits[:, axis]
        keys *= np.uint64(multiplier)
        keys ^= keys >> np.uint64(29)
    return keys


def _same_rows(
    bits: NDArray[np.unsignedinteger], first: NDArray[np.int64], group: IntArray
) -> bool:
    """Whether every row equals the first row of its group."""
    step = 3 * CHUNK
    return all(
        np.array_equal(bits[first[group[i : i + step]]], bits[i : i + step])
        for i in range(0, len(bits), step)
    )


def is_closed(mesh: Mesh) -> bool:
    """Whether every edge is walked as often one way as the other.

    So no edge is open and neighbouring faces agree which side is outside. Edges of four
    faces (two blocks that touch along a line) are allowed. The mesh must be welded.
    """
    if not len(mesh.faces):
        return False
    starts = mesh.faces.astype(np.int64)
    ends = np.roll(starts, -1, axis=1)
    forward = ((starts << 32) | ends).ravel()
    backward = ((ends << 32) | starts).ravel()
    del starts, ends
    forward.sort()
    backward.sort()
    return bool(np.array_equal(forward, backward))


def face_areas(mesh: Mesh) -> FloatArray:
    """(F,) float64 area of every face, in the mesh's unit squared."""
    areas = np.zeros(len(mesh.faces))
    rows = np.ascontiguousarray(mesh.vertices.T)
    start = 0
    for faces in _chunks(mesh.faces):
        a, b, c = (rows.take(faces[:, corner], axis=1) for corner in range(3))
        u, v = b - a, c - a
        x = u[1] * v[2] - u[2] * v[1]
        y = u[2] * v[0] - u[0] * v[2]
        z = u[0] * v[1] - u[1] * v[0]
        areas[start : start + len(faces)] = np.sqrt(x * x + y * y + z * z) / 2
        start += len(faces)
    return areas


def enclosed_volume(mesh: Mesh) -> float:
    """Signed volume of a closed mesh in its unit cubed, negative if it is inside out.

    Measured from the middle of the bounds, so a shape far from the origin loses no digits.
    """
    lower, upper = mesh.bounds
    rows = np.ascontiguousarray((mesh.vertices - (lower / 2 + upper / 2)).T)
    six_volumes = 0.0
    for faces in _chunks(mesh.faces):
        a, b, c = (rows.take(faces[:, corner], axis=1) for corner in range(3))
        six_volumes += float((a[0] * (b[1] * c[2] - b[2] * c[1])).sum())
        six_volumes += float((a[1] * (b[2] * c[0] - b[0] * c[2])).sum())
        six_volumes += float((a[2] * (b[0] * c[1] - b[1] * c[0])).sum())
    return six_volumes / 6


def flipped(mesh: Mesh) -> Mesh:
    """The same surface with inside and outside exchanged."""
    return Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))


def check_mesh(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> None:
    """Raises GeometryError if these are not (V, 3) and (F, 3), or a face names no vertex."""
    for rows, what in ((vertices, "vertices"), (faces, "triangles")):
        if rows.ndim != 2 or rows.shape[1] != 3:
            raise GeometryError(f"{what} need shape (N, 3), not {rows.shape}.")
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise GeometryError(f"a face names a vertex outside the {len(vertices)} that there are.")


def _chunks(faces: IntArray) -> Iterator[IntArray]:
    for start in range(0, len(faces), CHUNK):
        yield faces[start : start + CHUNK]
