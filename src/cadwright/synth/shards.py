"""The generator's stream on disk: Parquet shards, each whole or absent, resumable.

In: a seed and how many samples. Out: ``shard-00000.parquet``, ... with columns
``index`` (draw of the stream), ``program`` (text) and ``points`` (P x 3 float32,
MODEL frame, flattened), on request ``views`` (a PNG of the published four views) and
``words_abstract``, ``words_dimensioned``, ``words_counts``, and ``statistics.json``.
The same seed and number give the same rows for any number of workers and any
interruption. Duplicates (equal program texts) are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cadwright.errors import InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.optional import require
from cadwright.synth.describe import STYLES
from cadwright.synth.rows import DrawnRows, Row, RowContent
from cadwright.synth.statistics import texts_to_statistics

Progress = Callable[[int, int], None]


def write_shards(
    out_dir: Path,
    *,
    num: int,
    seed: int,
    shard_size: int = 10_000,
    num_points: int = 256,
    views: bool = False,
    words: bool = False,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write ``num`` samples, or what is missing of them.

    Args:
        out_dir: made if absent; shards already there are kept and gone on from.
        num: samples in all, over all shards.
        seed: of the stream.
        shard_size: samples a shard; the last may hold fewer.
        num_points: P, points a sample.
        views: with pictures; they take some ten times as long as the rest.
        words: with descriptions.
        workers: processes that draw.
        ray: address of a Ray cluster that draws instead, "auto", or "local" for one of this
            machine; ``workers`` 0 then takes all its processors. The rows are the same.
        progress: called with (samples written, num).

    Returns:
        The statistics of all programs, also written to ``statistics.json``.

    Raises:
        InputError: the folder holds shards of another seed, size, content or number of points,
            or there is no such cluster.
        MissingDependencyError: pyarrow is not installed, or ray or numba where they are needed.
    """
    if min(num, shard_size, num_points) < 1 or workers < (ray is None):
        raise InputError("num, shard size, points and workers must be at least 1")
    out_dir.mkdir(parents=True, exist_ok=True)
    content = RowContent(num_points, views=views, words=words)
    settings = {"seed": seed, "shard_size": shard_size, **asdict(content)}
    texts, next_index = _resume(out_dir, settings)
    seen = {_digest(text) for text in texts}
    shard: list[Row] = []
    with DrawnRows(seed, next_index, content, workers=workers, ray=ray) as stream:
        while len(texts) + len(shard) < num:
            index, row = next(stream)
            if row is not None and _digest(row.sample.text) not in seen:
                seen.add(_digest(row.sample.text))
                shard.append(row)
                if progress is not None:
                    progress(len(texts) + len(shard), num)
            if len(shard) == shard_size or len(texts) + len(shard) == num:
                _write(out_dir, len(texts) // shard_size, shard, index + 1, settings)
                texts += [row.sample.text for row in shard]
                shard = []
    statistics = texts_to_statistics(texts[:num])
    with atomic_write(out_dir / "statistics.json") as path:
        path.write_text(json.dumps({**settings, **statistics}, indent=2) + "\n")
    return statistics


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=12).digest()


def _write(
    out_dir: Path, number: int, rows: list[Row], next_index: int, settings: dict[str, int]
) -> None:
    arrow, parquet = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
    width = settings["num_points"] * 3
    columns = {
        "index": arrow.array([row.sample.index for row in rows], arrow.int64()),
        "program": arrow.array([row.sample.text for row in rows], arrow.string()),
        "points": arrow.array(
            [row.sample.points.ravel() for row in rows], arrow.list_(arrow.float32(), width)
        ),
    }
    if settings["views"]:
        columns["views"] = arrow.array([row.views for row in rows], arrow.binary())
    if settings["words"]:
        for k, style in enumerate(STYLES):
            said = [row.words[k] for row in rows if row.words is not None]
            columns[f"words_{style}"] = arrow.array(said, arrow.string())
    note = {**settings, "next_index": next_index, "license": "Apache-2.0"}
    table = arrow.table(columns).replace_schema_metadata({"cadwright": json.dumps(note)})
    with atomic_write(out_dir / f"shard-{number:05d}.parquet") as path:
        parquet.write_table(table, path)


def _resume(out_dir: Path, settings: dict[str, int]) -> tuple[list[str], int]:
    """Programs already on disk, and the index of the draw to go on from."""
    parquet = require("pyarrow.parquet", extra="data")
    texts: list[str] = []
    next_index = 0
    shards = sorted(out_dir.glob("shard-*.parquet"))
    for number, path in enumerate(shards):
        note = json.loads(parquet.read_schema(path).metadata[b"cadwright"])
        if path.name != f"shard-{number:05d}.parquet":
            raise InputError(f"{out_dir}: shard {number} is missing, {path.name} is there")
        for name, value in settings.items():
            made_with = note.get(name, False)  # older shards have no views and no words
            if made_with != value:
                raise InputError(f"{path}: made with {name}={made_with}, not {value}")
        rows = parquet.read_table(path, columns=["program"])["program"].to_pylist()
        if len(rows) < settings["shard_size"] and number == len(shards) - 1:
            break  # the last shard of a smaller run: drawn again, longer
        texts += rows
        next_index = note["next_index"]
    return texts, next_index
