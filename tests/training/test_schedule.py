"""Schedules rise, stay within bounds and end where they should."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadwright.training.config import TrainConfig
from cadwright.training.schedule import step_to_lr_share

COSINE = TrainConfig(output_dir="x", iterations=1000, warmup=100, schedule="cosine")
WSD = dataclasses.replace(COSINE, schedule="wsd", decay_iterations=200)


@pytest.mark.parametrize("config", [COSINE, WSD], ids=["cosine", "wsd"])
def test_rises_linearly_to_one_and_falls_to_nearly_zero(config: TrainConfig) -> None:
    shares = [step_to_lr_share(step, config) for step in range(1000)]
    assert shares[:100] == pytest.approx([(i + 1) / 100 for i in range(100)])
    assert max(shares) == 1.0 and 0 < shares[-1] < 0.01
    assert all(a >= b for a, b in zip(shares[100:], shares[101:], strict=False))


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert step_to_lr_share(550, COSINE) == pytest.approx(0.5)


def test_wsd_is_flat_until_the_last_steps_and_linear_then() -> None:
    assert step_to_lr_share(100, WSD) == step_to_lr_share(800, WSD) == 1.0
    assert step_to_lr_share(900, WSD) == pytest.approx(0.5)


def test_wsd_ended_early_falls_from_the_step_it_is_resumed_at() -> None:
    ended = dataclasses.replace(WSD, iterations=500 + 200)
    assert step_to_lr_share(500, ended) == step_to_lr_share(499, WSD) == 1.0
    assert step_to_lr_share(501, ended) < 1.0


def test_floor_is_kept() -> None:
    config = dataclasses.replace(COSINE, final_lr_share=0.1)
    assert step_to_lr_share(10_000, config) == pytest.approx(0.1)


@settings(deadline=None)  # the machine may be busy
@given(
    step=st.integers(0, 2000),
    iterations=st.integers(1, 1500),
    warmup=st.integers(0, 1500),
    decay=st.integers(0, 1500),
    schedule=st.sampled_from(["cosine", "wsd"]),
)
def test_share_is_always_between_zero_and_one(
    step: int, iterations: int, warmup: int, decay: int, schedule: str
) -> None:
    config = dataclasses.replace(
        COSINE, iterations=iterations, warmup=warmup, decay_iterations=decay, schedule=schedule
    )
    assert 0 <= step_to_lr_share(step, config) <= 1
