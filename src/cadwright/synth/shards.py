"""The generator's stream on disk: Parquet shards, each whole or absent, resumable.

In: a seed and how many samples. Out: ``shard-00000.parquet``, ... with columns
``index`` (draw of the stream), ``program`` (text) and ``points`` (P x 3 float32,
MODEL frame, flattened), and ``statistics.json``. The same seed and number give
the same rows for any number of workers and any interruption. Duplicates (equal
program texts) are left out.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cadwright.errors import InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.optional import require
from cadwright.synth.generate import sample_at
from cadwright.synth.statistics import texts_to_statistics
from cadwright.types import Sample

Progress = Callable[[int, int], None]
CHUNK = 16  # draws a worker makes before it hands them over


def write_shards(
    out_dir: Path,
    *,
    num: int,
    seed: int,
    shard_size: int = 10_000,
    num_points: int = 256,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write ``num`` samples, or what is missing of them.

    Args:
        out_dir: made if absent; shards already there are kept and gone on from.
        num: samples in all, over all shards.
        seed: of the stream.
        shard_size: samples a shard; the last may hold fewer.
        num_points: P, points a sample.
        workers: processes that draw.
        progress: called with (samples written, num).

    Returns:
        The statistics of all programs, also written to ``statistics.json``.

    Raises:
        InputError: the folder holds shards of another seed, size or number of points.
    """
    if min(num, shard_size, num_points, workers) < 1:
        raise InputError("num, shard size, points and workers must be at least 1")
    out_dir.mkdir(parents=True, exist_ok=True)
    settings = {"seed": seed, "shard_size": shard_size, "num_points": num_points}
    texts, next_index = _resume(out_dir, settings)
    seen = {_digest(text) for text in texts}
    shard: list[Sample] = []
    with _draws(seed, next_index, num_points, workers) as stream:
        while len(texts) + len(shard) < num:
            index, sample = next(stream)
            if sample is not None and _digest(sample.text) not in seen:
                seen.add(_digest(sample.text))
                shard.append(sample)
                if progress is not None:
                    progress(len(texts) + len(shard), num)
            if len(shard) == shard_size or len(texts) + len(shard) == num:
                _write(out_dir, len(texts) // shard_size, shard, index + 1, settings)
                texts += [item.text for item in shard]
                shard = []
    statistics = texts_to_statistics(texts[:num])
    with atomic_write(out_dir / "statistics.json") as path:
        path.write_text(json.dumps({**settings, **statistics}, indent=2) + "\n")
    return statistics


class _draws:
    """Context: (index, sample or None) in order of index, drawn by workers."""

    def __init__(self, seed: int, first: int, num_points: int, workers: int) -> None:
        self.draw = partial(_draw, seed=seed, num_points=num_points)
        self.first, self.workers = first, workers
        self.pool: Any = None

    def __enter__(self) -> Iterator[tuple[int, Sample | None]]:
        indices = iter(range(self.first, 2**62))
        if self.workers == 1:
            return map(self.draw, indices)
        self.pool = multiprocessing.get_context("spawn").Pool(self.workers)
        return self._windows(indices)

    def _windows(self, indices: Iterator[int]) -> Iterator[tuple[int, Sample | None]]:
        """A bounded number of draws ahead: imap over an endless iterator would read it all."""
        window = self.workers * CHUNK * 4
        while True:
            batch = [next(indices) for _ in range(window)]
            yield from self.pool.imap(self.draw, batch, CHUNK)

    def __exit__(self, *exception: object) -> None:
        if self.pool is not None:
            self.pool.terminate()
            self.pool.join()


def _draw(index: int, *, seed: int, num_points: int) -> tuple[int, Sample | None]:
    return index, sample_at(seed, index, num_points=num_points)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=12).digest()


def _write(
    out_dir: Path, number: int, samples: list[Sample], next_index: int, settings: dict[str, int]
) -> None:
    arrow, parquet = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
    table = arrow.table(
        {
            "index": arrow.array([sample.index for sample in samples], arrow.int64()),
            "program": arrow.array([sample.text for sample in samples], arrow.string()),
            "points": arrow.array(
                [sample.points.ravel() for sample in samples],
                arrow.list_(arrow.float32(), settings["num_points"] * 3),
            ),
        }
    )
    note = {**settings, "next_index": next_index, "license": "Apache-2.0"}
    table = table.replace_schema_metadata({"cadwright": json.dumps(note)})
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
            if note[name] != value:
                raise InputError(f"{path}: made with {name}={note[name]}, not {value}")
        rows = parquet.read_table(path, columns=["program"])["program"].to_pylist()
        if len(rows) < settings["shard_size"] and number == len(shards) - 1:
            break  # the last shard of a smaller run: drawn again, longer
        texts += rows
        next_index = note["next_index"]
    return texts, next_index
