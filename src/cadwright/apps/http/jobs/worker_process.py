"""A worker process, seen from the server: started as a new interpreter, asked, watched, killed.

In: requests for a role (see ``worker.child``). Out: events on the way and one reply, or an error
that says how the process ended. All of it runs in the event loop, which reads no upload itself.
Not covered: which request comes next (``service``), what is done with it (``worker``).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cadwright
from cadwright.errors import CadwrightError
from cadwright.program._worker_process import (
    NEARLY_ALL,
    OUT_OF_MEMORY,
    allocated_mb,
    last_words,
)

Header = dict[str, Any]
OnEvent = Callable[[Header], None]

START_LIMIT_S = 300.0  # importing takes seconds, on a starved machine minutes
CANCEL_GRACE_S = 2.0  # for a worker to stop by itself and stay warm
MOST_HEADER, MOST_DATA = 4 << 20, 256 << 20  # bytes that a worker may answer
WATCH_S = 0.5  # between looks at a worker's memory
# -c puts the working folder on the path, where a stray numpy.py would be taken for the real one
START = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.insert(0, sys.argv[1]); "
    "import cadwright.apps; del sys.path[0]; import importlib; "
    "importlib.import_module(sys.argv[2]).main()"
)
CHILD = "cadwright.apps.http.worker.child"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What every worker is started with.

    Attributes:
        model, tokenizer, device: as ``Reconstructor`` takes them.
        memory_mb: that it may allocate.
        build_s: limit of one exact build.
        child: the module whose ``main`` is run; tests put simpler ones there.
    """

    model: str = "embedded"
    tokenizer: str | None = None
    device: str = "auto"
    memory_mb: int = 4096
    build_s: float = 30.0
    child: str = CHILD


class WorkerDied(CadwrightError):
    """The process ended before it answered: a crash, or somebody killed it."""


class OutOfTime(CadwrightError):
    """The process was killed at its limit of time."""


class OutOfMemory(CadwrightError):
    """The process died at its limit of memory."""


class BrokenWorker(CadwrightError):
    """The process cannot start, and another one could not either."""


class Worker:
    """One child process of a role. For one request at a time.

    Attributes:
        facts: what it said when it was ready.
        num_requests: answered so far.
    """

    def __init__(self, role: str, options: WorkerOptions) -> None:
        self.role, self.options = role, options
        self.facts: Header = {}
        self.num_requests = 0
        self.peak_mb = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._errors = tempfile.TemporaryFile()

    @property
    def pid(self) -> int | None:
        """Of the process; None before it was started."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process was started and did not end yet."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            BrokenWorker: it cannot be.
        """
        options = {
            "role": self.role, "model": self.options.model, "tokenizer": self.options.tokenizer,
            "device": self.options.device, "memory_mb": self.options.memory_mb,
            "build_s": self.options.build_s,
        }  # fmt: skip
        package = str(Path(cadwright.__path__[0]).parent)
        # its own session, so that Ctrl-C reaches the parent alone
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, package, self.options.child, json.dumps(options),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=self._errors,
            start_new_session=True, limit=1 << 20,
        )  # fmt: skip
        try:
            header, _ = await asyncio.wait_for(self._read(), START_LIMIT_S)
        except (asyncio.TimeoutError, TimeoutError):
            await self.kill()
            raise BrokenWorker(f"a worker did not start within {START_LIMIT_S:g} seconds") from None
        except asyncio.IncompleteReadError:
            words = await self.kill()
            raise BrokenWorker(f"a worker did not start: {words}") from None
        if header["event"] != "ready":
            await self.kill()
            raise BrokenWorker(header["detail"])
        self.facts = header

    async def ask(
        self,
        request: Header,
        *,
        timeout_s: float,
        on_event: OnEvent | None = None,
        cancelled: asyncio.Event | None = None,
    ) -> tuple[Header, bytes]:
        """Send one request and wait for its reply.

        Args:
            request: with ``do`` and ``folder``.
            timeout_s: after which the process is killed.
            on_event: called with what comes before the reply.
            cancelled: set when nobody wants the reply any more.
        Returns:
            The reply's header and its bytes, if it has any.
        Raises:
            WorkerDied, OutOfTime, OutOfMemory: the process is gone, and this is why.
        """
        assert self._process is not None and self._process.stdin is not None
        self.num_requests += 1
        watch = asyncio.create_task(self._watch())
        ending = asyncio.create_task(self._cancel_later(cancelled)) if cancelled else None
        try:
            self._send(request)
            return await asyncio.wait_for(self._reply(on_event), timeout_s)
        except (asyncio.TimeoutError, TimeoutError):
            await self.kill()
            raise OutOfTime(f"it was not done within {timeout_s:g} seconds") from None
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            raise await self._death() from None
        except asyncio.CancelledError:
            await self.kill()  # the reply would be taken for that of the next request
            raise
        finally:
            watch.cancel()
            if ending is not None:
                ending.cancel()

    async def kill(self) -> str:
        """End the process, which holds nothing that needs saving; its last words."""
        if self._process is None:
            return ""
        if self._process.returncode is None:
            # not Process.kill: that may collect the exit status before asyncio does, which loses it
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return last_words(self._errors)

    def _send(self, request: Header) -> None:
        assert self._process is not None and self._process.stdin is not None
        text = json.dumps({**request, "arrays": []}).encode()
        self._process.stdin.write(struct.pack("<Q", len(text)) + text)

    async def _reply(self, on_event: OnEvent | None) -> tuple[Header, bytes]:
        while True:
            header, data = await self._read()
            if header["event"] in ("done", "error", "cancelled"):
                return header, data
            if on_event is not None:
                on_event(header)

    async def _read(self) -> tuple[Header, bytes]:
        """One message of the form that ``program._messages.send`` writes."""
        assert self._process is not None and self._process.stdout is not None
        stdout = self._process.stdout
        (size,) = struct.unpack("<Q", await stdout.readexactly(8))
        if size > MOST_HEADER:
            raise ValueError("a worker's answer is too long")
        header: Header = json.loads(await stdout.readexactly(size))
        data = b""
        for one in header.pop("arrays"):
            length = np.dtype(one["dtype"]).itemsize * int(np.prod(one["shape"], dtype=np.int64))
            if length + len(data) > MOST_DATA:
                raise ValueError("a worker's answer is too long")
            data += await stdout.readexactly(length)
        return header, data

    async def _watch(self) -> None:
        while self._process is not None and self.is_alive:
            self.peak_mb = max(self.peak_mb, allocated_mb(self._process.pid))
            await asyncio.sleep(WATCH_S)

    async def _cancel_later(self, cancelled: asyncio.Event) -> None:
        await cancelled.wait()
        with suppress(ConnectionError):
            self._send({"do": "cancel"})
        await asyncio.sleep(CANCEL_GRACE_S)
        await self.kill()

    async def _death(self) -> CadwrightError:
        assert self._process is not None
        with suppress(asyncio.TimeoutError, TimeoutError):  # it closed its pipe, so it is ending
            await asyncio.wait_for(self._process.wait(), CANCEL_GRACE_S)
        words = await self.kill()
        code = self._process.returncode or 0
        if code == -signal.SIGPROF:
            return OutOfTime("it took more time of the processor than one part may take here")
        starved = self.peak_mb > NEARLY_ALL * self.options.memory_mb
        if starved or any(name in words for name in OUT_OF_MEMORY):
            return OutOfMemory("it needs more memory than one part may take here")
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerDied(f"the process that worked on it ended ({reason})")
