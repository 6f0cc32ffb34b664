"""An endless stream of training batches, the same for any number of worker processes.

In: a function that draws sample number i, and a function from text to token ids. Out:
pools of batches. Batch n depends on the settings alone, so a run resumes by its step number.
Not covered: finite data sets on disk.

Each pool owns a range of draws, RESERVE times as long as it needs, and takes the first ones that
succeed; it is sorted by length, so that batches hold programs of like length and pad little.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from cadwright.data.collate import Batch, EncodedSample, collate
from cadwright.errors import CadwrightError, InputError
from cadwright.types import Sample

DrawSample = Callable[[int, int], Sample | None]
"""(seed, index) to a sample, points in the MODEL frame, or None where the draw failed."""

TextToIds = Callable[[str], list[int]]

RESERVE = 4
"""Draws a pool may use per sample it needs; a stream that fails more often is an error."""

# Keys that keep the random streams of one run apart.
_NOISE, _ORDER = 1, 2


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """What decides the content of every batch.

    Attributes:
        seed: of draws, noise and the order of batches within a pool.
        batch_size: samples per batch.
        pool_batches: batches per pool.
        max_tokens: longest program, start and end token included.
        noise_std: standard deviation of the noise on points, MODEL frame.
        noise_probability: share of samples that get noise.
        bos_id: start token.
        eos_id: end token.
        pad_id: padding token.
    """

    seed: int
    batch_size: int
    pool_batches: int
    max_tokens: int
    noise_std: float
    noise_probability: float
    bos_id: int
    eos_id: int
    pad_id: int


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Batches that were drawn together, with what was lost on the way.

    Attributes:
        number: which pool of the stream this is.
        batches: ``pool_batches`` of them.
        num_drawn: draws made.
        num_failed: draws that gave no sample.
        num_too_long: samples beyond ``max_tokens``.
    """

    number: int
    batches: list[Batch]
    num_drawn: int
    num_failed: int
    num_too_long: int


def add_noise(
    points: NDArray[np.float32], *, seed: int, index: int, std: float, probability: float
) -> NDArray[np.float32]:
    """Gaussian noise on all points of a sample, or on none of them.

    CAD-Recode (arXiv 2412.14042, section 4.3) adds it to half of the samples.

    Args:
        points: (P, 3) float32, MODEL frame.
        seed: of the stream.
        index: of the sample; with ``seed`` it fixes the noise.
        std: standard deviation, MODEL frame.
        probability: of getting noise at all.

    Returns:
        (P, 3) float32, MODEL frame; the input itself where there is no noise.
    """
    rng = np.random.default_rng((seed, _NOISE, index))
    if std == 0.0 or rng.random() >= probability:
        return points
    noise = rng.standard_normal(points.shape, dtype=np.float32)
    return points + np.float32(std) * noise


class SampleStream:
    """Builds pool after pool from draws.

    Args:
        draw: (seed, index) to a sample; must be picklable where workers are used.
        encode: program text to token ids, without start and end token.
        config: what decides the content of batches.
    """

    def __init__(self, draw: DrawSample, encode: TextToIds, config: StreamConfig) -> None:
        self._draw, self._encode, self.config = draw, encode, config

    def pool(self, number: int) -> Pool:
        """Draw, encode, sort and batch pool ``number``.

        Raises:
            InputError: too many draws failed or were too long (see RESERVE).
        """
        config = self.config
        wanted = config.batch_size * config.pool_batches
        first = number * wanted * RESERVE
        kept: list[EncodedSample] = []
        num_failed = num_too_long = num_drawn = 0
        for index in range(first, first + wanted * RESERVE):
            sample = self._draw(config.seed, index)
            num_drawn += 1
            if sample is None:
                num_failed += 1
                continue
            token_ids = self._text_to_ids(sample.text)
            if len(token_ids) > config.max_tokens:
                num_too_long += 1
                continue
            kept.append(self._encoded(sample, index, token_ids))
            if len(kept) == wanted:
                batches = self._batches(number, kept)
                return Pool(number, batches, num_drawn, num_failed, num_too_long)
        raise InputError(
            f"too few usable samples: of {num_drawn} draws from index {first} on, {num_failed} "
            f"failed and {num_too_long} were longer than max_tokens={config.max_tokens}"
        )

    def _text_to_ids(self, text: str) -> NDArray[np.int64]:
        """Token ids of a program between start and end token."""
        ids = [self.config.bos_id, *self._encode(text), self.config.eos_id]
        return np.array(ids, dtype=np.int64)

    def _encoded(self, sample: Sample, index: int, token_ids: NDArray[np.int64]) -> EncodedSample:
        """The sample with its noise."""
        points = add_noise(
            sample.points,
            seed=self.config.seed,
            index=index,
            std=self.config.noise_std,
            probability=self.config.noise_probability,
        )
        return EncodedSample(index=index, token_ids=token_ids, points=points)

    def _batches(self, number: int, samples: list[EncodedSample]) -> list[Batch]:
        """Batches of like length, in random order."""
        config = self.config
        samples = sorted(samples, key=lambda s: (len(s.token_ids), s.index))
        size = config.batch_size
        batches = [
            collate(samples[start : start + size], pad_id=config.pad_id)
            for start in range(0, len(samples), size)
        ]
        order = np.random.default_rng((config.seed, _ORDER, number)).permutation(len(batches))
        return [batches[i] for i in order]


class _PoolDataset(IterableDataset[Pool | CadwrightError]):
    """Worker w of n yields the pools first + w, first + w + n, ...

    An error meant for people is yielded, too: raised, the loader would wrap it in a trace.
    """

    def __init__(self, stream: SampleStream, first: int) -> None:
        self._stream, self._first = stream, first

    def __iter__(self) -> Iterator[Pool | CadwrightError]:
        worker = get_worker_info()
        number = self._first + (worker.id if worker else 0)
        step = worker.num_workers if worker else 1
        while True:
            try:
                yield self._stream.pool(number)
            except CadwrightError as error:
                yield error
                return
            number += step


def stream_pools(stream: SampleStream, *, first: int, workers: int) -> Iterator[Pool]:
    """Pools ``first``, ``first + 1``, ... without end, in this order for any ``workers``.

    The loader asks the workers in turn, so whole pools come out in order. Workers are
    spawned, not forked: the parent may already have used the kernel's threads.

    Args:
        stream: what builds a pool.
        first: number of the first pool.
        workers: processes that build pools ahead; 0 builds them here, when asked.

    Raises:
        InputError: too many draws of a pool failed or were too long.
    """
    loader: DataLoader[Pool | CadwrightError] = DataLoader(
        _PoolDataset(stream, first),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_settle_worker,
        generator=torch.Generator(),  # so that the loader takes no number from the global one
    )
    for item in loader:
        if isinstance(item, CadwrightError):
            raise item
        yield item


def _settle_worker(worker: int) -> None:
    """Keep a worker off the cores that train, and leave Ctrl-C to the parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def fixed_batches(stream: SampleStream, *, num_samples: int) -> list[Batch]:
    """The first batches of a stream, at least ``num_samples`` in all; for validation."""
    batches: list[Batch] = []
    number = 0
    while sum(len(b.indices) for b in batches) < num_samples:
        batches += stream.pool(number).batches
        number += 1
    return batches
