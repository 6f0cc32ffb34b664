"""Is this step sound? Numbers that are not finite, losses that jump, memory that runs out.

In: loss and gradient norm of a step before its update. Out: go on, skip the update, or an error
that names the batch by its draws. The weights have not changed by then. Not covered: why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from cadwright.errors import CadwrightError
from cadwright.training.config import TrainConfig
from cadwright.training.progress import Progress

ENOUGH_STEPS = 50  # before a running mean means anything
KEPT_SHARE = 0.98  # of the running mean at each step


class TrainingError(CadwrightError):
    """Training cannot go on."""


@dataclass(slots=True)
class StepGuard:
    """Looks at every step before its update.

    Attributes:
        config: ``spike_factor``, ``max_spikes`` and ``seed`` are read.
        progress: keeps the running mean.
        in_a_row: updates skipped one after the other.
    """

    config: TrainConfig
    progress: Progress
    in_a_row: int = field(default=0)

    def is_sound(self, loss: float, grad_norm: float) -> bool:
        """Whether ``check`` will let the step pass."""
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        return finite and not self._is_spike(loss, self.progress.step + 1)

    def check(self, loss: float, grad_norm: float, indices: list[int]) -> str | None:
        """Judge a step.

        Args:
            loss: mean over all its tokens, nats.
            grad_norm: before clipping.
            indices: draws of its samples.

        Returns:
            Why the update should be skipped, or None.

        Raises:
            TrainingError: a number is not finite, or too many steps in a row jumped.
        """
        step = self.progress.step + 1
        where = f"on the batch of draws {indices} of seed {self.config.seed}"
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise TrainingError(
                f"step {step}: loss {loss}, gradient norm {grad_norm}, {where}; the last "
                "checkpoint is good"
            )
        mean = self.progress.mean_loss
        if not self._is_spike(loss, step):
            self.in_a_row = 0
            kept = 0.0 if mean is None else min(KEPT_SHARE, 1 - 1 / step)
            self.progress.mean_loss = loss if mean is None else kept * mean + (1 - kept) * loss
            return None
        self.in_a_row += 1
        self.progress.skipped += 1
        why = f"step {step}: loss {loss:.4g} against a mean of {mean:.4g}, {where}"
        if self.in_a_row > self.config.max_spikes:
            raise TrainingError(
                f"{why}; this is the {self.in_a_row}th such step in a row: training diverges. "
                "Lower lr, or go on from an earlier checkpoint"
            )
        return why

    def _is_spike(self, loss: float, step: int) -> bool:
        """Whether a loss is far above those before."""
        factor, mean = self.config.spike_factor, self.progress.mean_loss
        return bool(factor) and mean is not None and step > ENOUGH_STEPS and loss > factor * mean


@contextmanager
def explain_memory(config: TrainConfig, shape: tuple[int, ...] | None = None) -> Iterator[None]:
    """Turn an out-of-memory error into a sentence with the setting to change.

    Args:
        config: of the run.
        shape: (B, T) of the batch, where it is known.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        size = (
            "" if shape is None else f" with a batch of {shape[0]} samples of {shape[1]} positions"
        )
        raise TrainingError(
            f"out of memory{size}: lower "
            f"batch_size={config.batch_size} and raise accumulation={config.accumulation} by the "
            "same factor, which changes no result"
            + ("" if config.activation_checkpointing else ", or set activation_checkpointing=true")
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    """Torch has a class for GPUs only."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)
