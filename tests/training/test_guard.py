"""A bad step is stopped before its update, and named."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cadwright.training.config import TrainConfig
from cadwright.training.guard import ENOUGH_STEPS, StepGuard, TrainingError, explain_memory
from cadwright.training.progress import Progress

CONFIG = TrainConfig(output_dir="x", seed=7, spike_factor=3.0, max_spikes=2, batch_size=8)


def warm_guard(**changes: float) -> StepGuard:
    """A guard that has seen losses of 1."""
    guard = StepGuard(dataclasses.replace(CONFIG, **changes), Progress())
    for step in range(ENOUGH_STEPS):
        guard.progress.step = step
        assert guard.check(1.0, 1.0, [step]) is None
    guard.progress.step = ENOUGH_STEPS
    return guard


@pytest.mark.parametrize("numbers", [(float("nan"), 1.0), (1.0, float("inf"))])
def test_what_is_not_finite_stops_the_run_and_names_the_draws(
    numbers: tuple[float, float],
) -> None:
    assert not StepGuard(CONFIG, Progress()).is_sound(*numbers)
    with pytest.raises(TrainingError, match=r"step 1: .* draws \[4, 9\] of seed 7"):
        StepGuard(CONFIG, Progress()).check(*numbers, [4, 9])


def test_spike_is_skipped_named_and_leaves_the_mean_alone() -> None:
    guard = warm_guard()
    mean = guard.progress.mean_loss
    assert guard.is_sound(2.9, 1.0) and not guard.is_sound(3.5, 1.0)
    why = guard.check(3.5, 1.0, [11, 12])
    assert why is not None and "draws [11, 12]" in why and "3.5 against a mean of 1" in why
    assert guard.progress.mean_loss == mean and guard.progress.skipped == 1
    assert guard.check(2.9, 1.0, [13]) is None


def test_spikes_one_after_the_other_stop_the_run() -> None:
    guard = warm_guard()
    guard.check(4.0, 1.0, [1])
    guard.check(4.0, 1.0, [2])
    with pytest.raises(TrainingError, match="3th such step in a row: training diverges"):
        guard.check(4.0, 1.0, [3])


def test_early_steps_and_a_factor_of_zero_have_no_spikes() -> None:
    guard = StepGuard(CONFIG, Progress())
    assert guard.check(1.0, 1.0, [0]) is None and guard.check(99.0, 1.0, [1]) is None
    assert warm_guard(spike_factor=0.0).check(99.0, 1.0, [1]) is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_settings_to_change(error: Exception) -> None:
    message = "8 samples of 300 positions: lower batch_size=8 and raise accumulation=1"
    with pytest.raises(TrainingError, match=message), explain_memory(CONFIG, (8, 300)):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), explain_memory(CONFIG, (8, 300)):
        raise RuntimeError("shape mismatch")
