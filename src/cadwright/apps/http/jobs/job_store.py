"""All jobs by their id, with the folder of each.

In: new jobs. Out: the same again, or that they are gone: finished jobs expire, their folder goes,
and their id is remembered. Not covered: what is in the folders (``job_files``).
"""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe

from cadwright.apps.http.jobs.job import Job
from cadwright.apps.http.jobs.job_files import TMP
from cadwright.apps.http.problem_details import gone, not_found

REMEMBERED = 10_000  # ids of jobs that are gone


class JobStore:
    """All jobs, by id, and the folder that holds theirs.

    Args:
        root: a folder of its own.
        keep_s: seconds for which finished jobs are kept.
        kept: how many of them.
        stored_bytes: of all folders together.
    """

    def __init__(self, root: Path, *, keep_s: float, kept: int, stored_bytes: int) -> None:
        self.root, self.keep_s, self.kept = root, keep_s, kept
        self.stored_bytes = stored_bytes
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
        self.weigh(job)

    def weigh(self, job: Job) -> None:
        """Note how much its folder holds."""
        job.num_bytes = 0
        for path in job.folder.rglob("*"):
            with suppress(OSError):  # a worker may be clearing away what it wrote on the side
                job.num_bytes += path.stat().st_size

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
        """Drop finished jobs that are too old, too many or too large; how many were dropped."""
        finished = sorted((job for job in self if job.is_final), key=lambda job: job.last_used)
        left, size = len(finished), sum(job.num_bytes for job in self)
        for job in finished:
            is_old = time.monotonic() - job.last_used > self.keep_s
            if not is_old and left <= self.kept and size <= self.stored_bytes:
                break  # those that follow were used later
            self.drop(job)
            left, size = left - 1, size - job.num_bytes
        return len(finished) - left
