"""Files that are whole or absent: write beside the target, then rename onto it.

In: the path a file should have. Out: a temporary path in the same folder to write
to. Covers a crash or an exception of this process; it does not flush to disk, so a
power cut may still lose the newest file, and it does not cover folders.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cadwright.errors import InputError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` when the block ends well.

    The temporary name keeps the last suffix, because writers such as ``np.save``
    choose or append a format by it. A link is written through, not replaced.
    Whatever stood at ``path`` stays untouched until the new file is whole.

    Raises:
        InputError: the folder does not exist, or ``path`` is itself a folder.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise InputError(f"cannot write {path}: it is a folder.")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {target.parent} does not exist.")
    temporary = target.with_name(f".tmp-{secrets.token_hex(8)}{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:  # after a good replace there is nothing left to remove
        temporary.unlink(missing_ok=True)
