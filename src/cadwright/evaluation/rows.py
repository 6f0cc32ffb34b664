"""parts.jsonl and parts.parquet: a line for each part, added as parts get done, whole or not there.

In: rows of plain values. Out: the same rows. A last line that was cut off by a crash is dropped
when the file is read to go on. The Parquet file has one row a part, flat, with lists for what each
prediction has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from cadwright.errors import InputError
from cadwright.evaluation.summary import Row, part_values
from cadwright.geometry.atomic import atomic_write
from cadwright.optional import require


def append_row(file: IO[str], row: Row) -> None:
    """Write a row and hand it to the system."""
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()


def read_rows(path: Path) -> list[Row]:
    """All rows of a file.

    Raises:
        InputError: there is no such file, or a line is no row.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append({key: row[key] for key in ("name", "target", "predictions")})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: line {number} is not the row of a part") from error
    return rows


def rows_to_go_on(path: Path) -> list[Row]:
    """The rows of a run that ended early; the file is cut behind the last whole one."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with atomic_write(path) as temporary:
            temporary.write_bytes(whole)
    return read_rows(path)


def write_sorted(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows anew, by name, so that the file does not tell how many workers there were."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in sorted(rows, key=lambda row: str(row["name"])):
            append_row(file, row)


def write_parquet(path: Path, rows: Iterable[Row]) -> None:
    """Write one flat row a part.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    pyarrow = require("pyarrow", extra="report")
    parquet = require("pyarrow.parquet", extra="report")
    table = pyarrow.Table.from_pylist([_flat(row) for row in rows])
    with atomic_write(path) as temporary:
        parquet.write_table(table, temporary)


def _flat(row: Row) -> dict[str, Any]:
    target, predictions = row["target"], row["predictions"]
    flat: dict[str, Any] = {"name": row["name"], "target_error": target.get("error", "")}
    for key, kind in (("kind", str), ("no_iou", str), ("volume", float), ("size", float)):
        flat[f"target_{key}"] = None if target.get(key) is None else kind(target[key])
    for key in ("num_faces", "num_bodies"):
        flat[f"target_{key}"] = target.get(key)
    values = part_values(row) if "error" not in target else {}
    for key in _VALUES:
        value = values.get(key, float("nan"))
        flat[key] = None if value != value else value
    flat["num_predictions"] = len(predictions)
    flat["k"] = [p["k"] for p in predictions]
    flat["outcome"] = [p["outcome"] for p in predictions]
    flat["chars"] = [p.get("chars") for p in predictions]
    flat["seconds"] = [p["seconds"] for p in predictions]
    for protocol in ("published", "direct"):
        for key in ("chamfer", "iou", "surface_iou"):
            flat[f"k_{protocol}_{key}"] = [p.get(protocol, {}).get(key) for p in predictions]
    return flat


_VALUES = tuple(part_values({"target": {"no_iou": ""}, "predictions": []}))
