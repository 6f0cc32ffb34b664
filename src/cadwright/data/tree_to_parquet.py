"""A published data set -> Parquet shards, which load a thousand times faster than a million files.

In: a source (``sources``). Out: ``shard-00000.parquet``, ... with the columns ``index``, ``name``
and, as the set has them, ``program``, ``points`` (P x 3 float32, MODEL frame, flattened) and
``words``; with programs and points these are what training reads, as those of ``synth.shards``.
Items that cannot be used are left out and counted. Not covered: pictures, resuming.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.data.sources import Source, SourceItem
from cadwright.errors import CadwrightError, InputError, ProgramError
from cadwright.geometry.atomic import atomic_write
from cadwright.geometry.frames import normalise, placement_to_model
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.mesh_to_points import mesh_to_points
from cadwright.optional import require
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

Progress = Callable[[int], None]
CHUNK = 16  # items a worker does before it hands them over
NAMED = 5  # left out items that are named


@dataclass(slots=True)
class Converted:
    """What became of the items.

    Attributes:
        written: rows in the shards.
        left_out: items that could not be used.
        reasons: of the first few, each one sentence.
    """

    written: int = 0
    left_out: int = 0
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    index: int
    item: SourceItem
    points: NDArray[np.float32] | None


def tree_to_parquet(
    source: Source,
    out_dir: Path,
    *,
    num_points: int = 256,
    seed: int = 0,
    shard_size: int = 10_000,
    workers: int = 1,
    progress: Progress | None = None,
) -> Converted:
    """Write a data set as shards.

    Args:
        source: the data set.
        out_dir: made if absent; must hold no shards.
        num_points: P, points of each part, farthest first; drawn on the program's solid, or on
            the mesh where there is no program or it is of another dialect.
        seed: item i is drawn with ``seed + i``.
        shard_size: rows a shard; the last may hold fewer.
        workers: processes.
        progress: called with the number of items done.
    Raises:
        InputError: a number is less than 1, or the folder holds shards.
        MissingDependencyError: pyarrow is not installed.
    """
    if min(num_points, shard_size, workers) < 1:
        raise InputError("points, shard size and workers must be at least 1")
    out_dir.mkdir(parents=True, exist_ok=True)
    if any(out_dir.glob("shard-*.parquet")):
        raise InputError(f"{out_dir} holds shards already")
    converted, rows = Converted(), []
    convert = partial(_convert, source, num_points, seed)
    with _mapped(convert, range(len(source)), workers) as results:
        for done, result in enumerate(results, start=1):
            if isinstance(result, str):
                converted.left_out += 1
                converted.reasons += [result] if converted.left_out <= NAMED else []
            else:
                rows.append(result)
            if len(rows) == shard_size or (rows and done == len(source)):
                _write(out_dir, converted.written // shard_size, rows, source, num_points)
                converted.written += len(rows)
                rows = []
            if progress is not None:
                progress(done)
    return converted


def _convert(source: Source, num_points: int, seed: int, index: int) -> _Row | str:
    """One row, or why there is none."""
    try:
        item = source[index]
        if source.has_programs and item.program is None:
            return f"{item.name}: there is no program"
        if not source.has_shapes:
            return _Row(index, item, None)
        mesh = _item_to_mesh(item)
        placed = normalise(mesh, placement_to_model(mesh.bounds))
        points = mesh_to_points(placed, num_points=num_points, seed=seed + index)
    except CadwrightError as error:
        return f"{source.names[index]}: {error}"
    return _Row(index, item, points)


def _item_to_mesh(item: SourceItem) -> Mesh:
    """The solid of the program, else the mesh on disk; any frame."""
    reason = "there is neither a program nor a mesh"
    if item.program is not None:
        try:
            built = program_to_mesh(text_to_program(item.program))
        except ProgramError as error:
            reason = str(error)
        else:
            if built.mesh is not None:
                return built.mesh
            reason = built.message
    if item.mesh_path is None:
        raise InputError(reason)
    shape = load_shape(item.mesh_path)
    if shape.mesh is None:
        raise InputError(f"{item.mesh_path} has no faces")
    return shape.mesh


@contextmanager
def _mapped(
    convert: Callable[[int], _Row | str], indices: range, workers: int
) -> Iterator[Iterator[_Row | str]]:
    """Results in order."""
    if workers == 1:
        yield map(convert, indices)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield pool.imap(convert, indices, CHUNK)


def _write(out_dir: Path, number: int, rows: list[_Row], source: Source, num_points: int) -> None:
    arrow, parquet = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
    items = [row.item for row in rows]
    columns: dict[str, Any] = {
        "index": arrow.array([row.index for row in rows], arrow.int64()),
        "name": arrow.array([item.name for item in items], arrow.string()),
    }
    if source.has_programs:
        columns["program"] = arrow.array([item.program for item in items], arrow.string())
    if any(item.words is not None for item in items):
        columns["words"] = arrow.array([item.words for item in items], arrow.string())
    if source.has_shapes:
        flat = [row.points.ravel() for row in rows if row.points is not None]
        columns["points"] = arrow.array(flat, arrow.list_(arrow.float32(), num_points * 3))
    note = {"source": type(source).__name__, "num_points": num_points}
    table = arrow.table(columns).replace_schema_metadata({"cadwright": json.dumps(note)})
    with atomic_write(out_dir / f"shard-{number:05d}.parquet") as path:
        parquet.write_table(table, path)
