"""Runs on finite data, with scored programs, best checkpoints, adapters, accumulation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cadwright.data.stream import DrawSample
from cadwright.errors import CheckpointError, InputError
from cadwright.models import CADRecode
from cadwright.training.checkpoint import list_checkpoints
from cadwright.training.config import TrainConfig
from cadwright.training.guard import TrainingError
from cadwright.training.sft import train


def _records(config: TrainConfig) -> list[dict[str, Any]]:
    lines = (Path(config.output_dir) / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _losses(config: TrainConfig) -> list[float]:
    return [record["loss"] for record in _records(config) if "loss" in record]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = CADRecode.from_pretrained(folder).state_dict()
    return state


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Twenty boxes and a file that is none."""
    folder = tmp_path / "parts"
    folder.mkdir()
    head = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr=w0"
    for i in range(20):
        (folder / f"{i}.py").write_text(f"{head}.workplane(offset=0/2).box({10 + i},50,200)")
    (folder / "bad.py").write_text("import os")
    return folder


def test_own_parts_are_trained_on_scored_and_the_broken_one_is_counted(
    tiny: TrainConfig, tokenizer: Any, parts: Path
) -> None:
    config = dataclasses.replace(
        tiny, data=str(parts), iterations=6, eval_every=3, eval_samples=2, eval_programs=2,
        best_metric="eval_loss", pool_batches=6,
    )  # fmt: skip
    train(config, tokenizer=tokenizer)
    scores = [record for record in _records(config) if "eval_loss" in record]
    assert [record["step"] for record in scores] == [3, 6]
    for record in scores:
        assert 0 <= record["eval_iou"] <= 1 and 0 <= record["eval_invalid_ratio"] <= 1
    assert 0 < _records(config)[0]["lost_draws_share"] < 0.1


def test_too_many_broken_parts_stop_the_run_with_the_reason(
    tiny: TrainConfig, tokenizer: Any, parts: Path
) -> None:
    for i in range(8):
        (parts / f"{i}.py").write_text("import os")
    config = dataclasses.replace(
        tiny, data=str(parts), batch_size=16, pool_batches=8, max_failed_share=0.2
    )
    with pytest.raises(InputError, match=r"could not be built, .*\.py .* max_failed_share=0\.2"):
        train(config, tokenizer=tokenizer)


def test_accumulated_batches_give_the_loss_of_one_large_batch(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    halves = dataclasses.replace(
        tiny, batch_size=2, accumulation=2, output_dir=tiny.output_dir + "-2", iterations=4
    )
    train(dataclasses.replace(tiny, iterations=4), draw=draw_toy, tokenizer=tokenizer)
    train(halves, draw=draw_toy, tokenizer=tokenizer)
    assert _losses(halves) == pytest.approx(_losses(tiny), rel=1e-5)


def test_best_checkpoint_is_kept_and_becomes_final_and_patience_ends_the_run(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter([5.0, 4.0, 4.5, 4.6, 1.0])

    monkeypatch.setattr("cadwright.training.trainer.sum_losses", lambda *_, **__: (next(given), 1))
    config = dataclasses.replace(
        tiny, iterations=9, eval_every=1, eval_samples=4, best_metric="eval_loss", patience=2,
        keep_last=1,
    )  # fmt: skip
    final = train(config, draw=draw_toy, tokenizer=tokenizer)
    kept = list_checkpoints(Path(config.output_dir))
    assert [path.name for path in kept] == ["checkpoint-2", "checkpoint-4"]
    best = _weights(kept[0])
    assert all(torch.equal(value, best[name]) for name, value in _weights(final).items())


def test_adapters_leave_the_base_alone_and_are_added_in_at_the_end(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    pytest.importorskip("peft")
    base = train(tiny, draw=draw_toy, tokenizer=tokenizer)
    lora = dataclasses.replace(
        tiny, init_from=str(base), lora_rank=2, lora_dropout=0.1, output_dir=tiny.output_dir + "-l",
    )  # fmt: skip
    whole = dataclasses.replace(lora, output_dir=tiny.output_dir + "-w")
    final = train(whole, draw=draw_toy)
    before, after = _weights(base), _weights(final)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("_proj." in n or "point_encoder" in n for n in changed)
    # Dropout draws random numbers: they resume, too.
    train(dataclasses.replace(lora, max_minutes=1e-9), draw=draw_toy)
    resumed = _weights(train(lora, draw=draw_toy))
    assert all(torch.equal(value, resumed[name]) for name, value in after.items())


def test_loss_that_jumps_is_skipped_named_and_changes_no_weight(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample, capfd: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("cadwright.training.guard.ENOUGH_STEPS", 1)
    config = dataclasses.replace(tiny, iterations=2, spike_factor=1e-3, save_every=1)
    train(config, draw=draw_toy, tokenizer=tokenizer)
    first, second = map(_weights, list_checkpoints(Path(config.output_dir)))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert "its update is skipped" in capfd.readouterr().err
    assert _records(config)[-1]["skipped_updates"] == 1


def test_disk_that_is_full_is_one_error_and_leaves_the_older_checkpoint(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(dataclasses.replace(tiny, iterations=1), draw=draw_toy, tokenizer=tokenizer)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"checkpoint-6.*No space left"):
        train(tiny, draw=draw_toy)
    assert {p.name for p in Path(tiny.output_dir).iterdir() if "point" in p.name} == {
        "checkpoint-1"
    }
    assert not (Path(tiny.output_dir) / ".drafts").exists()


def test_event_files_for_tensorboard_are_written(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    pytest.importorskip("tensorboard")
    config = dataclasses.replace(tiny, tensorboard=True, iterations=1)
    train(config, draw=draw_toy, tokenizer=tokenizer)
    assert list(Path(config.output_dir).rglob("events.out.tfevents.*"))


def test_memory_that_runs_out_is_a_sentence(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(CADRecode, "forward", forward)
    with pytest.raises(TrainingError, match="lower batch_size=4 and raise accumulation=1"):
        train(tiny, draw=draw_toy, tokenizer=tokenizer)
