"""A model's programs for a folder of targets: kept by name and number, resumed, and failures."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from evaluation_parts import true_program

from cadwright.errors import CadwrightError, CheckpointError, InputError
from cadwright.evaluation.model_run import ModelRun, predict
from cadwright.evaluation.predictions import find_predictions
from cadwright.program.text_to_program import text_to_program


class StubReconstructor:
    """Answers each target with its own program; refuses those that it is told to."""

    def __init__(self, *refused: str, error: type[CadwrightError] = CadwrightError) -> None:
        self.refused, self.error = refused, error
        self.calls: list[tuple[str, dict]] = []

    def reconstruct(self, target: Path, **options):
        self.calls.append((target.stem, options))
        if target.stem in self.refused:
            raise self.error("no program could be built")
        return SimpleNamespace(program=text_to_program(true_program(int(target.stem))))


def find(targets: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(targets.iterdir())}


def test_programs_are_kept_under_name_and_number_with_their_seconds(targets, tmp_path):
    stub, run = StubReconstructor(), ModelRun(seed=7, num_programs=2, budget_s=0)
    predict(find(targets), tmp_path / "p", run, reconstructor=stub)
    found = find_predictions(tmp_path / "p")
    assert list(found) == ["00", "04", "07", "10"]
    assert [one.k for one in found["04"]] == [0, 1]
    assert all(one.seconds is not None for own in found.values() for one in own)
    assert {options["seed"] for _, options in stub.calls} == {7, 8}
    assert stub.calls[0][1]["budget_s"] == 0
    text = (tmp_path / "p" / "07+0.py").read_text()
    assert text_to_program(text) == text_to_program(true_program(7))


def test_a_second_call_makes_only_what_is_missing(targets, tmp_path):
    predict(find(targets), tmp_path / "p", ModelRun(), reconstructor=StubReconstructor())
    (tmp_path / "p" / "04+0.py").unlink()
    stub = StubReconstructor()
    predict(find(targets), tmp_path / "p", ModelRun(), reconstructor=stub)
    assert [name for name, _ in stub.calls] == ["04"]


def test_a_part_that_fails_is_noted_and_the_others_are_made(targets, tmp_path):
    predict(find(targets), tmp_path / "p", ModelRun(), reconstructor=StubReconstructor("04"))
    assert list(find_predictions(tmp_path / "p")) == ["00", "07", "10"]
    failure = json.loads((tmp_path / "p" / "failures.jsonl").read_text())
    assert failure == {"name": "04", "k": 0, "error": "no program could be built"}


def test_a_model_that_cannot_be_used_ends_the_run(targets, tmp_path):
    stub = StubReconstructor("00", error=CheckpointError)
    with pytest.raises(CheckpointError):
        predict(find(targets), tmp_path / "p", ModelRun(), reconstructor=stub)


def test_programs_of_another_model_are_not_mixed_in(targets, tmp_path):
    predict(find(targets), tmp_path / "p", ModelRun(), reconstructor=StubReconstructor())
    with pytest.raises(InputError, match="made with budget_s 5.0, not 1.0"):
        predict(find(targets), tmp_path / "p", ModelRun(budget_s=1.0))
