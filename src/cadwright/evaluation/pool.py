"""Parts -> rows, by worker processes that are killed on time and memory limits. Parent side.

In: parts. Out: a row of plain values for each, in the order in which they get done, the same
whatever the number of workers. A prediction during which a worker hangs, starves or dies gets that
as its outcome, and a new worker goes on behind it. Workers are new interpreters, so a caller needs
no ``if __name__`` guard, and are replaced after a number of predictions, which keeps memory flat.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import cadwright
from cadwright.errors import CadwrightError, InputError, MissingDependencyError
from cadwright.evaluation.predictions import Part
from cadwright.evaluation.scoring import Event, ScoringOptions, memory_outcome, part_to_json
from cadwright.program._worker_process import (
    NEARLY_ALL,
    OUT_OF_MEMORY,
    allocated_mb,
    last_words,
)
from cadwright.types import Outcome

Row = dict[str, Any]

START_LIMIT_S = 300.0  # importing takes a second, on a starved machine a hundred
TARGET_LIMIT_S = 120.0  # a target of millions of triangles takes seconds
LEAST_MEMORY_MB = 512  # an idle worker has 230 of its own
POLL_S = 0.1
# -c puts the working folder on the path, where a stray numpy.py would be taken for the real one
START = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.insert(0, sys.argv[1]); "
    "import cadwright.evaluation; del sys.path[0]; from cadwright.evaluation import _scorer; "
    "_scorer.main()"
)


@dataclass(slots=True)
class _Job:
    """One part on its way, or a picture of it."""

    part: Part
    do: str = "score"
    path: str = ""
    target: Event | None = None
    done: list[Event] = field(default_factory=list)

    @property
    def left(self) -> Part:
        """The part with those predictions that have no outcome yet."""
        return replace(self.part, predictions=self.part.predictions[len(self.done) :])

    def row(self) -> Row:
        target = {key: value for key, value in (self.target or {}).items() if key != "event"}
        predictions = []
        for prediction, event in zip(self.part.predictions, self.done, strict=False):
            kept = {key: value for key, value in event.items() if key != "event"}
            if prediction.seconds is not None:
                kept["made_in_s"] = prediction.seconds
            predictions.append(kept)
        return {"name": self.part.name, "target": target, "predictions": predictions}


class _Worker:
    """A child process, the thread that reads its events, and what it is at."""

    def __init__(self, command: list[str], events: queue.SimpleQueue[tuple[_Worker, str]]) -> None:
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # so that Ctrl-C reaches the parent alone
        )
        self.jobs: deque[_Job] = deque()  # the first is what it is at, the others wait in its pipe
        self.ready, self.target_known = False, False
        self.num_predictions, self.peak_mb = 0, 0.0
        self.since = time.monotonic()  # its last event
        self.deadline = self.since + START_LIMIT_S
        self._events = events
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._events.put((self, line))
        self._events.put((self, ""))

    def send(self, job: _Job) -> None:
        if self.ready and not self.jobs:
            self.expect(TARGET_LIMIT_S)
        self.jobs.append(job)
        request = {"do": job.do, "path": job.path, "part": part_to_json(job.left)}
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died meanwhile: the reader says so
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()

    def expect(self, within_s: float) -> None:
        """Something happened; the next event is due in so many seconds."""
        self.since = time.monotonic()
        self.deadline = self.since + within_s

    def kill(self) -> str:
        """End the process; returns the last line it wrote to stderr."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        return last_words(self._errors)


class LocalPool:
    """Worker processes on this machine. A context manager.

    Args:
        options: what the numbers depend on, and the limits: at least 512 MB.
        num_workers: processes.
        recycle_after: predictions after which a worker is replaced.
    """

    def __init__(
        self,
        options: ScoringOptions,
        *,
        num_workers: int = 1,
        recycle_after: int = 5000,
    ) -> None:
        if min(num_workers, options.timeout_s, recycle_after) <= 0:
            raise InputError("workers, timeout and programs a worker must be greater than 0")
        if options.memory_mb < LEAST_MEMORY_MB:
            raise InputError(f"{options.memory_mb} MB are too little, {LEAST_MEMORY_MB} are needed")
        self.options, self.num_workers, self.recycle_after = options, num_workers, recycle_after
        # a kernel has a limit of its own; this one is for what comes before and after it
        exact_s = START_LIMIT_S + options.timeout_s if options.kernel == "exact" else 0.0
        self._patience_s = options.timeout_s + exact_s
        package = str(Path(cadwright.__path__[0]).parent)
        self._command = [sys.executable, "-c", START, package, json.dumps(asdict(options))]
        self._workers: list[_Worker] = []
        self._events: queue.SimpleQueue[tuple[_Worker, str]] = queue.SimpleQueue()

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def rows(self, parts: Iterable[Part]) -> Iterator[Row]:
        """Score parts.

        Raises:
            MissingDependencyError: a package is missing.
            CadwrightError: no worker comes up.
        """
        for job in self._run(_Job(part) for part in parts):
            yield job.row()

    def pictures(self, pairs: Iterable[tuple[Part, Path]]) -> Iterator[tuple[Part, str]]:
        """Draw parts, each to its path; gives them back with what went wrong, if anything did."""
        for job in self._run(_Job(part, "draw", str(path)) for part, path in pairs):
            yield job.part, (job.target or {}).get("error", "")

    def resident_mb(self) -> list[float]:
        """Resident memory of each worker, MB (Linux), for measurements."""
        return [_status_mb(worker.process.pid, "VmRSS:") for worker in self._workers]

    def _run(self, jobs: Iterable[_Job]) -> Iterator[_Job]:
        waiting, again = iter(jobs), deque[_Job]()
        self._hand_out(waiting, again)
        looked = 0.0
        while any(worker.jobs for worker in self._workers):
            with suppress(queue.Empty):
                worker, line = self._events.get(timeout=POLL_S)
                yield from self._handle(worker, line, again)
            if time.monotonic() > looked + POLL_S:
                looked = time.monotonic()
                for worker in list(self._workers):
                    worker.peak_mb = max(worker.peak_mb, allocated_mb(worker.process.pid))
                    if worker.jobs and looked > worker.deadline:
                        yield from self._lost(worker, again, timed_out=True)
            self._hand_out(waiting, again)

    def _hand_out(self, waiting: Iterator[_Job], again: deque[_Job]) -> None:
        """Keep one job waiting behind each worker's own; start workers while there are jobs."""
        while True:
            fewest = min(self._workers, key=lambda worker: len(worker.jobs), default=None)
            start = len(self._workers) < self.num_workers and (fewest is None or bool(fewest.jobs))
            if not start and (fewest is None or len(fewest.jobs) > 1):
                return
            job = again.popleft() if again else next(waiting, None)
            if job is None:
                return
            if start or fewest is None:
                fewest = _Worker(self._command, self._events)
                self._workers.append(fewest)
            fewest.send(job)

    def _handle(self, worker: _Worker, line: str, again: deque[_Job]) -> Iterator[_Job]:
        if worker not in self._workers:
            return  # the last words of one that was given up
        if not line:
            yield from self._lost(worker, again, timed_out=False)
            return
        event = json.loads(line)
        kind = event["event"]
        if kind == "fatal":
            raise MissingDependencyError(event["error"])
        if kind == "ready":
            worker.ready = True
        elif kind == "done":
            job = worker.jobs.popleft()
            worker.target_known = False
            yield job
            if worker.num_predictions >= self.recycle_after:
                again.extend(worker.jobs)
                self._drop(worker)
        elif kind == "prediction":
            worker.num_predictions += 1
            worker.jobs[0].done.append(event)
        else:
            worker.target_known = True
            worker.jobs[0].target = worker.jobs[0].target or event
        worker.expect(self._patience_s if worker.target_known else TARGET_LIMIT_S)

    def _lost(self, worker: _Worker, again: deque[_Job], *, timed_out: bool) -> Iterator[_Job]:
        """A worker was given up or died: blame what it was at, and go on behind that."""
        words = self._drop(worker)
        if not worker.ready:
            raise CadwrightError(f"a worker of the evaluation did not start: {words}")
        if not worker.jobs:
            return
        job, blame = worker.jobs.popleft(), self._blame(worker, words, timed_out)
        again.extend(worker.jobs)
        blamed = job.left.predictions[:1]
        if worker.target_known and blamed:
            seconds = time.monotonic() - worker.since
            job.done.append({"k": blamed[0].k, **blame, "seconds": seconds})
            again.append(job)
            return
        job.target = job.target or {"error": f"{blame['outcome']}: {blame['message']}"}
        yield job

    def _blame(self, worker: _Worker, words: str, timed_out: bool) -> Event:
        if timed_out:
            message = f"not done within {self.options.timeout_s:g} seconds"
            return {"outcome": Outcome.TIMEOUT.value, "message": message}
        starved = worker.peak_mb > NEARLY_ALL * self.options.memory_mb
        if starved or any(name in words for name in OUT_OF_MEMORY):
            return memory_outcome(self.options.memory_mb)
        message = f"the worker died ({worker.process.returncode}) {words}".strip()
        return {"outcome": Outcome.CRASH.value, "message": message}

    def _drop(self, worker: _Worker) -> str:
        self._workers.remove(worker)
        return worker.kill()


def _status_mb(pid: int, key: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith(key)]
    return float(sizes[0]) / 1024 if sizes else 0.0
