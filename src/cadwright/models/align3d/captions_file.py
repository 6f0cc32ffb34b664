"""Captions with the shapes they belong to, from JSONL or CSV.

In: a file of rows; each names a shape (``shape``, or ``sha256`` in the published layout, where the
file is ``{sha256}_r{R}.npz``) and has ``caption`` or ``captions``, and in JSONL perhaps
``questions``: pairs of question and answer. Out: checked rows. The shapes are not read here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadwright.errors import InputError
from cadwright.geometry.sdf_io import sdf_name
from cadwright.models.align3d.conversation import PROMPT
from cadwright.models.align3d.pairs import Pair


@dataclass(frozen=True, slots=True)
class Row:
    """One shape of a captions file.

    Attributes:
        path: of the shape; it exists.
        pairs: captions in answer to the published prompt, then questions.
    """

    path: Path
    pairs: tuple[Pair, ...]


def read_captions(
    path: str | Path, *, shapes: Path | None = None, resolution: int | None = None
) -> list[Row]:
    """Read and check a captions file.

    Args:
        path: .jsonl or .csv.
        shapes: folder the shapes are in; that of the file by default.
        resolution: R of the SDF files that ``sha256`` stands for.
    Raises:
        InputError: unreadable, no rows, a caption missing or empty, or a shape that is not there.
    """
    path = Path(path)
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: captions are read from .jsonl or .csv")
    try:
        raw = readers[path.suffix.lower()](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: the captions cannot be read: {error}") from error
    rows = [
        _to_row(values, f"{path}, row {number}", shapes or path.parent, resolution)
        for number, values in enumerate(raw, start=1)
    ]
    if not rows:
        raise InputError(f"{path}: there are no captions in it")
    return rows


def _read_jsonl(path: Path) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: no readable JSON: {error}") from error
        if not isinstance(values, dict):
            raise InputError(f"{path}, line {number}: each line must be a JSON object")
        rows.append(values)
    return rows


def _read_csv(path: Path) -> list[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[Mapping[str, Any]] = list(csv.DictReader(file))
    # The published table also lists shapes whose SDF could not be made.
    return [row for row in rows if row.get("sdf_computed") != "False"]


def _to_row(values: Mapping[str, Any], where: str, folder: Path, resolution: int | None) -> Row:
    shape = values.get("shape")
    if not shape and values.get("sha256") and resolution is not None:
        shape = sdf_name(str(values["sha256"]), resolution)
    if not isinstance(shape, str) or not shape:
        raise InputError(f"{where}: names no shape (a column 'shape', or 'sha256' with a VAE)")
    captions = _captions(values, where)
    path = folder / shape
    if not path.is_file():
        raise InputError(f"{where}: there is no shape {path}")
    return Row(path, (*(Pair(PROMPT, text) for text in captions), *_questions(values, where)))


def _captions(values: Mapping[str, Any], where: str) -> list[str]:
    """``captions`` as a list or as JSON text of one, a plain ``caption`` otherwise."""
    found = values.get("captions", values.get("caption"))
    if isinstance(found, str) and found.lstrip().startswith("["):
        try:
            found = json.loads(found)
        except ValueError:
            pass  # a caption that begins with a bracket
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise InputError(f"{where}: has no caption")
    if not all(text.strip() for text in texts):
        raise InputError(f"{where}: a caption is empty")
    return texts


def _questions(values: Mapping[str, Any], where: str) -> list[Pair]:
    pairs = []
    for entry in values.get("questions") or []:
        fits = isinstance(entry, list) and len(entry) == 2
        if not fits or not all(isinstance(text, str) and text.strip() for text in entry):
            raise InputError(f"{where}: 'questions' must hold pairs of question and answer")
        pairs.append(Pair(*entry))
    return pairs
