"""The training loop: resumes to the bit, learns, stops on bad numbers, leaves a usable model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoProcessor

from cadwright.data.stream import REPLACEMENT, DrawSample
from cadwright.errors import CheckpointError, InputError
from cadwright.models import CADRecode
from cadwright.training.checkpoint import list_checkpoints
from cadwright.training.config import TrainConfig
from cadwright.training.sft import TrainingError, train
from cadwright.types import Sample


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = CADRecode.from_pretrained(folder).state_dict()
    return state


def _losses(config: TrainConfig) -> dict[int, float]:
    lines = (Path(config.output_dir) / "log.jsonl").read_text().splitlines()
    return {r["step"]: r["loss"] for r in map(json.loads, lines) if "loss" in r}


def test_stopped_and_resumed_run_gives_the_same_weights_to_the_bit(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    straight = dataclasses.replace(tiny, output_dir=tiny.output_dir + "-straight")
    whole = train(straight, draw=draw_toy, tokenizer=tokenizer)
    # Three steps end within the first pool of four batches.
    stopped = dataclasses.replace(tiny, save_every=3)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, draw=_FailAt(draw_toy, step=4, config=tiny), tokenizer=tokenizer)
    assert [p.name for p in list_checkpoints(Path(tiny.output_dir))] == ["checkpoint-3"]
    resumed = train(tiny, draw=draw_toy, tokenizer=tokenizer)
    expected, found = _weights(whole), _weights(resumed)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name
    assert _losses(straight) == _losses(tiny)


class _FailAt:
    """Breaks off like Ctrl-C where the pool after ``step`` is drawn."""

    def __init__(self, draw: DrawSample, *, step: int, config: TrainConfig) -> None:
        self._draw = draw
        self._limit = config.batch_size * config.pool_batches * (step // config.pool_batches)

    def __call__(self, seed: int, index: int) -> Sample | None:
        if self._limit <= index < REPLACEMENT:
            raise KeyboardInterrupt
        return self._draw(seed, index)


def test_loss_falls(tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample) -> None:
    config = dataclasses.replace(tiny, iterations=40, lr=0.02, muon_lr=0.02)
    train(config, draw=draw_toy, tokenizer=tokenizer)
    losses = _losses(config)
    assert losses[40] < 0.75 * losses[1]


def test_not_finite_batch_is_named_and_nothing_is_saved(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    def draw(seed: int, index: int) -> Sample | None:
        sample = draw_toy(seed, index)
        if index == 5 and sample:
            sample.points[0, 0] = np.nan
        return sample

    with pytest.raises(TrainingError, match=r"draws \[.*\b5\b.*\] of seed 0"):
        train(tiny, draw=draw, tokenizer=tokenizer)
    assert not (Path(tiny.output_dir) / "final").exists()


def test_time_limit_stops_with_a_checkpoint(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    config = dataclasses.replace(tiny, max_minutes=1e-9)
    assert train(config, draw=draw_toy, tokenizer=tokenizer).name == "checkpoint-1"
    assert train(dataclasses.replace(config, max_minutes=0.0), draw=draw_toy).name == "final"


def test_final_model_reads_points_and_writes_text(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    folder = train(
        dataclasses.replace(tiny, export_dtype="float16"), draw=draw_toy, tokenizer=tokenizer
    )
    model = CADRecode.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([[0] * 8 + [tokenizer.bos_token_id]])
    mask = torch.tensor([[-1] * 8 + [1]])
    out = model.generate(
        input_ids=ids, attention_mask=mask, point_cloud=torch.zeros(1, 8, 3), max_new_tokens=4
    )
    assert out.shape[1] > 9


def test_other_model_shape_is_refused_on_resume(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    train(dataclasses.replace(tiny, iterations=2), draw=draw_toy, tokenizer=tokenizer)
    with pytest.raises(CheckpointError, match="hidden_size=16"):
        train(dataclasses.replace(tiny, hidden_size=32), draw=draw_toy)


def test_run_folder_keeps_recipe_command_and_versions(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    train(tiny, draw=draw_toy, tokenizer=tokenizer)
    facts = json.loads((Path(tiny.output_dir) / "run.jsonl").read_text())
    assert facts["seed"] == 0 and facts["versions"]["torch"] == torch.__version__
    assert "hidden_size: 16" in (Path(tiny.output_dir) / "recipe.yaml").read_text()


def test_validation_is_the_same_number_for_the_same_weights(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    config = dataclasses.replace(tiny, iterations=2, eval_every=1, eval_samples=8, lr=0, muon_lr=0)
    train(config, draw=draw_toy, tokenizer=tokenizer)
    lines = map(json.loads, (Path(tiny.output_dir) / "log.jsonl").read_text().splitlines())
    values = [r["eval_loss"] for r in lines if "eval_loss" in r]
    assert len(values) == 2 and values[0] == values[1]


def test_second_run_in_the_same_folder_is_refused_without_resume(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    config = dataclasses.replace(tiny, iterations=1, resume=False)
    train(config, draw=draw_toy, tokenizer=tokenizer)
    with pytest.raises(InputError, match="already holds a run"):
        train(config, draw=draw_toy, tokenizer=tokenizer)


def test_training_starts_from_a_saved_model_and_refuses_one_of_another_shape(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    first = train(tiny, draw=draw_toy, tokenizer=tokenizer)
    config = dataclasses.replace(
        tiny, init_from=str(first), output_dir=tiny.output_dir + "-2", iterations=1, lr=0.0,
        muon_lr=0.0,
    )  # fmt: skip
    second = train(config, draw=draw_toy)
    for name, value in _weights(first).items():
        assert torch.equal(value, _weights(second)[name]), name
    other = dataclasses.replace(config, num_layers=1, output_dir=tiny.output_dir + "-3")
    with pytest.raises(CheckpointError, match="num_layers=2"):
        train(other, draw=draw_toy)


def test_final_folder_is_found_by_the_auto_classes(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    folder = train(dataclasses.replace(tiny, iterations=1), draw=draw_toy, tokenizer=tokenizer)
    assert isinstance(AutoModelForCausalLM.from_pretrained(folder), CADRecode)
    assert AutoProcessor.from_pretrained(folder).num_points == 8


def test_bfloat16_arithmetic_keeps_float32_weights_and_nearly_the_same_loss(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    half = dataclasses.replace(tiny, dtype="bfloat16", output_dir=tiny.output_dir + "-half")
    folder = train(half, draw=draw_toy, tokenizer=tokenizer)
    train(tiny, draw=draw_toy, tokenizer=tokenizer)
    assert all(value.dtype == torch.float32 for value in _weights(folder).values())
    for step, loss in _losses(tiny).items():
        assert _losses(half)[step] == pytest.approx(loss, rel=0.01)


def test_folder_of_an_earlier_version_is_not_written_over(
    tiny: TrainConfig, tokenizer: Any, draw_toy: DrawSample
) -> None:
    (Path(tiny.output_dir) / "ckpt-7").mkdir(parents=True)
    with pytest.raises(InputError, match="earlier version.*init_from=.*ckpt-7"):
        train(tiny, draw=draw_toy, tokenizer=tokenizer)
