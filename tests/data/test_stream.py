"""The stream is a pure function of seed and number, for any number of worker processes."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest

from cadwright.data.collate import Batch
from cadwright.data.stream import (
    RESERVE,
    SampleStream,
    StreamConfig,
    add_noise,
    fixed_batches,
    stream_pools,
)
from cadwright.errors import InputError
from cadwright.types import Sample

CONFIG = StreamConfig(
    seed=3,
    batch_size=4,
    pool_batches=5,
    max_tokens=30,
    noise_std=0.01,
    noise_probability=0.5,
    bos_id=1,
    eos_id=2,
    pad_id=0,
)


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
        return None


def encode(text: str) -> list[int]:
    """One token a letter."""
    return [3] * len(text)


@pytest.fixture
def stream() -> SampleStream:
    return SampleStream(Draw(), encode, CONFIG)


def _same(a: Batch, b: Batch) -> bool:
    names = [field.name for field in dataclasses.fields(Batch)]
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_every_batch_is_full_and_every_draw_used_once(stream: SampleStream) -> None:
    pools = [stream.pool(number) for number in range(4)]
    assert [len(b.indices) for p in pools for b in p.batches] == [4] * 20
    indices = np.concatenate([b.indices for p in pools for b in p.batches])
    assert len(np.unique(indices)) == len(indices)


def test_what_is_lost_is_counted(stream: SampleStream) -> None:
    pool = stream.pool(0)
    assert pool.num_drawn == 20 + pool.num_failed + pool.num_too_long
    assert pool.num_failed == sum(i % 5 == 1 for i in range(pool.num_drawn))
    assert pool.num_too_long > 0
    assert all(b.labels.shape[1] <= 6 + CONFIG.max_tokens for b in pool.batches)


def test_rows_belong_together(stream: SampleStream) -> None:
    for batch in stream.pool(1).batches:
        for row, index in enumerate(batch.indices):
            sample = Draw()(CONFIG.seed, int(index))
            assert sample is not None
            assert (batch.attention_mask[row] == 1).sum() == len(sample.text) + 2
            assert np.abs(batch.point_cloud[row] - sample.points).max() < 0.08


def test_sorting_by_length_pads_less_than_taking_samples_as_they_come() -> None:
    config = dataclasses.replace(CONFIG, pool_batches=32)
    one_by_one = dataclasses.replace(CONFIG, pool_batches=1)
    sorted_padding = sum(
        b.num_padding for b in SampleStream(Draw(), encode, config).pool(0).batches
    )
    plain = SampleStream(Draw(), encode, one_by_one)
    plain_padding = sum(plain.pool(n).batches[0].num_padding for n in range(32))
    assert sorted_padding < 0.2 * plain_padding


def test_batches_of_a_pool_are_not_in_order_of_length() -> None:
    config = dataclasses.replace(CONFIG, pool_batches=16)
    widths = [b.labels.shape[1] for b in SampleStream(Draw(), encode, config).pool(0).batches]
    assert widths != sorted(widths) and widths != sorted(widths, reverse=True)


def test_pool_is_the_same_each_time_and_another_for_another_seed(stream: SampleStream) -> None:
    again = SampleStream(Draw(), encode, CONFIG)
    other = SampleStream(Draw(), encode, dataclasses.replace(CONFIG, seed=4))
    first = stream.pool(2).batches
    assert all(map(_same, first, again.pool(2).batches))
    assert not any(map(_same, first, other.pool(2).batches))


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_order_does_not_depend_on_the_number_of_workers(stream: SampleStream, workers: int) -> None:
    alone = list(islice(stream_pools(stream, first=2, workers=0), 4))
    shared = list(islice(stream_pools(stream, first=2, workers=workers), 4))
    assert [p.number for p in alone] == [p.number for p in shared] == [2, 3, 4, 5]
    for a, b in zip(alone, shared, strict=True):
        assert all(map(_same, a.batches, b.batches))


def test_stream_that_always_fails_is_an_error_with_counts() -> None:
    stream = SampleStream(FailingDraw(), encode, CONFIG)
    drawn = RESERVE * CONFIG.batch_size * CONFIG.pool_batches
    with pytest.raises(InputError, match=f"of {drawn} draws from index 0 on, {drawn} failed"):
        next(stream_pools(stream, first=0, workers=0))


def test_limit_that_nothing_meets_is_an_error_that_names_it() -> None:
    stream = SampleStream(Draw(), encode, dataclasses.replace(CONFIG, max_tokens=2))
    with pytest.raises(InputError, match="max_tokens=2"):
        stream.pool(0)


def test_fixed_batches_hold_at_least_what_was_asked_for(stream: SampleStream) -> None:
    assert sum(len(b.indices) for b in fixed_batches(stream, num_samples=21)) == 40


def test_noise_has_its_size_and_share_and_depends_on_the_index_alone() -> None:
    points = np.zeros((50, 3), dtype=np.float32)
    noisy = [add_noise(points, seed=0, index=i, std=0.01, probability=0.5) for i in range(400)]
    changed = [p for p in noisy if p.any()]
    assert 0.4 < len(changed) / len(noisy) < 0.6
    assert np.std(changed) == pytest.approx(0.01, rel=0.05)
    again = add_noise(points, seed=0, index=7, std=0.01, probability=0.5)
    assert np.array_equal(again, noisy[7]) and again.dtype == np.float32
    assert not points.any()


def test_no_noise_leaves_points_alone() -> None:
    points = np.ones((5, 3), dtype=np.float32)
    assert add_noise(points, seed=0, index=0, std=0.0, probability=1.0) is points
    assert add_noise(points, seed=0, index=0, std=0.1, probability=0.0) is points
