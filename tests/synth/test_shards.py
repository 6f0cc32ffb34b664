"""Shards: the same rows for any workers and any interruption."""

from pathlib import Path

import pytest

from cadwright.errors import InputError

parquet = pytest.importorskip("pyarrow.parquet")
from cadwright.synth.shards import write_shards  # noqa: E402


def rows(folder: Path) -> list[tuple[int, str]]:
    found = []
    for path in sorted(folder.glob("shard-*.parquet")):
        table = parquet.read_table(path).to_pydict()
        found += list(zip(table["index"], table["program"], strict=True))
    return found


def test_a_resumed_run_gives_the_rows_of_one_that_never_stopped(tmp_path: Path) -> None:
    settings = {"seed": 3, "shard_size": 8, "num_points": 16}
    write_shards(tmp_path / "whole", num=30, **settings)
    write_shards(tmp_path / "parts", num=11, **settings)
    write_shards(tmp_path / "parts", num=30, **settings)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert len(rows(tmp_path / "whole")) == 30


def test_workers_do_not_change_the_rows(tmp_path: Path) -> None:
    settings = {"seed": 3, "shard_size": 8, "num_points": 16}
    write_shards(tmp_path / "one", num=12, **settings)
    write_shards(tmp_path / "two", num=12, workers=2, **settings)
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


def test_no_program_occurs_twice_and_points_are_whole(tmp_path: Path) -> None:
    write_shards(tmp_path, num=40, seed=5, shard_size=40, num_points=16)
    programs = [text for _, text in rows(tmp_path)]
    assert len(set(programs)) == 40
    table = parquet.read_table(tmp_path / "shard-00000.parquet")
    assert {len(points) for points in table["points"].to_pylist()} == {48}
    assert (tmp_path / "statistics.json").is_file()


def test_a_folder_of_another_seed_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, num=4, seed=1, shard_size=4, num_points=16)
    with pytest.raises(InputError, match="seed=1, not 2"):
        write_shards(tmp_path, num=8, seed=2, shard_size=4, num_points=16)
