"""An endless stream of training steps, the same for any number of workers and processes.

In: a function that draws sample number i, and an Encoder. Out: pools of steps. Step n depends
on the settings alone, so a run resumes by its step number. Finite data are drawn the same way
(finite). Not covered: the processes that build pools ahead (workers).

Pool n owns as many draws as it has places, and more that fill the places of draws that failed or
were too long. It is sorted by length, so that batches hold programs of like length and pad
little. With several ``parts`` each part of a pool is drawn and sorted by itself, so that each of
several training processes need only draw its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cadwright.data.collate import Batch, Encoder
from cadwright.errors import CadwrightError, InputError
from cadwright.types import Sample

DrawSample = Callable[[int, int], Sample | None]
"""(seed, index) to a sample, points in the MODEL frame; None or a CadwrightError where the draw
failed."""

REPLACEMENT = 2**40
"""Draws from here on replace those that failed."""

_ORDER = 2  # keeps the order of steps apart from other random streams of a run
_NAMED_FAILURES = 3  # of a pool


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """What decides the content of every step, and which share of it this process gets.

    Attributes:
        seed: of draws, noise and the order of steps within a pool.
        step_samples: samples per optimizer step, over all processes.
        pool_batches: steps per pool.
        parts: portions that are drawn and sorted by themselves; divides ``step_samples``.
        reserve: draws a pool may use per place it has.
        accumulation: batches into which a process divides its share of a step.
        rank: which of the training processes this is.
        num_ranks: how many there are.
    """

    seed: int
    step_samples: int
    pool_batches: int
    parts: int = 1
    reserve: int = 4
    accumulation: int = 1
    rank: int = 0
    num_ranks: int = 1

    def __post_init__(self) -> None:
        """Check that everything divides.

        Raises:
            InputError: it does not, naming the setting.
        """
        if self.step_samples % self.parts:
            raise InputError(
                f"the setting 'parts' must divide the {self.step_samples} samples of a step"
            )
        if self.parts > 1 and self.parts % self.num_ranks:
            raise InputError(
                f"the setting 'parts' must be 1 or a multiple of the {self.num_ranks} processes, "
                f"not {self.parts}"
            )
        if self.step_samples % (self.num_ranks * self.accumulation):
            raise InputError(
                f"{self.step_samples} samples of a step do not divide over {self.num_ranks} "
                f"processes with accumulation={self.accumulation}"
            )

    @property
    def draws_apart(self) -> bool:
        """Whether each process draws its own parts, or all draw everything and share."""
        return self.parts > 1


@dataclass(slots=True)
class Losses:
    """What was lost on the way.

    Attributes:
        drawn: draws made.
        failed: draws that gave no sample.
        too_long: samples beyond the limit.
        reasons: why the first few failed.
    """

    drawn: int = 0
    failed: int = 0
    too_long: int = 0
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Steps that were drawn together.

    Attributes:
        number: which pool of the stream this is.
        steps: ``pool_batches`` of them, each a list of ``accumulation`` batches.
        losses: failed and too long draws.
    """

    number: int
    steps: list[list[Batch]]
    losses: Losses


class SampleStream:
    """Builds pool after pool from draws.

    Args:
        draw: (seed, index) to a sample; must be picklable where workers are used.
        encoder: makes batches; must be picklable where workers are used.
        config: what decides the content of steps.
    """

    def __init__(self, draw: DrawSample, encoder: Encoder, config: StreamConfig) -> None:
        self._draw, self._encoder, self.config = draw, encoder, config

    def pool(self, number: int) -> Pool:
        """Draw, encode, sort and batch this process's share of pool ``number``.

        Raises:
            InputError: too many draws failed or were too long.
        """
        config, losses = self.config, Losses()
        parts = range(config.parts)
        if config.draws_apart:
            parts = parts[config.rank :: config.num_ranks]
        drawn = [self._part_steps(number, part, losses) for part in parts]
        steps = [[item for part in drawn for item in part[k]] for k in range(config.pool_batches)]
        return Pool(number, [self._batches(step) for step in steps], losses)

    def _part_steps(self, number: int, part: int, losses: Losses) -> list[list[Any]]:
        """One part's samples of each step of a pool, steps in random order."""
        config = self.config
        rows = config.step_samples // config.parts
        items = self._draw_part(number * config.parts + part, rows * config.pool_batches, losses)
        items.sort(key=lambda item: (item.num_tokens, item.index))
        # The same order for all parts, so that the batches of a step are of like length.
        order = np.random.default_rng((config.seed, _ORDER, number)).permutation(
            config.pool_batches
        )
        return [items[k * rows : (k + 1) * rows] for k in order]

    def _draw_part(self, portion: int, wanted: int, losses: Losses) -> list[Any]:
        """``wanted`` samples from the draws that belong to a portion of the stream."""
        spare, kept, own = wanted * (self.config.reserve - 1), [], Losses()
        first, more = portion * wanted, REPLACEMENT + portion * spare
        for index in (*range(first, first + wanted), *range(more, more + spare)):
            item = self._try(index, own)
            if item is not None:
                kept.append(item)
            if len(kept) == wanted:
                losses.drawn += own.drawn
                losses.failed += own.failed
                losses.too_long += own.too_long
                losses.reasons += own.reasons
                return kept
        why = f", the first because {own.reasons[0]}" if own.reasons else ""
        raise InputError(
            f"too few usable samples: of {own.drawn} draws from index {first} on, {own.failed} "
            f"failed{why}, and {own.too_long} were longer than max_tokens; "
            f"reserve={self.config.reserve} draws per sample are allowed"
        )

    def _try(self, index: int, losses: Losses) -> Any:
        """One draw, encoded; None where it is lost."""
        losses.drawn += 1
        reason = f"draw {index} gave nothing"
        try:
            sample = self._draw(self.config.seed, index)
        except CadwrightError as error:
            sample, reason = None, str(error)
        if sample is None:
            losses.failed += 1
            if len(losses.reasons) < _NAMED_FAILURES:
                losses.reasons.append(reason)
            return None
        item = self._encoder.encode(sample, seed=self.config.seed)
        if item is None:
            losses.too_long += 1
        return item

    def _batches(self, items: list[Any]) -> list[Batch]:
        """This process's rows of a step, divided into batches of like length."""
        config = self.config
        items = sorted(items, key=lambda item: (item.num_tokens, item.index))
        if not config.draws_apart:
            items = items[config.rank :: config.num_ranks]
        size = len(items) // config.accumulation
        starts = range(0, len(items), size)
        return [self._encoder.collate(items[start : start + size]) for start in starts]


def fixed_batches(stream: SampleStream, *, num_samples: int) -> Iterator[Batch]:
    """The first batches of a stream, at least ``num_samples`` in all; for validation."""
    found, number = 0, 0
    while found < num_samples:
        for step in stream.pool(number).steps:
            for batch in step:
                if found < num_samples:
                    found += len(batch.indices)
                    yield batch
        number += 1
