"""STL files, binary and text: path -> welded mesh, and mesh -> binary file.

Coordinates pass unchanged (USER frame); the format has no unit and only float32.
Normals and colours of the file are ignored: the order of the corners says which
side is outside. What is cut off, or is not STL, is an InputError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.geometry.welding import CHUNK, weld
from cadwright.types import Mesh

HEADER_BYTES = 84  # 80 free bytes, then the number of triangles
RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
TEXT_BLOCK = 1 << 24  # bytes of a text file read at a time

_VERTEX = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)
_FACET_END = re.compile(rb"endfacet", re.IGNORECASE)
_SOLID_END = re.compile(rb"endsolid[^\r\n]*[\s\0\x1a]*\Z", re.IGNORECASE)


def read_stl(path: Path, *, max_faces: int) -> Mesh:
    """Read an STL file of either kind.

    Args:
        path: a readable file that is not empty.
        max_faces: more triangles than this are refused before memory is taken for them.
    Returns:
        The welded mesh, USER frame; values may still be NaN or infinite.
    Raises:
        InputError: the file is not STL, is cut off, or holds too many triangles.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
        num_faces = int.from_bytes(head[80:HEADER_BYTES], "little")
        # The size decides: many binary files open with the word that marks the text kind.
        exact = size == HEADER_BYTES + num_faces * RECORD.itemsize
        if looks_like_text_stl(head) and not (len(head) >= HEADER_BYTES and exact):
            return weld(_text_corners(file, path.name, max_faces))
        _check_binary(head, size, num_faces, path.name)
        if num_faces > max_faces:
            raise too_many_faces(path.name, num_faces, max_faces)
        file.seek(HEADER_BYTES)
        records = np.fromfile(file, dtype=RECORD, count=num_faces)
    corners = records["corners"].reshape(-1, 3)  # a packed copy, the records can go
    del records
    return weld(corners)


def save_stl(mesh: Mesh, path: str | os.PathLike[str]) -> None:
    """Write a binary STL file, whole or not at all; coordinates as they are, in float32.

    Raises:
        InputError: the folder does not exist.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(b"binary STL written by cadwright".ljust(80))
        file.write(len(mesh.faces).to_bytes(4, "little"))
        for start in range(0, len(mesh.faces), CHUNK):
            triangles = mesh.vertices[mesh.faces[start : start + CHUNK]]
            records = np.zeros(len(triangles), dtype=RECORD)
            records["corners"] = triangles
            records["normal"] = _unit_normals(triangles)
            records.tofile(file)


def looks_like_text_stl(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a text STL."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:5].lower()
    return start == b"solid" and b"\0" not in head


def looks_like_binary_stl(head: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes is exactly as long as its triangle count asks for."""
    num_faces = int.from_bytes(head[80:HEADER_BYTES], "little")
    return num_faces > 0 and size == HEADER_BYTES + num_faces * RECORD.itemsize


def too_many_faces(name: str, num_faces: int, max_faces: int) -> InputError:
    """The error for a mesh that is larger than the caller allows."""
    return InputError(f"{name}: {num_faces} triangles are more than the {max_faces} allowed.")


def _check_binary(head: bytes, size: int, num_faces: int, name: str) -> None:
    if size < HEADER_BYTES or _is_text(head):
        raise InputError(f"{name}: this is not an STL file.")
    needed = HEADER_BYTES + num_faces * RECORD.itemsize
    if size < needed:
        whole = (size - HEADER_BYTES) // RECORD.itemsize
        raise InputError(f"{name}: the STL file is cut off after {whole} of {num_faces} triangles.")
    # A few bytes of padding happen; room for a second header could hide lost triangles.
    if size - needed >= HEADER_BYTES:
        raise InputError(
            f"{name}: the file is {size - needed} bytes longer than its {num_faces} triangles need."
        )


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 for byte in head)


def _text_corners(file: BinaryIO, name: str, max_faces: int) -> NDArray[np.float64]:
    """(3F, 3) float64 corners of a text STL, all its solids together."""
    parts: list[NDArray[np.float64]] = []
    num_corners = num_facets = 0
    ended = False
    for block in _facet_blocks(file):
        parts.append(_numbers(_VERTEX.findall(block), name))
        num_corners += len(parts[-1])
        num_facets += len(_FACET_END.findall(block))
        if block:
            ended = _SOLID_END.search(block) is not None
        if num_facets > max_faces:
            raise too_many_faces(name, num_facets, max_faces)
    if not num_corners and not ended:
        raise InputError(f"{name}: this is not an STL file.")
    if not ended or num_corners != 3 * num_facets:
        raise InputError(f"{name}: the STL file is cut off or damaged after {num_facets} facets.")
    return np.concatenate(parts)


def _facet_blocks(file: BinaryIO) -> Iterator[bytes]:
    """The whole file in large blocks, none of which breaks a facet in two."""
    file.seek(0)
    rest = b""
    while more := file.read(TEXT_BLOCK):
        block = rest + more
        last = block.lower().rfind(b"endfacet")
        # A block without a single facet is no STL or its end: let the counts judge it.
        end = last + len("endfacet") if last >= 0 else len(block)
        yield block[:end]
        rest = block[end:]
    yield rest


def _numbers(rows: list[tuple[bytes, bytes, bytes]], name: str) -> NDArray[np.float64]:
    try:
        return np.array(rows, dtype=bytes).reshape(-1, 3).astype(np.float64)
    except ValueError as error:
        raise InputError(f"{name}: a corner is not three numbers ({error}).") from error


def _unit_normals(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    u, v = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normals = np.cross(u, v)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
