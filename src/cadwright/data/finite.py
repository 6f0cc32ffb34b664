"""Finite data on disk as draws: Parquet shards of ``cadwright generate``, or folders of programs.

In: a folder. Out: a function (seed, index) to a Sample, which goes through all rows in an order
that is new in each round, for ever; so finite data stream and resume like generated ones. Not
covered: batching (stream), layouts of other publishers beyond plain ``*.py`` files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.data.stream import REPLACEMENT
from cadwright.errors import CadwrightError, InputError
from cadwright.geometry.frames import PROGRAM_SIDE, normalise, placement_to_model
from cadwright.geometry.mesh_to_points import mesh_to_points
from cadwright.optional import require
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh, Sample

# Keys the random streams of a run apart (see stream).
_ROUND, _UNIT, _SPARE, _SPLIT = 3, 4, 5, 6
OFF_FRAME = 2.0  # PROGRAM units a program may be off its frame
Rows = NDArray[np.int64]


class FiniteData:
    """Rows of a folder, drawn round after round.

    Args:
        units: what is read at once (a shard, or all paths of a folder); its rows stay together
            within a round.
        rows: for each unit the rows that take part.
        num_points: P, points per sample.
    """

    def __init__(self, units: Sequence[Any], rows: Sequence[Rows], *, num_points: int) -> None:
        self.units, self.rows, self.num_points = list(units), list(rows), num_points

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.rows)

    def __call__(self, seed: int, index: int) -> Sample:
        """Draw ``index`` of the stream ``seed``.

        Raises:
            CadwrightError: the row cannot be read or built, naming it.
        """
        if index >= REPLACEMENT:
            place = int(np.random.default_rng((seed, _SPARE, index)).integers(len(self)))
            unit, k = self._locate(place, np.arange(len(self.units)))
            return self._read(self.units[unit], int(self.rows[unit][k]), index)
        turn, place = divmod(index, len(self))
        order = _permutation((seed, _ROUND, turn), len(self.units))
        unit, k = self._locate(place, order)
        shuffled = _permutation((seed, _UNIT, turn, unit), len(self.rows[unit]))
        return self._read(self.units[unit], int(self.rows[unit][shuffled[k]]), index)

    def split(self, num: int, *, seed: int) -> tuple[FiniteData, FiniteData]:
        """Two disjoint parts: all but ``num`` rows, and those.

        Args:
            num: rows of the second part; at most half of all.
            seed: fixes which.
        """
        num = min(num, len(self) // 2)
        chosen = np.zeros(len(self), dtype=bool)
        chosen[np.random.default_rng((seed, _SPLIT)).permutation(len(self))[:num]] = True
        marks = np.split(chosen, np.cumsum([len(rows) for rows in self.rows])[:-1])
        pairs = list(zip(self.rows, marks, strict=True))
        return self._with([rows[~m] for rows, m in pairs]), self._with([r[m] for r, m in pairs])

    def _with(self, rows: Sequence[Rows]) -> FiniteData:
        """The same units with other rows; units without rows left out."""
        kept = [(unit, own) for unit, own in zip(self.units, rows, strict=True) if len(own)]
        units, left = [unit for unit, _ in kept], [own for _, own in kept]
        return type(self)(units, left, num_points=self.num_points)

    def _locate(self, place: int, order: Rows) -> tuple[int, int]:
        """Unit, and number among its rows, of a place where units stand in ``order``."""
        ends = np.cumsum([len(self.rows[unit]) for unit in order])
        k = int(np.searchsorted(ends, place, side="right"))
        return int(order[k]), place - int(ends[k - 1] if k else 0)

    def _read(self, unit: Any, row: int, index: int) -> Sample:
        """One sample."""
        raise NotImplementedError


class ShardData(FiniteData):
    """Parquet shards with the columns ``program`` and ``points``; a unit is a shard's path."""

    def _read(self, unit: Path, row: int, index: int) -> Sample:
        texts, points = _read_shard(unit)
        return Sample(index, texts[row], points[row, : self.num_points])


class ProgramData(FiniteData):
    """Programs, one a file; the one unit is the list of their paths. Points are new each time."""

    def _read(self, unit: Sequence[Path], row: int, index: int) -> Sample:
        path = unit[row]
        try:
            program = text_to_program(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, CadwrightError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        result = program_to_mesh(program)
        if result.mesh is None:
            raise InputError(f"{path} cannot be built: {result.message}")
        _check_frame(path, result.mesh)
        placed = normalise(result.mesh, placement_to_model(result.mesh.bounds))
        points = mesh_to_points(placed, num_points=self.num_points, seed=index)
        return Sample(index, program_to_text(program), points)


def open_data(folder: str | Path, *, num_points: int) -> FiniteData:
    """Shards if the folder holds any, otherwise programs in it and its subfolders.

    Args:
        folder: the data.
        num_points: P; shards may hold more, in farthest-point order, of which the first are
            taken.

    Raises:
        InputError: no such folder, nothing in it, or shards with fewer points.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"the data '{folder}' are not a folder")
    shards = sorted(folder.glob("*.parquet"))
    if shards:
        return _open_shards(shards, num_points)
    programs = sorted(folder.rglob("*.py"))
    if not programs:
        raise InputError(f"the folder '{folder}' holds neither shards (*.parquet) nor programs")
    rows = np.arange(len(programs), dtype=np.int64)
    return ProgramData([programs], [rows], num_points=num_points)


def _open_shards(paths: Sequence[Path], num_points: int) -> ShardData:
    """Shards after a look at their schemas."""
    parquet = require("pyarrow.parquet", extra="data")
    arrow = require("pyarrow", extra="data")
    files, rows = [], []
    for path in paths:
        try:
            about = parquet.ParquetFile(path)
            width = about.schema_arrow.field("points").type.list_size
            about.schema_arrow.field("program")
        except (OSError, arrow.ArrowException, KeyError, AttributeError) as error:
            raise InputError(f"'{path}' is not a shard of programs and points: {error}") from error
        if width < 3 * num_points:
            raise InputError(
                f"the samples in '{path}' have {width // 3} points, the recipe wants {num_points}"
            )
        if about.metadata.num_rows:
            files.append(path)
            rows.append(np.arange(about.metadata.num_rows, dtype=np.int64))
    if not files:
        raise InputError(f"the shards in '{paths[0].parent}' are empty")
    return ShardData(files, rows, num_points=num_points)


@lru_cache(maxsize=2)
def _read_shard(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Texts and (N, P, 3) points of a shard."""
    parquet = require("pyarrow.parquet", extra="data")
    table: Any = parquet.read_table(path, columns=["program", "points"]).combine_chunks()
    values = table["points"].chunk(0).flatten().to_numpy()
    points = values.astype(np.float32, copy=False).reshape(table.num_rows, -1, 3)
    return table["program"].to_pylist(), points


@lru_cache(maxsize=8)
def _permutation(key: tuple[int, ...], size: int) -> Rows:
    return np.random.default_rng(key).permutation(size)


def _check_frame(path: Path, mesh: Mesh) -> None:
    """A program's numbers must be those that the model is to write: PROGRAM frame."""
    low, high = mesh.bounds
    off = max(abs(float((high - low).max()) - PROGRAM_SIDE), float(np.abs(low + high).max()) / 2)
    if off > OFF_FRAME:
        raise InputError(
            f"{path} is not centred with longest side {PROGRAM_SIDE:g}, but reaches from "
            f"{low.round(1).tolist()} to {high.round(1).tolist()}"
        )
