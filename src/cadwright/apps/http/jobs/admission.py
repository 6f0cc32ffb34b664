"""Whether there is room for one more job: of this client, in the queue, on the disk.

In: a client's name. Out: nothing, or the problem that says why not. What is being uploaded counts
like a job that waits. Not covered: turns between clients (``fair_queue``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cadwright.apps.http.jobs.job_store import JobStore
from cadwright.apps.http.limits import Limits
from cadwright.apps.http.problem_details import too_many, unavailable


class Admission:
    """Counts what there is of each client.

    Args:
        limits: of the server.
        store: all jobs.
    """

    def __init__(self, limits: Limits, store: JobStore) -> None:
        self.limits, self.store = limits, store
        self._arriving: Counter[str] = Counter()

    def check(self, client: str) -> None:
        """Refuse what would be too much, before anything is uploaded.

        Raises:
            Problem: 503 where the server is full, 429 where the client has enough.
        """
        unfinished = [job for job in self.store if not job.is_final]
        waiting = sum(job.state == "queued" for job in unfinished) + self._arriving.total()
        if waiting >= self.limits.queued:
            raise unavailable(f"{waiting} jobs wait already; try again later", slug="full")
        if sum(job.num_bytes for job in unfinished) >= self.limits.stored_bytes:
            raise unavailable("what waits fills the server's disk; try again later", slug="full")
        own = sum(job.client == client for job in unfinished) + self._arriving[client]
        if own >= self.limits.queued_a_client:
            raise too_many(f"{own} of your jobs wait or run already; try again when one is done")

    @contextmanager
    def arriving(self, client: str) -> Iterator[None]:
        """Count an upload for as long as the block runs.

        Raises:
            Problem: as ``check``.
        """
        self.check(client)
        self._arriving[client] += 1
        try:
            yield
        finally:
            self._arriving[client] -= 1
            self._arriving += Counter()  # forgets clients of whom nothing is left
