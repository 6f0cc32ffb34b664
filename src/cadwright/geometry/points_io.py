"""Point files: XYZ, TXT, CSV or NPY -> (N, 3) float64 points, USER frame.

The first three columns are the coordinates; normals or colours after them are
ignored. Not covered: chemistry's XYZ, decimal commas, pickled arrays.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import InputError
from cadwright.types import FloatArray

COMMENTS = ("#", "//")


def read_point_text(path: Path) -> FloatArray:
    """Read points written as text, one a line, split by blanks, commas, semicolons or tabs.

    One line of column names may come first; lines that open with # or // are passed over.

    Returns:
        (N, 3) float64, USER frame; N may be small, values may be NaN or infinite.
    Raises:
        InputError: not text, fewer than three columns, or a line that is not numbers.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: this is not a text file of points.") from error
    lines = text.splitlines()
    start = _first_row(lines)
    if start == len(lines):
        raise InputError(f"{path.name}: the file holds no points.")
    try:
        rows = np.loadtxt(
            io.StringIO("\n".join(lines[start:])),
            delimiter=_delimiter(lines[start]),
            comments=list(COMMENTS),
            usecols=(0, 1, 2),
            ndmin=2,
        )
    except ValueError as error:
        line = _bad_line(lines, start)
        raise InputError(f"{path.name}: line {line} is not at least three numbers.") from error
    return np.asarray(rows, dtype=np.float64)


def read_point_array(path: Path) -> FloatArray:
    """Read a NumPy file of shape (N, 3), or (N, 6) with normals, of real numbers.

    Returns:
        (N, 3) float64, USER frame; N may be small, values may be NaN or infinite.
    Raises:
        InputError: not a NumPy file, cut off, another shape, or not real numbers.
        OSError: the file cannot be opened.
    """
    try:
        # Mapped, so that a header which promises more than the file has takes no memory.
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a damaged header makes numpy raise whatever a parser can
        reason = "it is cut off, damaged, or holds Python objects"
        raise InputError(f"{path.name}: this NumPy file cannot be read: {reason}.") from error
    if not isinstance(rows, np.ndarray):
        raise InputError(f"{path.name}: this is an archive of arrays (NPZ), not one NumPy array.")
    if rows.ndim != 2 or rows.shape[1] not in (3, 6):
        raise InputError(f"{path.name}: points need shape (N, 3) or (N, 6), not {rows.shape}.")
    if rows.dtype.kind not in "fiu":
        raise InputError(f"{path.name}: points need real numbers, not type {rows.dtype}.")
    return np.array(rows[:, :3], dtype=np.float64)


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith(COMMENTS)


def _delimiter(line: str) -> str | None:
    return next((mark for mark in (";", ",") if mark in line), None)


def _row(line: str) -> NDArray[np.float64] | None:
    """The numbers of a line, None if it is not at least three numbers."""
    for mark in COMMENTS:
        line = line.split(mark)[0]
    cells = line.split(_delimiter(line))
    try:
        return np.array([float(cell) for cell in cells[:3]]) if len(cells) >= 3 else None
    except ValueError:
        return None


def _first_row(lines: list[str]) -> int:
    """Index of the first line of numbers: comments and one line of names are passed over."""
    rows = (i for i, line in enumerate(lines) if not _is_comment(line))
    first = next(rows, len(lines))
    if first < len(lines) and _row(lines[first]) is None:
        return next(rows, len(lines))
    return first


def _bad_line(lines: list[str], start: int) -> int:
    """1-based number of the first line from ``start`` that is not at least three numbers."""
    bad = (i for i in range(start, len(lines)) if not _is_comment(lines[i]))
    return 1 + next((i for i in bad if _row(lines[i]) is None), start)
