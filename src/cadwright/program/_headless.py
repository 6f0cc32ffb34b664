"""In: an installed OCP wheel on Linux. Out: OCP can be loaded where libGL and libX11 are missing.

The kernel's wheel links its (here unused) viewer to libGL.so.1 and libX11.so.6, which a server or a
slim container does not have. Where the loader does not find one, a stand-in is written that
carries its name and the symbols the viewer asks for, each a function that returns 0; nothing of the
kernel's modelling calls them. Where the real library exists nothing is done. Linux with glibc only
(x86-64, aarch64); other systems link no X11.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import re
import struct
import sys
import tempfile
from pathlib import Path

_LIBRARIES = {
    "libGL.so.1": re.compile(r"gl[A-Z]\w*"),
    "libX11.so.6": re.compile(r"X[A-Z][a-zA-Z0-9]\w*"),
    "libexpat.so.1": re.compile(r"XML_\w+"),
}
_RETURN_ZERO = {
    "x86_64": (62, bytes.fromhex("31c0c390")),
    "aarch64": (183, bytes.fromhex("000080d2c0035fd6")),
}
_PAGE = 0x10000  # the largest page size of the two architectures


def provide_graphics_stubs() -> tuple[str, ...]:
    """Load a stand-in for each graphics library the kernel links to and the machine lacks.

    Returns:
        The names of the libraries that were stood in for; empty where none was needed.
    """
    if sys.platform != "linux" or platform.machine() not in _RETURN_ZERO:
        return ()
    missing = tuple(name for name in _LIBRARIES if not _is_loadable(name))
    if missing:
        asked = _symbols_asked_for()
        for name in missing:
            _load_stub(name, sorted(s for s in asked if _LIBRARIES[name].fullmatch(s)))
    return missing


def _is_loadable(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _symbols_asked_for() -> set[str]:
    """Undefined dynamic symbols of the wheel's two libraries that draw."""
    spec = importlib.util.find_spec("OCP")
    if spec is None or spec.origin is None:
        return set()
    folder = Path(spec.origin).parent.parent / "cadquery_ocp.libs"
    files = [
        *folder.glob("libTKOpenGl-*"),
        *folder.glob("libTKService-*"),
        *folder.glob("libfontconfig-*"),
    ]
    return {symbol for file in files for symbol in _undefined_symbols(file.read_bytes())}


def _undefined_symbols(elf: bytes) -> set[str]:
    """Names in the dynamic symbol table with no section (ELF64, little endian)."""
    (table_at,) = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table_at + i * size) for i in range(count)]
    names = set()
    for section in sections:
        if section[1] != 11:  # SHT_DYNSYM
            continue
        strings = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, _, _, index = struct.unpack_from("<IBBH", elf, at)
            if index == 0 and name:
                start = strings + name
                names.add(elf[start : elf.index(b"\0", start)].decode())
    return names


def _load_stub(name: str, symbols: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(_shared_object(name, symbols))
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _shared_object(soname: str, symbols: list[str]) -> bytes:
    """A minimal ELF64 library: one function that returns 0 under every name in ``symbols``."""
    machine, code = _RETURN_ZERO[platform.machine()]
    strings = b"\0" + b"".join(s.encode() + b"\0" for s in [soname, *symbols])
    offsets, at = [], 1
    for s in [soname, *symbols]:
        offsets.append(at)
        at += len(s) + 1
    num = len(symbols) + 1
    code_at = 64 + 4 * 56
    table_at = code_at + 16
    hash_at = table_at + 24 * num
    strings_at = hash_at + 4 * (2 + 1 + num)
    text_end = strings_at + len(strings)
    dyn_at = -(-text_end // 16) * 16
    dyn_addr = _PAGE + dyn_at  # its own page, which must be writable
    table = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", o, 0x12, 0, 1, code_at, len(code)) for o in offsets[1:]
    )
    # one bucket: a chain through all symbols
    chain = [0, *range(2, num), 0][:num] if num > 1 else [0]
    hashes = struct.pack(f"<{3 + num}I", 1, num, 1 if num > 1 else 0, *chain)
    entries = [
        (14, offsets[0]),
        (4, hash_at),
        (5, strings_at),
        (6, table_at),
        (10, len(strings)),
        (11, 24),
        (0, 0),
    ]
    dynamic = b"".join(struct.pack("<QQ", *e) for e in entries)
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)
    )
    n = len(dynamic)
    segments = [
        (1, 5, 0, 0, 0, text_end, text_end, _PAGE),
        (1, 6, dyn_at, dyn_addr, dyn_addr, n, n, _PAGE),
        (2, 6, dyn_at, dyn_addr, dyn_addr, n, n, 8),
        (0x6474E551, 6, 0, 0, 0, 0, 0, 16),  # PT_GNU_STACK: no executable stack
    ]
    body = header + b"".join(struct.pack("<IIQQQQQQ", *s) for s in segments)
    body += code.ljust(16, b"\0") + table + hashes + strings
    return body.ljust(dyn_at, b"\0") + dynamic
