"""One job as the server knows it, and the store of all of them with their folders.

In: what was asked for, then events of workers. Out: status documents and folders. Finished jobs
expire: their folder goes, and their id is remembered as gone. Not covered: who does the work
(``service``, ``pool``), what is in the folders (``results``).
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Literal

from cadwright.apps.http.layout import TMP
from cadwright.apps.http.limits import STAGES
from cadwright.apps.http.problems import Problem, gone, not_found

State = Literal["queued", "running", "done", "failed", "cancelled", "handed_back"]
FINAL: frozenset[State] = frozenset({"done", "failed", "cancelled", "handed_back"})
REMEMBERED = 10_000  # ids of jobs that are gone


@dataclass(frozen=True, slots=True)
class Order:
    """What a client asked for.

    Attributes:
        kind: of input.
        name: to show; never part of a path.
        files: names in the job's folder, chosen by this server.
        shown_files: what the client calls them.
        text: a description, for kind 'text'.
        seed, candidates, budget_s: as the pipeline takes them.
    """

    kind: Literal["shape", "picture", "text"]
    name: str
    files: tuple[str, ...] = ()
    shown_files: tuple[str, ...] = ()
    text: str | None = None
    seed: int = 0
    candidates: int = 16
    budget_s: float = 5.0


@dataclass(eq=False)
class Job:
    """A job and all that became of it; changed by the event loop only."""

    id: str
    client: str
    folder: Path
    order: Order
    created: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    state: State = "queued"
    attempt: int = 1
    input: dict[str, Any] | None = None
    has_target: bool = False
    problem: Problem | None = None
    revision: int = 0
    progress: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    last_used: float = field(default_factory=time.monotonic)
    version: int = 0
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    _started: float | None = None
    ended: float | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_final(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in FINAL

    def start(self) -> None:
        """A worker began with it, perhaps once more."""
        self.state, self._started = "running", time.monotonic()
        self.stages, self.progress = {}, {}
        self.changed()

    def finish(self, state: State, problem: Problem | None = None) -> None:
        """Nothing more comes."""
        self.state, self.problem = state, problem
        self.ended = self.last_used = time.monotonic()
        self.changed()

    def heard(self, event: dict[str, Any]) -> None:
        """An event of the worker that does it."""
        if event["event"] == "input":
            self.input, self.has_target = event["input"], event["has_target"]
        elif event["event"] == "progress":
            if event["stage"] not in self.stages:
                self.stages[event["stage"]] = time.monotonic()
            self.progress |= {key: value for key, value in event.items() if key != "event"}
        self.changed()

    def changed(self) -> None:
        """Wake up everybody who waits for news."""
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def versions(self, *, heartbeat_s: float) -> AsyncIterator[bool]:
        """True at once and after each change, False where for a while there was none."""
        seen = -1
        while True:
            if self.version != seen:
                seen = self.version
                yield True
                if self.is_final:
                    return
                continue
            try:
                await asyncio.wait_for(self._news.wait(), heartbeat_s)
            except (asyncio.TimeoutError, TimeoutError):
                yield False

    def document(self, *, position: int | None, keep_s: float) -> dict[str, Any]:
        """The status document."""
        end = self.ended or time.monotonic()
        seconds = 0.0 if self._started is None else end - self._started
        left = keep_s - (time.monotonic() - self.last_used)
        expires = datetime.now(timezone.utc) + timedelta(seconds=left)
        progress = {
            "stage": None, "step": None, "share": 0.0, "tried": 0, "fit": None,
            "candidates": None, "valid": None,
        }  # fmt: skip
        progress |= {key: self.progress[key] for key in progress if key in self.progress}
        if self.state == "done":
            progress |= {"share": 1.0, "step": None}
        return {
            "id": self.id,
            "name": self.order.name,
            "kind": self.order.kind,
            "state": self.state,
            "created": self.created.isoformat(timespec="seconds"),
            "expires": expires.isoformat(timespec="seconds") if self.is_final else None,
            "options": {
                "seed": self.order.seed,
                "candidates": self.order.candidates,
                "budget_s": self.order.budget_s,
            },
            "position": position,
            "attempt": self.attempt,
            "input": self.input,
            "has_target": self.has_target,
            "progress": progress | {"seconds": round(seconds, 2)},
            "stages": self._stage_rows(end),
            "problem": None if self.problem is None else self.problem.document(),
            "revision": self.revision,
        }

    def _stage_rows(self, end: float) -> list[dict[str, Any]]:
        begun = [name for name in STAGES if name in self.stages]
        rows: list[dict[str, Any]] = []
        for name in STAGES:
            if name not in self.stages:
                rows.append({"name": name, "state": "waiting", "seconds": None})
                continue
            later = [
                self.stages[other] for other in begun if self.stages[other] > self.stages[name]
            ]
            over = bool(later) or self.is_final
            seconds = round(min(later, default=end) - self.stages[name], 2)
            rows.append({"name": name, "state": "done" if over else "active", "seconds": seconds})
        return rows


class Store:
    """All jobs, by id, and the folder that holds theirs.

    Args:
        root: a folder of its own.
        keep_s: seconds for which finished jobs are kept.
        kept: how many of them.
    """

    def __init__(self, root: Path, *, keep_s: float, kept: int) -> None:
        self.root, self.keep_s, self.kept = root, keep_s, kept
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._gone: deque[str] = deque(maxlen=REMEMBERED)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def new_folder(self) -> tuple[str, Path]:
        """An id that cannot be guessed, and an empty folder of that name."""
        name = token_urlsafe(16)
        folder = self.root / name
        (folder / TMP).mkdir(parents=True)
        return name, folder

    def add(self, job: Job) -> None:
        """Keep a job from now on."""
        self._jobs[job.id] = job

    def get(self, job_id: str) -> Job:
        """The job of an id; looking at it lets it live longer.

        Raises:
            Problem: 410 where it expired or was deleted, 404 where there was none.
        """
        job = self._jobs.get(job_id)
        if job is None:
            if job_id in self._gone:
                raise gone("this job expired or was deleted; submit it again")
            raise not_found("there is no job of this id")
        job.last_used = time.monotonic()
        return job

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def forget(self, job: Job) -> None:
        """From now on the job is gone; its folder stays until ``drop``."""
        if self._jobs.pop(job.id, None) is not None:
            self._gone.append(job.id)

    def drop(self, job: Job) -> None:
        """Forget a job and remove its folder."""
        self.forget(job)
        self.remove_folder(job.folder)

    def remove_folder(self, folder: Path) -> None:
        """Remove what was uploaded and made for one job."""
        shutil.rmtree(folder, ignore_errors=True)

    def expire(self) -> int:
        """Drop finished jobs that are too old or too many; how many were dropped."""
        finished = sorted((job for job in self if job.is_final), key=lambda job: job.last_used)
        over = max(0, len(finished) - self.kept)
        old = [job for job in finished[over:] if time.monotonic() - job.last_used > self.keep_s]
        for job in [*finished[:over], *old]:
            self.drop(job)
        return over + len(old)
