"""Finite data go through all rows in each round, in another order, and name what is broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cadwright.data.finite import open_data
from cadwright.data.stream import REPLACEMENT
from cadwright.errors import CadwrightError, InputError
from cadwright.synth.generate import sample_at
from cadwright.synth.shards import write_shards

BOX = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,0))
r=w0.workplane(offset=0/2).box({a},{b},200)"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    for i in range(6):
        folder = tmp_path / "inner" if i % 2 else tmp_path
        (folder / f"part{i}.py").write_text(BOX.format(a=100 + 2 * i, b=50))
    return tmp_path


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder, num=7, seed=1, shard_size=3, num_points=16)
    return folder


def test_every_program_comes_once_a_round_in_an_order_of_its_own(programs: Path) -> None:
    data = open_data(programs, num_points=4)
    rounds = [[data(0, 6 * turn + k).text for k in range(6)] for turn in range(3)]
    assert len(data) == 6 and all(len(set(texts)) == 6 for texts in rounds)
    assert rounds[0] != rounds[1] or rounds[1] != rounds[2]
    assert rounds[1] == [open_data(programs, num_points=4)(0, 6 + k).text for k in range(6)]


def test_points_lie_on_the_program_and_are_new_each_round(programs: Path) -> None:
    data = open_data(programs, num_points=32)
    by_text: dict[str, list[np.ndarray]] = {}
    for index in range(12):
        sample = data(0, index)
        by_text.setdefault(sample.text, []).append(sample.points)
    for text, (first, second) in by_text.items():
        assert not np.array_equal(first, second)
        width = int(text.split("box(")[1].split(",")[0]) / 200
        assert np.abs(np.concatenate([first, second])).max(axis=0) == pytest.approx(
            [width, 0.25, 1.0], abs=1e-5
        )


def test_shards_give_what_was_written(shards: Path) -> None:
    data = open_data(shards, num_points=8)
    found = {data(0, index).text: data(0, index).points for index in range(7)}
    assert len(data) == 7 and len(found) == 7
    for index in range(20):
        sample = sample_at(1, index, num_points=16)
        if sample is not None and sample.text in found:
            assert np.array_equal(found.pop(sample.text), sample.points[:8])
    assert not found


def test_replacements_are_rows_too(programs: Path) -> None:
    data = open_data(programs, num_points=4)
    texts = {data(0, index).text for index in range(6)}
    assert {data(0, REPLACEMENT + k).text for k in range(30)} == texts


@pytest.mark.parametrize("source", ["programs", "shards"])
def test_split_is_disjoint_complete_and_fixed(source: str, request: pytest.FixtureRequest) -> None:
    data = open_data(request.getfixturevalue(source), num_points=4)
    kept, held = data.split(2, seed=5)
    texts = [{part(0, k).text for k in range(len(part))} for part in (kept, held, data)]
    assert len(held) == 2 and texts[0] | texts[1] == texts[2] and not texts[0] & texts[1]
    assert {data.split(2, seed=5)[1](0, k).text for k in range(2)} == texts[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os", "cannot be read: .*line 1"),
        (BOX.format(a=3, b=3).replace("200", "20"), "is not centred with longest side 200"),
        (BOX.format(a=3, b=3).replace("offset=0", "offset=9"), "is not centred"),
    ],
)
def test_program_that_is_no_use_is_named_with_the_reason(
    tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(CadwrightError, match=rf"bad\.py {why}"):
        open_data(tmp_path, num_points=4)(0, 0)


def test_missing_empty_and_foreign_data_are_named(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(InputError, match="'nowhere' are not a folder"):
        open_data("nowhere", num_points=4)
    with pytest.raises(InputError, match="holds neither shards"):
        open_data(tmp_path, num_points=4)
    with pytest.raises(InputError, match="have 16 points, the recipe wants 17"):
        open_data(shards, num_points=17)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"x\.parquet' is not a shard"):
        open_data(tmp_path, num_points=4)
