"""The time of a search: seconds of a real clock, or of one that counts tries.

A real clock makes the result depend on the machine. The other adds up what each try costs on a
typical core, so that the same seed gives the same program everywhere. Not covered: the stages of
the pipeline (``clock``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cadwright.inference.search.objective import Objective


@dataclass(slots=True)
class Budget:
    """How much time a search has left.

    Attributes:
        total_s: seconds from its start.
        real: whether they are of a real clock.
        read: the real clock.
        tries: programs scored by all objectives watched.
    """

    total_s: float
    real: bool = True
    read: Callable[[], float] = time.perf_counter
    _watched: list[Objective] = field(default_factory=list)
    _charged_s: float = 0.0
    _start: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._start = self.read()

    def watch(self, objective: Objective) -> None:
        """Count an objective's tries, those before too."""
        self._watched.append(objective)

    def charge(self, seconds: float) -> None:
        """Add what something other than a try costs, to the clock that counts."""
        self._charged_s += seconds

    @property
    def tries(self) -> int:
        """Programs scored so far."""
        return sum(objective.tries for objective in self._watched)

    def now(self) -> float:
        """Seconds since the start."""
        if self.real:
            return self.read() - self._start
        return self._charged_s + sum(one.tries * one.cost_s for one in self._watched)

    def left(self) -> float:
        """Seconds until the end, never negative."""
        return max(0.0, self.total_s - self.now())

    def share(self, part: float) -> float:
        """The deadline, by ``now``, of a stage that may use this part of the time left."""
        return self.now() + part * self.left()
