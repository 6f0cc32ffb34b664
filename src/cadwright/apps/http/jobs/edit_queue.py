"""Programs that are being changed: one worker for previews, one for exact builds, newest wins.

In: a job and a request of somebody who moves its numbers. Out: the worker's answer. Of one job only
the newest request waits; the others are told so. Not covered: jobs themselves (``service``), what
is done with a text (``worker.edit_program``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from cadwright.apps.http.jobs.fair_queue import FairQueue
from cadwright.apps.http.jobs.job import Job
from cadwright.apps.http.jobs.job_store import JobStore
from cadwright.apps.http.jobs.worker_errors import death_problem, worker_problem
from cadwright.apps.http.jobs.worker_process import BrokenWorker, WorkerOptions
from cadwright.apps.http.jobs.worker_slot import WorkerSlot
from cadwright.apps.http.limits import Limits
from cadwright.apps.http.problem_details import Problem, conflict, gone, unavailable
from cadwright.errors import CadwrightError

Role = Literal["preview", "build"]
ROLES: tuple[Role, ...] = ("preview", "build")
Answer = tuple[dict[str, Any], bytes]

RECYCLE_AFTER = 20_000  # requests after which a worker is replaced
PAUSE_AFTER_FAILURE_S = 2.0  # before a worker is started again where one did not come up


@dataclass(eq=False)
class Edit:
    """A preview or a build that waits for its turn.

    Attributes:
        job: whose program it is.
        request: for the worker.
        answer: its header and bytes, or a ``Problem``.
    """

    job: Job
    request: dict[str, Any]
    answer: asyncio.Future[Answer]


class EditQueue:
    """One worker and what waits for it.

    Args:
        role: of the worker. That for builds is started when it is expected to be needed.
        limits: of the server.
        options: for the worker.
    """

    def __init__(self, role: Role, limits: Limits, options: WorkerOptions) -> None:
        self.role, self.limits = role, limits
        self.slot = WorkerSlot(role, options, recycle_after=RECYCLE_AFTER)
        self._queue: FairQueue[Edit] = FairQueue()
        self._current: Edit | None = None

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._current is not None or len(self._queue) > 0

    def expect(self) -> None:
        """Start the worker, if it was not yet: a request will come soon."""
        if self.slot.worker is None:
            self._queue.wake()

    async def ask(self, job: Job, request: dict[str, Any]) -> Answer:
        """Wait for this request's turn and its answer.

        Raises:
            Problem: 409 where a newer request of this job came, 503 where there are too many, and
                whatever became of it.
        """
        for older in self._queue.in_order():
            if older.job is job and self._queue.remove(older):
                _settle(older, conflict("superseded", "a newer change came before this one's turn"))
        if len(self._queue) >= self.limits.queued:
            raise unavailable("too many programs are being changed; try again", slug="full")
        cpu_s = self.limits.preview_s if self.role == "preview" else 4 * self.limits.build_s
        whole = {"do": self.role, "folder": str(job.folder), "cpu_s": cpu_s, **request}
        edit = Edit(job, whole, asyncio.get_running_loop().create_future())
        self._queue.put(job.client, edit)
        try:
            return await edit.answer
        finally:
            self._queue.remove(edit)  # where the client went away

    async def work(self, store: JobStore) -> None:
        """Answer one request after the other, without end.

        Args:
            store: of the jobs, from which some go meanwhile.
        """
        while True:
            if self.role == "build" and self.slot.worker is None:
                await self._queue.awake()
            try:
                await self.slot.ready()
                self._current = await self._queue.get()
                worker = await self.slot.ready()  # it may have been killed while nothing was to do
            except BrokenWorker as error:
                self._refuse_all(f"this server cannot build: {error}")
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
                continue
            edit = self._current
            if edit.job.id not in store:
                _settle(edit, gone("this job was deleted"))
            else:
                seconds = self.limits.preview_s
                if self.role == "build":
                    seconds = 3 * self.limits.build_s
                try:
                    header, data = await worker.ask(edit.request, timeout_s=seconds)
                except CadwrightError as error:
                    _settle(edit, death_problem(error, 1))
                else:
                    done = header["event"] == "done"
                    _settle(edit, (header, data) if done else worker_problem(header))
                if edit.job.id not in store:  # the worker may have made its folder anew
                    store.remove_folder(edit.job.folder)
            self._current = None

    def _refuse_all(self, detail: str) -> None:
        waiting = self._queue.clear()
        if self._current is not None:
            waiting.append(self._current)
            self._current = None
        for edit in waiting:
            _settle(edit, unavailable(detail))


def _settle(edit: Edit, answer: Answer | Problem) -> None:
    if edit.answer.done():  # the client went away
        return
    if isinstance(answer, Problem):
        edit.answer.set_exception(answer)
    else:
        edit.answer.set_result(answer)
