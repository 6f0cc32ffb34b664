"""Jobs that wait, taken in turns: one of each client, then one of each client again.

In: jobs with the client they are of. Out: the next one. A client with a hundred jobs delays one
with a single job by one job, not by a hundred. Not covered: how many may wait (``service``).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out for each client; round robin between clients. For one event loop."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._waiting.values())

    def put(self, client: str, job: T, *, first: bool = False) -> None:
        """Add a job; ``first`` before all others, for one that was started before."""
        jobs = self._waiting.setdefault(client, deque())
        if first:
            jobs.appendleft(job)
            self._waiting.move_to_end(client, last=False)
        else:
            jobs.append(job)
        self._changed.set()

    def wake(self) -> None:
        """Let ``awake`` return although nothing waits."""
        self._changed.set()

    async def awake(self) -> None:
        """Wait until something waits, or somebody called ``wake``."""
        if not self._waiting:
            self._changed.clear()
            await self._changed.wait()

    async def get(self) -> T:
        """The next job; waits until there is one."""
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        client, jobs = next(iter(self._waiting.items()))
        job = jobs.popleft()
        del self._waiting[client]
        if jobs:
            self._waiting[client] = jobs  # behind all others
        return job

    def remove(self, job: T) -> bool:
        """Take a job out, wherever it waits; whether it did."""
        for client, jobs in self._waiting.items():
            if job in jobs:
                jobs.remove(job)
                if not jobs:
                    del self._waiting[client]
                return True
        return False

    def clear(self) -> list[T]:
        """Take all out, in the order in which they would have come."""
        jobs = self.in_order()
        self._waiting.clear()
        return jobs

    def in_order(self) -> list[T]:
        """All jobs in the order in which they would come if none were added."""
        rows = [list(jobs) for jobs in self._waiting.values()]
        longest = max((len(row) for row in rows), default=0)
        return [row[turn] for turn in range(longest) for row in rows if turn < len(row)]
