"""The stream is a pure function of seed and number, for any workers and any processes."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest

from cadwright.data.collate import Batch, PointEncoder
from cadwright.data.stream import (
    REPLACEMENT,
    Pool,
    SampleStream,
    StreamConfig,
    fixed_batches,
)
from cadwright.data.workers import stream_pools
from cadwright.errors import InputError
from cadwright.types import Sample

CONFIG = StreamConfig(seed=3, step_samples=4, pool_batches=5)


class Draw:
    """Random points, and texts of 1 to 32 letters; every fifth draw fails. Picklable."""

    def __call__(self, seed: int, index: int) -> Sample | None:
        if index % 5 == 1:
            return None
        rng = np.random.default_rng((seed, index))
        text = "x" * int(rng.integers(1, 33))
        return Sample(index, text, rng.uniform(-1, 1, (6, 3)).astype(np.float32))


class FailingDraw(Draw):
    """No draw succeeds."""

    def __call__(self, seed: int, index: int) -> Sample | None:
        raise InputError(f"part-{index}.py is empty")


def letters(text: str) -> list[int]:
    """One token a letter."""
    return [3] * len(text)


ENCODER = PointEncoder(
    letters, bos_id=1, eos_id=2, pad_id=0, max_tokens=30, noise_std=0.01, noise_probability=0.5
)


def make_stream(**changes: int) -> SampleStream:
    return SampleStream(Draw(), ENCODER, dataclasses.replace(CONFIG, **changes))


def batches_of(pool: Pool) -> list[Batch]:
    return [batch for step in pool.steps for batch in step]


def draws_of(pool: Pool) -> list[list[int]]:
    """Of each step, in order of number."""
    return [sorted(i for batch in step for i in batch.indices.tolist()) for step in pool.steps]


def same(a: Batch, b: Batch) -> bool:
    return np.array_equal(a.indices, b.indices) and all(
        np.array_equal(values, b.inputs[name]) for name, values in a.inputs.items()
    )


def test_every_batch_is_full_and_every_draw_used_once() -> None:
    pools = [make_stream().pool(number) for number in range(4)]
    found = [b.indices for p in pools for b in batches_of(p)]
    assert [len(indices) for indices in found] == [4] * 20
    assert len(np.unique(np.concatenate(found))) == 80


def test_each_place_of_finite_data_is_drawn_once_and_failures_are_replaced() -> None:
    pools = [make_stream().pool(number) for number in range(3)]
    indices = np.concatenate([b.indices for p in pools for b in batches_of(p)])
    own = indices[indices < REPLACEMENT]
    for index in range(60):
        sample = Draw()(CONFIG.seed, index)
        usable = sample is not None and len(sample.text) + 2 <= ENCODER.max_tokens
        assert (index in own) == usable
    assert len(indices) == 60 and (own < 60).all()


def test_what_is_lost_is_counted() -> None:
    losses = make_stream().pool(0).losses
    assert losses.drawn == 20 + losses.failed + losses.too_long
    assert losses.failed > 0 and losses.too_long > 0
    assert "draw 1 gave nothing" in losses.reasons


def test_rows_belong_together() -> None:
    for batch in batches_of(make_stream().pool(1)):
        for row, index in enumerate(batch.indices):
            sample = Draw()(CONFIG.seed, int(index))
            assert sample is not None
            assert (batch.inputs["attention_mask"][row] == 1).sum() == len(sample.text) + 2
            assert np.abs(batch.inputs["point_cloud"][row] - sample.points).max() < 0.08


def test_sorting_by_length_pads_less_than_taking_samples_as_they_come() -> None:
    grouped = sum(b.num_padding for b in batches_of(make_stream(pool_batches=32).pool(0)))
    plain = make_stream(pool_batches=1)
    assert grouped < 0.2 * sum(batches_of(plain.pool(n))[0].num_padding for n in range(32))


def test_steps_of_a_pool_are_not_in_order_of_length() -> None:
    pool = make_stream(pool_batches=16).pool(0)
    widths = [b.inputs["labels"].shape[1] for b in batches_of(pool)]
    assert widths != sorted(widths) and widths != sorted(widths, reverse=True)


def test_pool_is_the_same_each_time_and_another_for_another_seed() -> None:
    first = batches_of(make_stream().pool(2))
    assert all(map(same, first, batches_of(make_stream().pool(2))))
    assert not any(map(same, first, batches_of(make_stream(seed=4).pool(2))))


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_order_does_not_depend_on_the_number_of_workers(workers: int) -> None:
    alone = list(islice(stream_pools(make_stream(), first=2, workers=0), 4))
    shared = list(islice(stream_pools(make_stream(), first=2, workers=workers), 4))
    assert [p.number for p in alone] == [p.number for p in shared] == [2, 3, 4, 5]
    for a, b in zip(alone, shared, strict=True):
        assert all(map(same, batches_of(a), batches_of(b)))


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_processes_together_see_what_one_sees(parts: int) -> None:
    whole = make_stream(step_samples=8, parts=parts).pool(3)
    shares = [
        make_stream(step_samples=8, parts=parts, rank=rank, num_ranks=2).pool(3) for rank in (0, 1)
    ]
    joined = [sorted(a + b) for a, b in zip(*map(draws_of, shares), strict=True)]
    assert joined == draws_of(whole)
    assert [len(draws) for draws in draws_of(shares[0])] == [4] * 5


def test_with_parts_each_process_draws_its_own_only() -> None:
    alone = make_stream(step_samples=8, parts=2).pool(0).losses.drawn
    shares = [
        make_stream(step_samples=8, parts=2, rank=rank, num_ranks=2).pool(0).losses.drawn
        for rank in (0, 1)
    ]
    assert sum(shares) == alone


def test_accumulation_divides_a_step_and_changes_nothing_else() -> None:
    whole, halves = make_stream(step_samples=8).pool(1), make_stream(step_samples=8, accumulation=2)
    assert draws_of(whole) == draws_of(halves.pool(1))
    assert {len(step) for step in halves.pool(1).steps} == {2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": 3}, "'parts' must divide the 4 samples"),
        ({"parts": 2, "num_ranks": 4}, "a multiple of the 4 processes"),
        ({"accumulation": 3}, "do not divide over 1 processes with accumulation=3"),
    ],
)
def test_division_that_leaves_a_rest_is_named(changes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_stream_that_always_fails_is_an_error_with_counts_and_the_first_reason() -> None:
    stream = SampleStream(FailingDraw(), ENCODER, CONFIG)
    message = "of 80 draws from index 0 on, 80 failed, the first because part-0.py is empty"
    with pytest.raises(InputError, match=message):
        next(stream_pools(stream, first=0, workers=0))


def test_limit_that_nothing_meets_is_an_error_that_names_it() -> None:
    stream = SampleStream(Draw(), dataclasses.replace(ENCODER, max_tokens=2), CONFIG)
    with pytest.raises(InputError, match="were longer than max_tokens"):
        stream.pool(0)


def test_fixed_batches_hold_at_least_what_was_asked_for() -> None:
    assert sum(len(b.indices) for b in fixed_batches(make_stream(), num_samples=21)) == 24
