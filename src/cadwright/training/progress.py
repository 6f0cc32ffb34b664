"""Counters of a run, kept across resumes, and the sums between two log lines.

In: batches and losses as they pass. Out: records for the log, and plain values for a checkpoint.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from cadwright.data.stream import Losses


@dataclass(slots=True)
class Window:
    """Sums since the last log line; over this process alone but for loss and gradient."""

    loss: float = 0.0
    grad_norm: float = 0.0
    steps: int = 0
    targets: int = 0
    samples: int = 0
    positions: int = 0
    padding: int = 0
    flops: float = 0.0
    wait_s: float = 0.0
    busy_s: float = 0.0  # before this process began; what it spent itself is on its clock


@dataclass(slots=True)
class Progress:
    """Counters of a run.

    Attributes:
        step: optimizer steps done.
        samples: samples this process has seen.
        drawn: draws of the pools that were opened.
        failed: draws that gave no sample.
        too_long: samples beyond ``max_tokens``.
        train_s: seconds spent in the loop.
        mean_loss: running mean of the loss of a step, None before the first.
        skipped: updates that were not made because of their loss.
        window: sums since the last log line.
    """

    step: int = 0
    samples: int = 0
    drawn: int = 0
    failed: int = 0
    too_long: int = 0
    train_s: float = 0.0
    mean_loss: float | None = None
    skipped: int = 0
    window: Window = field(default_factory=Window)

    @property
    def lost_share(self) -> float:
        """Draws that gave nothing to learn from, as a share of all."""
        return (self.failed + self.too_long) / max(self.drawn, 1)

    @property
    def failed_share(self) -> float:
        """Draws that could not be built, as a share of all."""
        return self.failed / max(self.drawn, 1)

    def count(self, losses: Losses) -> None:
        """Add a pool's losses."""
        self.drawn += losses.drawn
        self.failed += losses.failed
        self.too_long += losses.too_long

    def to_values(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Progress:
        """What ``to_values`` gave; unknown names of other versions are left out."""
        window = Window(**_known(values.get("window", {}), Window))
        return cls(**{**_known(values, cls), "window": window})


class Clock:
    """Seconds in the loop, evaluations and saving left out of the window.

    Attributes:
        begin_s: when this process began to train.
    """

    def __init__(self) -> None:
        self.begin_s = time.perf_counter()
        self._window_s = self.begin_s

    def restart_window(self) -> None:
        """A new log window begins now."""
        self._window_s = time.perf_counter()

    def leave_out(self, seconds: float) -> None:
        """Do not count so much of the window."""
        self._window_s += seconds

    @property
    def window_s(self) -> float:
        """Seconds of this process since the window began."""
        return time.perf_counter() - self._window_s

    @property
    def seconds(self) -> float:
        """Seconds since this process began."""
        return time.perf_counter() - self.begin_s


def _known(values: dict[str, Any], kind: Any) -> dict[str, Any]:
    """The values that are fields of a class."""
    return {name: value for name, value in values.items() if name in kind.__slots__}
