"""The log holds each step once, also after a crash and a resume."""

from __future__ import annotations

import json
from pathlib import Path

from cadwright.training.config import TrainConfig, load_config
from cadwright.training.runlog import RunLog, write_run_facts


def _steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_steps_lost_in_a_crash_are_taken_out_on_resume(tmp_path: Path) -> None:
    with RunLog(tmp_path, step=0, total=9) as log:
        for step in (1, 2, 3):
            log.write({"step": step, "loss": 0.5})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    with RunLog(tmp_path, step=2, total=9) as log:
        log.write({"step": 3, "loss": 0.25})
    assert _steps(tmp_path) == [1, 2, 3]
    assert '"loss": 0.25' in (tmp_path / "log.jsonl").read_text()


def test_recipe_in_the_run_folder_is_the_resolved_one(tmp_path: Path) -> None:
    config = TrainConfig(output_dir="here", lr=0.125)
    write_run_facts(tmp_path, config)
    write_run_facts(tmp_path, config)
    assert load_config(tmp_path / "recipe.yaml") == config
    starts = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert len(starts) == 2 and {"command", "commit", "versions", "seed"} <= starts[0].keys()


def test_silent_log_leaves_nothing(tmp_path: Path, capfd: object) -> None:
    with RunLog(tmp_path, step=0, total=9, silent=True) as log:
        log.write({"step": 1, "loss": 0.5})
        log.note("nobody reads this")
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""  # type: ignore[attr-defined]
