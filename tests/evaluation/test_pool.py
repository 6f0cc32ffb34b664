"""The workers: outcomes of predictions that make trouble, and a run that goes on behind them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from evaluation_parts import HEAD, SHAPES, endless_program, huge_stl, published_program

from cadwright.errors import InputError
from cadwright.evaluation.pool import LocalPool
from cadwright.evaluation.predictions import Part, Prediction
from cadwright.evaluation.scoring import ScoringOptions

TARGET = SHAPES / "07.stl"
GOOD = Prediction(9, text=published_program(7))


def texts(*programs: str) -> Part:
    found = tuple(Prediction(k, text=text) for k, text in enumerate(programs))
    return Part("part", TARGET, found)


def outcomes(row: dict) -> list[str]:
    return [one["outcome"] for one in row["predictions"]]


def test_texts_get_the_outcome_that_says_what_is_wrong(pool: LocalPool, tmp_path: Path) -> None:
    part = texts(
        published_program(7),
        "import os\nos.system('touch /tmp/never')",
        HEAD + "r=w0.sketch().segment((0,0),(9,0)).assemble().finalize().extrude(5)",
        HEAD + "r=w0.sketch(",
        "",
        HEAD + "r=w0.workplane(offset=0/2).sphere(5)",
    )
    (row,) = pool.rows([part])
    found = outcomes(row)
    assert found[0] == "ok" and found[1] == "unsupported" and found[2] == "invalid"
    assert found[3] == found[4] == "syntax" and found[5] == "unsupported"
    assert all(one["message"] for one in row["predictions"][1:])


def test_meshes_are_predictions_too(pool: LocalPool, tmp_path: Path) -> None:
    (tmp_path / "cut.stl").write_bytes(TARGET.read_bytes()[:-40])
    part = Part(
        "p", TARGET, (Prediction(0, TARGET, frame="target"), Prediction(1, tmp_path / "cut.stl"))
    )
    (row,) = pool.rows([part])
    assert outcomes(row) == ["ok", "invalid"]
    assert row["predictions"][0]["direct"]["iou"] == pytest.approx(1, abs=1e-6)


def test_the_same_text_has_the_same_score_whoever_holds_it(pool: LocalPool, tmp_path: Path) -> None:
    path = tmp_path / "again.py"
    path.write_text(published_program(7))
    part = Part("p", TARGET, (GOOD, Prediction(10, path), Prediction(11, tmp_path / "none.py")))
    (row,) = pool.rows([part])
    first, second, missing = row["predictions"]
    assert [one["k"] for one in row["predictions"]] == [9, 10, 11]
    assert first["direct"] == second["direct"] and first["chars"] == second["chars"]
    assert missing["outcome"] == "invalid" and "none.py" in missing["message"]


def test_a_target_that_cannot_be_read_is_reported(pool: LocalPool, tmp_path: Path) -> None:
    bad = tmp_path / "bad.stl"
    bad.write_bytes(b"x" * 200)
    (row,) = pool.rows([Part("bad", bad, (GOOD,))])
    assert "bad.stl" in row["target"]["error"] and row["predictions"] == []


def test_a_part_without_predictions_has_its_target_described(pool: LocalPool) -> None:
    (row,) = pool.rows([Part("p", TARGET, ())])
    assert row["target"]["num_faces"] == 6 and row["predictions"] == []


def test_what_hangs_is_an_outcome_and_the_run_goes_on_behind_it() -> None:
    part = texts(published_program(7), endless_program(), published_program(7))
    with LocalPool(ScoringOptions(timeout_s=4)) as pool:
        rows = {row["name"]: row for row in pool.rows([part, Part("other", TARGET, (GOOD,))])}
    assert outcomes(rows["part"]) == ["ok", "timeout", "ok"]
    assert [one["k"] for one in rows["part"]["predictions"]] == [0, 1, 2]
    assert "4 seconds" in rows["part"]["predictions"][1]["message"]
    assert outcomes(rows["other"]) == ["ok"]


def test_what_eats_memory_is_an_outcome_and_the_run_goes_on_behind_it(tmp_path: Path) -> None:
    huge = Prediction(10, huge_stl(tmp_path / "huge.stl"), frame="target")
    parts = [Part("part", TARGET, (GOOD, huge)), Part("other", TARGET, (GOOD,))]
    with LocalPool(ScoringOptions(timeout_s=100, memory_mb=512)) as pool:
        rows = {row["name"]: row for row in pool.rows(parts)}
    assert outcomes(rows["part"]) == ["ok", "memory"] and outcomes(rows["other"]) == ["ok"]
    assert "512 MB" in rows["part"]["predictions"][1]["message"]


def test_a_worker_that_dies_is_a_crash_and_the_other_parts_are_done() -> None:
    parts = [Part("a", TARGET, (GOOD,)), texts(endless_program()), Part("z", TARGET, (GOOD,))]
    with LocalPool(ScoringOptions(timeout_s=60)) as pool:
        found = []
        for row in pool.rows(parts):
            if not found:
                threading.Timer(1.5, pool._workers[0].process.kill).start()
            found.append(row)
    assert {row["name"]: outcomes(row) for row in found} == {
        "a": ["ok"],
        "part": ["crash"],
        "z": ["ok"],
    }


def test_no_worker_outlives_the_pool() -> None:
    with LocalPool(ScoringOptions(timeout_s=60), num_workers=2) as pool:
        list(pool.rows([Part("a", TARGET, (GOOD,)), Part("b", TARGET, (GOOD,))]))
        processes = [worker.process for worker in pool._workers]
    assert len(processes) == 2
    time.sleep(0.05)
    assert all(process.poll() is not None for process in processes)


@pytest.mark.slow
def test_a_worn_worker_is_replaced(tmp_path: Path) -> None:
    parts = [Part(name, TARGET, (GOOD, GOOD)) for name in "abc"]
    with LocalPool(ScoringOptions(timeout_s=60), recycle_after=2) as pool:
        rows = list(pool.rows(parts))
        assert pool._workers == []  # the last one was worn too
    assert [outcomes(row) for row in rows] == [["ok", "ok"]] * 3


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"memory_mb": 10}])
def test_limits_that_nothing_could_keep_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError):
        LocalPool(ScoringOptions(**wrong))
