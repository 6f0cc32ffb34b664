"""Seconds per stage of one reconstruction, and how far the whole is.

In: the stages as they begin and end. Out: a record for the report, and calls of the user's
progress function. Not covered: drawing a progress bar (apps).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, float], None]
Watch = Callable[[int, float], None]

# Seconds a stage takes on two cores, about; only for the progress bar.
USUAL_S = {
    "read": 0.1, "prepare": 0.2, "load": 1.0, "decode": 1.5, "rank": 0.4, "exact": 1.0,
    "measure": 0.5,
}  # fmt: skip


class StageClock:
    """Times stages and reports progress.

    Args:
        progress: called with what is being done and how far the whole is, in [0, 1].
        budget_s: seconds of search.
        watch: called during search with the programs tried so far and the best fit.
        steady: search counts tries instead of seconds, so that the same seed gives the same part
            however busy the machine is; ``budget_s`` then is what it takes on a typical core.

    Attributes:
        seconds: stage to wall-clock seconds, in the order in which the stages ended.
    """

    def __init__(
        self,
        progress: Progress | None,
        budget_s: float,
        *,
        watch: Watch | None = None,
        steady: bool = False,
    ) -> None:
        self.watch, self.steady = watch, steady
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._usual = USUAL_S | {"search": budget_s}
        self._stage = ""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """A stage: ``with clock("read"): ...``."""
        self._stage = stage
        self.inside(stage, 0.0)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(time.perf_counter() - started, 3)

    def inside(self, what: str, share: float) -> None:
        """Say that a share of the present stage is done."""
        if self._progress is not None:
            before = sum(self._usual[stage] for stage in self.seconds)
            done = before + share * self._usual[self._stage]
            self._progress(what, min(1.0, done / sum(self._usual.values())))
