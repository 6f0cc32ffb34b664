"""What parent and child of the exact kernel say to each other, and how a tree travels.

In: a JSON header and numpy arrays. Out: the same on the other side of a pipe. Nothing is
pickled: a header is plain JSON, an array is its dtype, its shape and its bytes.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cadwright.program import grammar

Message: TypeAlias = "tuple[dict[str, Any], list[NDArray[Any]]]"
NODES = {
    name: getattr(grammar, name)
    for name in (
        "Program Plane Push Reset Circle Rect Segment Arc Close Assemble Face Corners Sketch "
        "Rim Extrude Box Cylinder Revolve"
    ).split()
}


def node_to_json(node: Any) -> Any:
    """A tree as nested lists and dicts; ``json_to_node`` gives an equal tree back."""
    if isinstance(node, tuple):
        return [node_to_json(item) for item in node]
    if type(node).__name__ in NODES:
        values = {field.name: node_to_json(getattr(node, field.name)) for field in fields(node)}
        return {"node": type(node).__name__, **values}
    return node


def json_to_node(value: Any) -> Any:
    """The tree that ``node_to_json`` took apart."""
    if isinstance(value, list):
        return tuple([json_to_node(item) for item in value])
    if isinstance(value, dict):
        arguments = {key: json_to_node(item) for key, item in value.items() if key != "node"}
        return NODES[value["node"]](**arguments)
    return value


def send(fd: int, header: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> None:
    """Write one message: the length of its header, the header as JSON, the arrays' bytes."""
    described = [{"dtype": array.dtype.str, "shape": array.shape} for array in arrays]
    text = json.dumps({**header, "arrays": described}).encode()
    parts = [struct.pack("<Q", len(text)), text, *(array.tobytes() for array in arrays)]
    message = memoryview(b"".join(parts))
    while message:
        message = message[os.write(fd, message) :]


def receive(fd: int) -> Message | None:
    """Read what ``send`` wrote, or None where the other side is gone."""
    prefix = _read(fd, 8)
    text = _read(fd, struct.unpack("<Q", prefix)[0]) if prefix else None
    if text is None:
        return None
    header = json.loads(text)
    arrays = []
    for described in header.pop("arrays"):
        dtype, shape = np.dtype(described["dtype"]), tuple(described["shape"])
        data = _read(fd, dtype.itemsize * int(np.prod(shape)))
        if data is None:
            return None
        arrays.append(np.frombuffer(data, dtype).reshape(shape))
    return header, arrays


def _read(fd: int, size: int) -> bytearray | None:
    data = bytearray()
    while len(data) < size:
        piece = os.read(fd, min(size - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return data
