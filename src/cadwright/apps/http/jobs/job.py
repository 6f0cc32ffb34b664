"""One job as the server knows it: what was asked for, how far it is, how it ended.

In: what was asked for, then events of its worker. Out: status documents. Not covered: where jobs
are kept (``job_store``), who does the work (``service``, ``worker_process``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

from cadwright.apps.http.limits import STAGES, Limits
from cadwright.apps.http.problem_details import Problem, conflict

State = Literal["queued", "running", "done", "failed", "cancelled", "handed_back"]
FINAL: frozenset[State] = frozenset({"done", "failed", "cancelled", "handed_back"})


@dataclass(frozen=True, slots=True)
class JobSpec:
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
    spec: JobSpec
    created: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    state: State = "queued"
    attempt: int = 1
    input: dict[str, Any] | None = None
    has_target: bool = False
    problem: Problem | None = None
    revision: int = 0
    num_bytes: int = 0  # of its folder
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

    def request(self, limits: Limits) -> dict[str, Any]:
        """What a worker is asked to do for it."""
        spec = self.spec
        return {
            "do": "reconstruct", "folder": str(self.folder), "kind": spec.kind, "name": spec.name,
            "files": spec.files, "shown_files": spec.shown_files, "text": spec.text,
            "shown": ", ".join(spec.shown_files), "seed": spec.seed,
            "candidates": spec.candidates, "budget_s": spec.budget_s,
            "max_faces": limits.faces, "cpu_s": limits.cpu_s + 4 * spec.budget_s,
        }  # fmt: skip

    def require_done(self) -> None:
        """Refuse to hand out what is not there.

        Raises:
            Problem: 409, with the job's own problem where it has one.
        """
        if self.state == "done":
            return
        cause = {} if self.problem is None else {"cause": self.problem.document()}
        words = {"queued": "waits for its turn", "running": "is not done yet"}
        detail = f"this job {words.get(self.state, 'has no result: it is ' + self.state)}"
        if self.problem is not None:
            detail += f": {self.problem.detail}"
        raise conflict("not-done" if self.state in words else "no-result", detail, **cause)

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
            "name": self.spec.name,
            "kind": self.spec.kind,
            "state": self.state,
            "created": self.created.isoformat(timespec="seconds"),
            "expires": expires.isoformat(timespec="seconds") if self.is_final else None,
            "options": {
                "seed": self.spec.seed,
                "candidates": self.spec.candidates,
                "budget_s": self.spec.budget_s,
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
