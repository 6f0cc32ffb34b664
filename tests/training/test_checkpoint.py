"""Checkpoints are whole or absent, the newest and the best stay, settings that must stay do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cadwright.errors import CheckpointError
from cadwright.training.checkpoint import (
    DRAFTS,
    INFO,
    config_to_info,
    list_checkpoints,
    prune_checkpoints,
    read_info,
    seal_checkpoint,
)
from cadwright.training.config import TrainConfig

CONFIG = TrainConfig(output_dir="x", keep_last=2, hidden_size=256)


def _seal(run_dir: Path, step: int, **changes: Any) -> Path:
    draft = run_dir / DRAFTS / f"checkpoint-{step}"
    (draft / "inner").mkdir(parents=True)
    (draft / "weights").write_text("w" * step)
    (draft / "inner" / "part").write_text("p")
    info = {"step": step, "progress": {}, **config_to_info(CONFIG, step_samples=32)}
    return seal_checkpoint(draft, run_dir, {**info, **changes})


def _names(run_dir: Path) -> list[str]:
    return [path.name for path in list_checkpoints(run_dir)]


def test_sealed_folder_is_listed_in_order_of_steps_and_the_draft_is_gone(tmp_path: Path) -> None:
    for step in (10, 8, 9):
        _seal(tmp_path, step)
    assert _names(tmp_path) == ["checkpoint-8", "checkpoint-9", "checkpoint-10"]
    assert not list((tmp_path / DRAFTS).iterdir())


def test_newest_and_best_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        _seal(tmp_path, step)
    prune_checkpoints(tmp_path, keep_last=2, best_step=1)
    assert _names(tmp_path) == ["checkpoint-1", "checkpoint-3", "checkpoint-4"]


def test_same_step_again_replaces_the_old_one(tmp_path: Path) -> None:
    _seal(tmp_path, 3, progress={"samples": 1})
    folder = _seal(tmp_path, 3, progress={"samples": 2})
    assert read_info(folder, CONFIG, step_samples=32)["progress"] == {"samples": 2}


@pytest.mark.parametrize("name", ["checkpoint-7.tmp", "checkpoint-", "final", "checkpoint-7"])
def test_folder_that_was_not_sealed_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    _seal(tmp_path, 2)
    (tmp_path / name).mkdir()
    assert _names(tmp_path) == ["checkpoint-2"]


@pytest.mark.parametrize("file", ["weights", "inner/part", INFO])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_checkpoint_that_lost_something_is_none(tmp_path: Path, file: str, how: str) -> None:
    _seal(tmp_path, 2)
    path = _seal(tmp_path, 5) / file
    path.write_bytes(path.read_bytes()[:-1]) if how == "cut" else path.unlink()
    assert _names(tmp_path) == ["checkpoint-2"]


@pytest.mark.parametrize(
    "change", [{"hidden_size": 512}, {"seed": 9}, {"model": "cadrille"}, {"data": "parts"}]
)
def test_other_model_or_stream_is_refused_by_name(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = _seal(tmp_path, 1)
    other = dataclasses.replace(CONFIG, **change)
    with pytest.raises(CheckpointError, match=next(iter(change))):
        read_info(folder, other, step_samples=32)


def test_shape_that_the_recipe_leaves_open_is_taken(tmp_path: Path) -> None:
    open_shape = dataclasses.replace(CONFIG, hidden_size=None, lr=0.5, batch_size=16)
    assert read_info(_seal(tmp_path, 1), open_shape, step_samples=32)["step"] == 1


def test_other_number_of_samples_a_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="made with 32 samples a step, this run has 64"):
        read_info(_seal(tmp_path, 1), CONFIG, step_samples=64)


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"step": 1})])
def test_unreadable_info_is_one_error(tmp_path: Path, text: str) -> None:
    folder = _seal(tmp_path, 1)
    (folder / INFO).write_text(text)
    with pytest.raises(CheckpointError, match="checkpoint-1"):
        read_info(folder, CONFIG, step_samples=32)
