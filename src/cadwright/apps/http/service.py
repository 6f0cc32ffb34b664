"""The service without HTTP: orders in, jobs through the pool, results out, an orderly end.

In: orders, cancels, previews and builds. Out: jobs that change. One queue, fair between clients,
feeds the workers; a worker that died costs its job a second attempt, and only then an error. Not
covered: addresses and formats (``app``), processes (``pool``), folders (``jobs``).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal

from cadwright.apps.http.desk import ROLES, Desk, Role
from cadwright.apps.http.fair_queue import FairQueue
from cadwright.apps.http.jobs import Job, Order, Store
from cadwright.apps.http.limits import Limits
from cadwright.apps.http.pool import BrokenWorker, Slot, WorkerDied, WorkerOptions
from cadwright.apps.http.problems import Problem, conflict, too_many, unavailable
from cadwright.apps.http.verdicts import death_problem, worker_problem
from cadwright.errors import CadwrightError

_LOG = logging.getLogger(__name__)

ServiceState = Literal["starting", "ready", "stopping", "broken"]

ATTEMPTS = 2
EXPIRE_EVERY_S = 1.0
PAUSE_AFTER_FAILURE_S = 2.0  # before a worker is started again where one did not come up
STOPPING = "the server is stopping and takes no more work; try again later"
HANDED_BACK = "the server was stopped before this job was done; submit it again"
KINDS = {"points": "shape", "views": "picture", "words": "text"}  # as callers call them


class Service:
    """Queue, pool and store of one server. Used from one event loop.

    Args:
        limits: what may be asked for.
        options: for the workers.
        num_workers: processes that make parts.
        root: folder for the jobs; by default a temporary one that goes with the service.
    """

    def __init__(
        self,
        limits: Limits,
        options: WorkerOptions,
        *,
        num_workers: int = 1,
        root: Path | None = None,
    ) -> None:
        self.limits, self.options = limits, options
        self._temporary = root is None
        if root is None:
            root = Path(tempfile.gettempdir()) / f"cadwright-serve-{secrets.token_hex(8)}"
        self.root = root
        self.store = Store(self.root, keep_s=limits.keep_s, kept=limits.kept)
        self.queue: FairQueue[Job] = FairQueue()
        self.makers = [
            Slot("make", options, recycle_after=limits.recycle_after) for _ in range(num_workers)
        ]
        self.desks: dict[Role, Desk] = {role: Desk(role, limits, options) for role in ROLES}
        self.state: ServiceState = "starting"
        self.trouble = ""
        self.reads: list[str] = []
        self.running: set[Job] = set()
        self.num_streams = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def slots(self) -> list[Slot]:
        """All places for workers."""
        return [*self.makers, *(desk.slot for desk in self.desks.values())]

    def start(self) -> None:
        """Start the workers and begin with what waits; does not wait for them."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=not self._temporary)
        loops: list[Coroutine[Any, Any, None]] = [self._make(slot) for slot in self.makers]
        loops += [desk.work(lambda job: job.id in self.store) for desk in self.desks.values()]
        loops.append(self._expire())
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(self._loop_ended)

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        """A loop ends by being cancelled; else it is a defect, and nobody shall wait for it."""
        if task.cancelled():
            return
        _LOG.error("a loop of the service ended", exc_info=task.exception())
        self.state, self.trouble = "broken", "it met an error of its own; its log says which"

    # -- orders -------------------------------------------------------------------------------

    def admit(self, client: str) -> None:
        """Refuse what would be too much, before anything is uploaded.

        Raises:
            Problem: 503 where the service stops or is full, 429 where the client has enough.
        """
        if self.state == "stopping":
            raise unavailable(STOPPING, slug="stopping")
        if self.state == "broken":
            raise unavailable(f"this server cannot make parts: {self.trouble}", slug="broken")
        if len(self.queue) >= self.limits.queued:
            raise unavailable(
                f"{self.limits.queued} jobs wait already; try again later", slug="full"
            )
        own = sum(job.client == client and not job.is_final for job in self.store)
        if own >= self.limits.queued_a_client:
            raise too_many(f"{own} of your jobs wait or run already; try again when one is done")

    def submit(self, job_id: str, folder: Path, client: str, order: Order) -> Job:
        """Put an order into the queue."""
        job = Job(job_id, client, folder, order)
        self.store.add(job)
        self.queue.put(client, job)
        return job

    def position(self, job: Job) -> int | None:
        """How many jobs come before this one; None where it does not wait."""
        if job.state != "queued":
            return None
        order = self.queue.in_order()
        return order.index(job) if job in order else 0

    def document(self, job: Job) -> dict[str, Any]:
        """The status document of a job."""
        return job.document(position=self.position(job), keep_s=self.limits.keep_s)

    def cancel(self, job: Job) -> None:
        """End a job that waits or runs; a running one ends a moment later.

        Raises:
            Problem: 409, it has ended.
        """
        if job.is_final:
            raise conflict("already-finished", f"this job is {job.state.replace('_', ' ')} already")
        job.cancelled.set()
        self.queue.remove(job)
        job.finish("cancelled", Problem(409, "cancelled", "Cancelled", "the job was cancelled"))

    def delete(self, job: Job) -> None:
        """Cancel a job if need be and forget it."""
        if not job.is_final:
            self.cancel(job)
        if job not in self.running:  # else its folder goes when the worker let go of it
            self.store.drop(job)
            return
        self.store.forget(job)

    async def edit(self, role: Role, job: Job, request: dict[str, Any]) -> bytes:
        """Preview or build a changed program; the newest of a job wins.

        Raises:
            Problem: 409 where there is no program yet or a newer request came; 422 where the text
                is no program or builds nothing; 503 where the service stops.
        """
        self.require_done(job)
        if self.state == "stopping":
            raise unavailable(STOPPING, slug="stopping")
        if role == "preview":
            self.desks["build"].expect()  # who drags will let go: the exact kernel takes seconds
        header, data = await self.desks[role].ask(job, request)
        if role == "build":
            job.revision = header["revision"]
            job.changed()
        return data

    def require_done(self, job: Job) -> None:
        """Refuse to hand out what is not there.

        Raises:
            Problem: 409, with the job's own problem where it has one.
        """
        if job.state == "done":
            return
        cause = {} if job.problem is None else {"cause": job.problem.document()}
        words = {"queued": "waits for its turn", "running": "is not done yet"}
        detail = f"this job {words.get(job.state, 'has no result: it is ' + job.state)}"
        if job.problem is not None:
            detail += f": {job.problem.detail}"
        raise conflict("not-done" if job.state in words else "no-result", detail, **cause)

    # -- the end ------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Take nothing more, hand back what waits, let what runs go on for ``drain_s``."""
        self.state = "stopping"
        for job in self.queue.clear():
            job.finish("handed_back", unavailable(HANDED_BACK, slug="handed-back"))
        for _ in range(round(self.limits.drain_s / 0.05)):
            if not self.running and not any(desk.is_busy for desk in self.desks.values()):
                break
            await asyncio.sleep(0.05)
        for job in list(self.running):
            if not job.is_final:
                job.finish("handed_back", unavailable(HANDED_BACK, slug="handed-back"))
        await asyncio.sleep(0)  # so that event streams say so

    async def close(self) -> None:
        """End all workers and remove what is temporary."""
        self.state = "stopping"
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(slot.stop() for slot in self.slots))
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)

    # -- loops --------------------------------------------------------------------------------

    async def _make(self, slot: Slot) -> None:
        """Do one job after the other with one worker."""
        while True:
            try:
                worker = await slot.ready()
            except BrokenWorker as error:
                await self._is_broken(str(error))
                continue
            self.reads = [KINDS[kind] for kind in worker.facts.get("reads", [])]
            if self.state in ("starting", "broken"):
                self.state = "ready"
            job = await self.queue.get()
            if not worker.is_alive:  # it was killed while there was nothing to do
                self.queue.put(job.client, job, first=True)
                continue
            self.running.add(job)
            try:
                await self._do(job, slot)
            finally:
                self.running.discard(job)
                if job.id not in self.store:
                    self.store.drop(job)

    async def _is_broken(self, trouble: str) -> None:
        """No worker comes up: say so to all who wait, and try again after a while."""
        if self.state != "stopping":
            self.state, self.trouble = "broken", trouble
        for job in self.queue.clear():
            job.finish("failed", unavailable(f"this server cannot make parts: {trouble}"))
        await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    async def _do(self, job: Job, slot: Slot) -> None:
        assert slot.worker is not None
        order, budget_s = job.order, job.order.budget_s
        job.start()
        request = {
            "do": "make", "folder": str(job.folder), "kind": order.kind, "name": order.name,
            "files": order.files, "shown_files": order.shown_files, "text": order.text,
            "shown": ", ".join(order.shown_files), "seed": order.seed,
            "candidates": order.candidates, "budget_s": budget_s,
            "max_faces": self.limits.faces, "cpu_s": self.limits.cpu_s + 4 * budget_s,
        }  # fmt: skip
        try:
            header, _ = await slot.worker.ask(
                request,
                timeout_s=self.limits.job_s + 4 * budget_s,
                on_event=job.heard,
                cancelled=job.cancelled,
            )
        except CadwrightError as error:
            self._lost(job, error)
            return
        if job.is_final:  # cancelled meanwhile, or handed back
            return
        if header["event"] == "done":
            job.revision = header["revision"]
            job.finish("done")
        else:
            job.finish("failed", worker_problem(header))

    def _lost(self, job: Job, error: CadwrightError) -> None:
        """The worker is gone: once more where that may help, else an error."""
        if job.is_final:
            return
        if isinstance(error, WorkerDied) and job.attempt < ATTEMPTS and self.state != "stopping":
            job.attempt += 1
            job.state = "queued"
            self.queue.put(job.client, job, first=True)
            job.changed()
            return
        job.finish("failed", death_problem(error, job.attempt))

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(min(EXPIRE_EVERY_S, self.limits.keep_s / 4))
            self.store.expire()
