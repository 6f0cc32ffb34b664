"""Learning-rate schedules: the share of the highest rate at a given step.

In: a step number and a TrainConfig. Out: a factor in [0, 1]. Pure functions of the step, so
that a resumed run needs no state of theirs.
"""

from __future__ import annotations

import math

from cadwright.training.config import TrainConfig


def step_to_lr_share(step: int, config: TrainConfig) -> float:
    """The rate of a step as a share of the highest rate.

    Args:
        step: 0-based number of the optimizer step.
        config: schedule, warmup, decay_iterations, iterations, final_lr_share are read.
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    floor = config.final_lr_share
    return floor + (1.0 - floor) * _fall(step, config)


def _fall(step: int, config: TrainConfig) -> float:
    """1 at the end of the warm-up, near 0 at the last step."""
    if config.schedule == "wsd":
        start = max(config.iterations - config.decay_iterations, config.warmup)
        return 1.0 - _progress(step, start=start, end=config.iterations)
    progress = _progress(step, start=config.warmup, end=config.iterations)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _progress(step: int, *, start: int, end: int) -> float:
    """How far a step is on the way from start to end, clamped to [0, 1]."""
    if end <= start:
        return 0.0 if step < end else 1.0
    return min(max((step - start) / (end - start), 0.0), 1.0)
