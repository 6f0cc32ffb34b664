"""The stream of steps as the Trainer wants it: one dict of tensors after the other.

In: a SampleStream and the progress of the run. Out: batches from ``progress.step`` on, as long
as anyone asks. Counts what was lost, and stops where too much cannot be built.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cadwright.data.collate import NO_LOSS, Batch
from cadwright.data.stream import Pool, SampleStream
from cadwright.data.workers import stream_pools
from cadwright.errors import InputError
from cadwright.training.progress import Progress

ENOUGH_DRAWS = 200  # before a share means anything


class StepFeed:
    """Iterable over batches; each step of the stream is ``accumulation`` of them.

    Args:
        stream: what builds pools.
        progress: read where it begins, and counted up.
        workers: processes that build pools ahead.
        max_failed_share: of draws that cannot be built.
    """

    def __init__(
        self, stream: SampleStream, progress: Progress, *, workers: int, max_failed_share: float
    ) -> None:
        self.stream, self.progress = stream, progress
        self._workers, self._max_failed_share = workers, max_failed_share

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        number, done = divmod(self.progress.step, self.stream.config.pool_batches)
        for pool in stream_pools(self.stream, first=number, workers=self._workers):
            if not done:  # otherwise it was counted before the checkpoint
                self._count(pool)
            for step in pool.steps[done:]:
                yield from map(batch_to_inputs, step)
            done = 0

    def _count(self, pool: Pool) -> None:
        """Add a pool's losses.

        Raises:
            InputError: too large a share of all draws failed.
        """
        progress = self.progress
        progress.count(pool.losses)
        if progress.drawn >= ENOUGH_DRAWS and progress.failed_share > self._max_failed_share:
            why = f", the last because {pool.losses.reasons[-1]}" if pool.losses.reasons else ""
            raise InputError(
                f"{progress.failed} of {progress.drawn} samples could not be built{why}; this is "
                f"more than max_failed_share={self._max_failed_share}"
            )


def batch_to_inputs(batch: Batch) -> dict[str, Tensor]:
    """Tensors by the names of ``forward``, and the draws as ``indices``."""
    inputs = {name: torch.from_numpy(values) for name, values in batch.inputs.items()}
    # Logits only where a next token is to be told: not at points, not at padding.
    told = inputs["labels"][:, 1:] != NO_LOSS
    inputs["logits_to_keep"] = torch.nn.functional.pad(told, (0, 1))
    inputs["indices"] = torch.from_numpy(batch.indices)
    return inputs
