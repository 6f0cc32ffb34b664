"""Processes that build pools ahead of the training, and end when it ends.

In: a SampleStream and the number of a pool. Out: pools in order, for any number of workers.
Not covered: what is in a pool (stream).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from cadwright.data.stream import Pool, SampleStream
from cadwright.errors import CadwrightError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class _PoolDataset(IterableDataset[Pool | CadwrightError]):
    """Worker w of n yields the pools first + w, first + w + n, ...

    An error meant for people is yielded, too: raised, the loader would wrap it in a trace.
    """

    def __init__(self, stream: SampleStream, first: int) -> None:
        self._stream, self._first = stream, first

    def __iter__(self) -> Iterator[Pool | CadwrightError]:
        worker = get_worker_info()
        number = self._first + (worker.id if worker else 0)
        step = worker.num_workers if worker else 1
        while True:
            try:
                yield self._stream.pool(number)
            except CadwrightError as error:
                yield error
                return
            number += step


class _SettleWorker:
    """Keeps a worker off the cores that train, and lets it die with its parent.

    Args:
        parent: process id of the training process.
    """

    def __init__(self, parent: int) -> None:
        self._parent = parent

    def __call__(self, worker: int) -> None:
        torch.set_num_threads(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
        if sys.platform == "linux":
            # SIGKILL leaves the parent no time to stop its workers. The loader's own watch
            # looks up only between two pools.
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._parent:  # it died before the call
                os._exit(1)


def stream_pools(stream: SampleStream, *, first: int, workers: int) -> Iterator[Pool]:
    """Pools ``first``, ``first + 1``, ... without end, in this order for any ``workers``.

    The loader asks the workers in turn, so whole pools come out in order. Workers are
    spawned, not forked: the parent may already have used the kernel's threads.

    Args:
        stream: what builds a pool.
        first: number of the first pool.
        workers: processes that build pools ahead; 0 builds them here, when asked.

    Raises:
        InputError: too many draws of a pool failed or were too long.
    """
    loader: DataLoader[Pool | CadwrightError] = DataLoader(
        _PoolDataset(stream, first),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_SettleWorker(os.getpid()) if workers else None,
        generator=torch.Generator(),  # so that the loader takes no number from the global one
    )
    for item in loader:
        if isinstance(item, CadwrightError):
            raise item
        yield item
