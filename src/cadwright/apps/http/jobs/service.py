"""The service without HTTP: submissions in, jobs through the workers, results out, an orderly end.

In: what was asked for, cancels, previews and builds. Out: jobs that change. One queue, fair
between clients, feeds the workers; one that died costs its job a second attempt, and only then an
error. Not covered: addresses and formats (``api``), processes (``worker_process``), folders
(``job_store``).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from cadwright.apps.http.jobs.admission import Admission
from cadwright.apps.http.jobs.edit_queue import ROLES, EditQueue, Role
from cadwright.apps.http.jobs.fair_queue import FairQueue
from cadwright.apps.http.jobs.job import Job, JobSpec
from cadwright.apps.http.jobs.job_store import JobStore
from cadwright.apps.http.jobs.worker_errors import death_problem, worker_problem
from cadwright.apps.http.jobs.worker_process import BrokenWorker, WorkerDied, WorkerOptions
from cadwright.apps.http.jobs.worker_slot import WorkerSlot
from cadwright.apps.http.limits import Limits
from cadwright.apps.http.problem_details import Problem, conflict, gone, unavailable
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
        self.store = JobStore(
            self.root, keep_s=limits.keep_s, kept=limits.kept, stored_bytes=limits.stored_bytes
        )
        self.admission = Admission(limits, self.store)
        self.queue: FairQueue[Job] = FairQueue()
        self.job_slots = [
            WorkerSlot("reconstruct", options, recycle_after=limits.recycle_after)
            for _ in range(num_workers)
        ]
        self.edit_queues: dict[Role, EditQueue] = {
            role: EditQueue(role, limits, options) for role in ROLES
        }
        self.state: ServiceState = "starting"
        self.trouble = ""
        self.reads: list[str] = []
        self.running: set[Job] = set()
        self.num_streams = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def slots(self) -> list[WorkerSlot]:
        """All places for workers."""
        return [*self.job_slots, *(queue.slot for queue in self.edit_queues.values())]

    def start(self) -> None:
        """Start the workers and begin with what waits; does not wait for them."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=not self._temporary)
        loops: list[Coroutine[Any, Any, None]] = [self._run_jobs(slot) for slot in self.job_slots]
        loops += [queue.work(self.store) for queue in self.edit_queues.values()]
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

    # -- what clients ask ---------------------------------------------------------------------

    @contextmanager
    def arriving(self, client: str) -> Iterator[tuple[str, Path]]:
        """An id and a folder for what is about to be uploaded; they go where that fails.

        Raises:
            Problem: 503 where the service stops or is full, 429 where the client has enough.
        """
        self._require_working()
        with self.admission.arriving(client):
            job_id, folder = self.store.new_folder()
            try:
                yield job_id, folder
            except BaseException:  # a client that goes away is cancelled, which is no Exception
                self.store.remove_folder(folder)
                raise

    def _require_working(self) -> None:
        if self.state == "stopping":
            raise unavailable(STOPPING, slug="stopping")
        if self.state == "broken":
            raise unavailable(f"this server cannot make parts: {self.trouble}", slug="broken")

    def submit(self, job_id: str, folder: Path, client: str, spec: JobSpec) -> Job:
        """Put a job into the queue.

        Raises:
            Problem: 503, the service stops.
        """
        self._require_working()  # it may have been told to stop while this was uploaded
        job = Job(job_id, client, folder, spec)
        self.store.add(job)
        self.queue.put(client, job)
        return job

    def position(self, job: Job) -> int | None:
        """How many jobs come before this one; None where it does not wait."""
        if job.state != "queued":
            return None
        waiting = self.queue.in_order()
        return waiting.index(job) if job in waiting else 0

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
        job.require_done()
        if self.state == "stopping":
            raise unavailable(STOPPING, slug="stopping")
        if role == "preview":  # who drags will let go, and the exact kernel takes seconds to start
            self.edit_queues["build"].expect()
        header, data = await self.edit_queues[role].ask(job, request)
        if job.id not in self.store:
            raise gone("this job was deleted while it was built")
        if role == "build":
            job.revision = header["revision"]
            self.store.weigh(job)
            job.changed()
        return data

    # -- the end ------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Take nothing more, hand back what waits, let what runs go on for ``drain_s``."""
        self.state = "stopping"
        for job in self.queue.clear():
            job.finish("handed_back", unavailable(HANDED_BACK, slug="handed-back"))
        for _ in range(round(self.limits.drain_s / 0.05)):
            if not self.running and not any(queue.is_busy for queue in self.edit_queues.values()):
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

    async def _run_jobs(self, slot: WorkerSlot) -> None:
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
                await self._run_job(job, slot)
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

    async def _run_job(self, job: Job, slot: WorkerSlot) -> None:
        assert slot.worker is not None
        job.start()
        try:
            header, _ = await slot.worker.ask(
                job.request(self.limits),
                timeout_s=self.limits.job_s + 4 * job.spec.budget_s,
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
            self.store.weigh(job)
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
