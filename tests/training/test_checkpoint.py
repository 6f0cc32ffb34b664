"""Checkpoints are whole or absent, the newest wins, and a full disk loses nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from cadwright.errors import CheckpointError
from cadwright.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from cadwright.training.config import TrainConfig

CONFIG = TrainConfig(output_dir="x", keep_last=2)


class _Saves:
    """Stands in for model and processor."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def save_pretrained(self, folder: Path) -> None:
        (folder / "weights").write_text("w")
        if self.error:
            raise self.error


def _optimizers(value: float = 0.0) -> dict[str, Any]:
    weight = torch.nn.Parameter(torch.full((2, 2), value))
    optimizer = torch.optim.AdamW([weight], lr=0.5)
    optimizer.param_groups[0]["peak_lr"] = 0.5
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    return {"adamw": optimizer}


def _save(run_dir: Path, step: int, *, model: _Saves | None = None, **kwargs: Any) -> Path:
    settings = {"optimizers": _optimizers(), "config": CONFIG, "progress": {"samples": 3 * step}}
    return save_checkpoint(
        run_dir, step=step, model=model or _Saves(), processor=_Saves(), **{**settings, **kwargs}
    )


def test_last_ones_are_kept_in_order_of_steps(tmp_path: Path) -> None:
    for step in (8, 9, 10):
        _save(tmp_path, step)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["ckpt-9", "ckpt-10"]
    assert {p.name for p in tmp_path.iterdir()} == {"ckpt-9", "ckpt-10"}


def test_step_progress_and_random_numbers_come_back(tmp_path: Path) -> None:
    torch.manual_seed(5)
    folder = _save(tmp_path, 4)
    expected = torch.rand(3)
    torch.manual_seed(6)
    step, progress = load_checkpoint(folder, optimizers=_optimizers(), config=CONFIG)
    assert (step, progress) == (4, {"samples": 12})
    assert torch.equal(torch.rand(3), expected)


def test_rates_are_the_new_settings_and_moments_the_old_state(tmp_path: Path) -> None:
    folder = _save(tmp_path, 4)
    fresh = _optimizers()
    fresh["adamw"].param_groups[0].update(peak_lr=0.125, betas=(0.5, 0.75))
    fresh["adamw"].state.clear()
    load_checkpoint(folder, optimizers=fresh, config=CONFIG)
    group = fresh["adamw"].param_groups[0]
    assert (group["peak_lr"], group["betas"]) == (0.125, (0.5, 0.75))
    assert next(iter(fresh["adamw"].state.values()))["step"] == 1


@pytest.mark.parametrize("name", [".draft-ckpt-7", "ckpt-7.tmp", "ckpt-", "final", "ckpt-7"])
def test_folder_that_is_not_whole_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    _save(tmp_path, 2)
    (tmp_path / name).mkdir()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["ckpt-2"]


def test_full_disk_is_one_error_and_leaves_the_older_checkpoint(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    full = _Saves(OSError(28, "No space left on device"))
    with pytest.raises(CheckpointError, match=r"ckpt-2.*No space left"):
        _save(tmp_path, 2, model=full)
    assert {p.name for p in tmp_path.iterdir()} == {"ckpt-1"}


def test_draft_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".draft-ckpt-3").mkdir()
    (tmp_path / ".draft-ckpt-3" / "old").write_text("x")
    folder = _save(tmp_path, 3)
    assert not (folder / "old").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"ckpt-3"}


@pytest.mark.parametrize("change", [{"hidden_size": 512}, {"seed": 9}, {"batch_size": 1}])
def test_other_model_or_stream_is_refused_by_name(tmp_path: Path, change: dict[str, int]) -> None:
    folder = _save(tmp_path, 1)
    other = dataclasses.replace(CONFIG, **change)
    with pytest.raises(CheckpointError, match=next(iter(change))):
        load_checkpoint(folder, optimizers=_optimizers(), config=other)


@pytest.mark.parametrize("name", ["trainer.pt", "trainer.json"])
@pytest.mark.parametrize("length", [0, 10])
def test_cut_off_file_is_one_error(tmp_path: Path, name: str, length: int) -> None:
    folder = _save(tmp_path, 1)
    (folder / name).write_bytes((folder / name).read_bytes()[:length])
    with pytest.raises(CheckpointError, match="ckpt-1"):
        load_checkpoint(folder, optimizers=_optimizers(), config=CONFIG)


def test_nothing_that_runs_code_is_unpickled(tmp_path: Path) -> None:
    folder = _save(tmp_path, 1)
    torch.save({"optimizers": {}, "rng": _Saves()}, folder / "trainer.pt")
    with pytest.raises(CheckpointError, match="ckpt-1"):
        load_checkpoint(folder, optimizers=_optimizers(), config=CONFIG)
