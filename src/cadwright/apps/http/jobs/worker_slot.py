"""A place for one worker of a role: a new process comes where the old one ended or is used up.

In: a role. Out: a worker that is alive and waits for a request. Not covered: the process itself
(``worker_process``), what it is asked (``service``, ``edit_queue``).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cadwright.apps.http.jobs.worker_process import Worker, WorkerOptions


class WorkerSlot:
    """A place for one worker of a role; a new one comes where the old one ended.

    Args:
        role: of its workers.
        options: they are started with.
        recycle_after: requests after which a worker is replaced.
    """

    def __init__(self, role: str, options: WorkerOptions, *, recycle_after: int) -> None:
        self.role, self.options, self.recycle_after = role, options, recycle_after
        self.worker: Worker | None = None
        self.num_started = 0

    async def ready(self) -> Worker:
        """A worker that is alive and waits for a request.

        Raises:
            BrokenWorker: none can be started.
        """
        worker = self.worker
        if worker is not None and worker.num_requests >= self.recycle_after:
            await worker.kill()
        if worker is None or not worker.is_alive:
            worker = self.worker = Worker(self.role, self.options)
            self.num_started += 1
            await worker.start()
        return worker

    async def stop(self) -> None:
        """End the worker."""
        if self.worker is not None:
            await self.worker.kill()

    def resident_mb(self) -> float:
        """Memory that the worker's process really has, MB (Linux)."""
        pid = None if self.worker is None else self.worker.pid
        return 0.0 if pid is None else resident_mb(pid)


def resident_mb(pid: int | None = None) -> float:
    """Resident memory of a process, MB; 0 where it is gone or the system is not Linux."""
    path = Path(f"/proc/{os.getpid() if pid is None else pid}/statm")
    with suppress(OSError):
        return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0
