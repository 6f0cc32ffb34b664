"""A JSON header and numpy arrays in one compact file, which a browser reads without a library.

In: a header and named arrays. Out: bytes, and back: ``CWG1``, the header's length as uint32, the
header (UTF-8, padded with spaces to a multiple of 4 bytes), the arrays one after the other, little
endian, each at a multiple of 4. ``header["arrays"]`` says where each is, counted from the header's
end. Not covered: what the arrays mean (``mesh_to_buffers``).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import InputError

MAGIC = b"CWG1"


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Put a header and arrays of 4-byte numbers into one piece."""
    described: dict[str, Any] = {}
    parts: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        if array.dtype.itemsize != 4:
            raise ValueError(f"'{name}' has numbers of {array.dtype.itemsize} bytes, not 4")
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        described[name] = {"dtype": array.dtype.name, "shape": array.shape, "offset": offset}
        parts.append(data)
        offset += len(data)
    text = json.dumps({**header, "arrays": described}, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([MAGIC, struct.pack("<I", len(text)), text, *parts])


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays that ``pack`` put together.

    Raises:
        InputError: these are other bytes.
    """
    if data[:4] != MAGIC or len(data) < 8:
        raise InputError("this is not a packed geometry: it does not begin with CWG1")
    start = 8 + struct.unpack_from("<I", data, 4)[0]
    header = json.loads(data[8:start])
    arrays = {}
    for name, one in header["arrays"].items():
        dtype, count = np.dtype(one["dtype"]).newbyteorder("<"), int(np.prod(one["shape"]))
        flat = np.frombuffer(data, dtype, count, start + one["offset"])
        arrays[name] = flat.reshape(one["shape"])
    return header, arrays
