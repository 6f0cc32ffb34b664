"""Share of the highest learning rate at a step.

In: a 0-based step of so many. Out: a number in (0, 1].
"""

from __future__ import annotations

import math
from typing import Literal, get_args

Schedule = Literal["constant", "cosine", "linear", "fall"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
FLOOR = 0.1  # a cosine ends at this share
FALL = 0.25  # last part of the steps in which "fall" goes to nearly nothing


def lr_share(step: int, steps: int, *, warmup: float, schedule: Schedule) -> float:
    """Risen over the first ``warmup`` share of the steps, then as the schedule says.

    Args:
        step: 0-based.
        steps: of the whole run.
        warmup: share of the steps.
        schedule: ``constant``; ``cosine`` and ``linear`` fall from there on; ``fall`` is constant
            until the last quarter, so that a run that has not come there may be made longer.
    """
    rise = max(1, round(warmup * steps)) if warmup > 0 else 0
    if step < rise:
        return (step + 1) / (rise + 1)
    if schedule == "constant":
        return 1.0
    if schedule == "fall":
        return min(1.0, (steps - step) / max(1.0, FALL * steps))
    part = (step - rise) / max(1, steps - rise)
    if schedule == "linear":
        return 1.0 - part
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * part))
