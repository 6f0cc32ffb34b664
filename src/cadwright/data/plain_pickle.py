"""Pickles of plain values, read without running anything that is in them.

In: a file that published data sets come with. Out: lists, dicts, tuples, strings, numbers, bools
and None. A pickle names whatever else it wants to call or create; here each such name is an error,
before anything is imported. Not covered: limits of size, so trust the file's length.
"""

from __future__ import annotations

import os
from pathlib import Path
from pickle import Unpickler, UnpicklingError
from typing import Any

from cadwright.errors import InputError

PLAIN = (list, dict, tuple, str, int, float, bool, type(None))
PLAIN_WORDS = "lists, dicts, tuples, strings, numbers, bools and None"

# What the unpickler raises at broken files, by its own documentation and by experience.
_BROKEN = (
    UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError, MemoryError,
    OverflowError, TypeError, ValueError,
)  # fmt: skip


def pickle_to_plain(path: str | os.PathLike[str]) -> Any:
    """The value in a pickle.

    Raises:
        InputError: the file cannot be read, is no pickle, or holds anything but plain values;
            then the message names the class.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            value = _PlainUnpickler(file, path).load()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except _BROKEN as error:
        raise InputError(f"{path} is not a readable pickle: {error}") from error
    _check(value, path)
    return value


class _PlainUnpickler(Unpickler):
    """Refuses every name: without one nothing can be imported, called or created."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Called for each class or function that a pickle names."""
        raise InputError(f"{self._path} holds a {module}.{name}, but only {PLAIN_WORDS} are read")

    def persistent_load(self, key: Any) -> Any:
        """Called for each reference to something outside of the file."""
        raise InputError(f"{self._path} refers to {key!r} outside of it")


def _check(value: Any, path: Path) -> None:
    """Refuse what needs no name to be made: bytes and sets. Goes through shared values once."""
    seen: set[int] = set()
    left = [value]
    while left:
        one = left.pop()
        if type(one) not in PLAIN:
            raise InputError(
                f"{path} holds a {type(one).__name__}, but only {PLAIN_WORDS} are read"
            )
        if isinstance(one, list | tuple | dict) and id(one) not in seen:
            seen.add(id(one))
            left.extend(one)
            if isinstance(one, dict):
                left.extend(one.values())
