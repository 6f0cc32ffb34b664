"""The parent's handle on one worker of the exact kernel: start it, ask it, end it.

In: requests (see ``_messages``). Out: replies, or an outcome that says how the process ended.
Not covered: what a request means (``_worker``) and the pool (``program_to_solid``).
"""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import cadwright
from cadwright.errors import CadwrightError, MissingDependencyError
from cadwright.program._messages import Message, receive, send

OUT_OF_MEMORY = ("bad_alloc", "OutOfMemory", "MemoryError")  # last words of a dying kernel
START_LIMIT_S = 300.0  # importing OpenCASCADE takes 4 s, on a starved machine a hundred
NEARLY_ALL = 0.75  # of the limit; who dies above it died of it (often as a plain SIGSEGV)
POLL_S = 0.1
# -c puts the working folder on the path, where a stray cadquery.py would be taken for the real one
START_WORKER = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.insert(0, sys.argv[1]); "
    "import cadwright.program; del sys.path[0]; from cadwright.program import _worker; "
    "_worker.main()"
)


class WorkerProcess:
    """One child process and the thread that reads its replies.

    It ends with its parent: at the end of its stdin, and in a long computation by its
    own alarm. Its stderr is kept for the message of a crash, and never shown.
    """

    def __init__(self, memory_mb: int) -> None:
        package = Path(cadwright.__path__[0]).parent
        command = [sys.executable, "-c", START_WORKER, str(package), str(memory_mb)]
        self._errors = tempfile.TemporaryFile()
        # its own session, so that Ctrl-C reaches the parent alone
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,
        )
        self.num_requests = 0
        self._memory_mb, self._peak_mb = memory_mb, 0.0
        self._ready = False
        self._lock = threading.Lock()
        self._last_words: str | None = None
        self._replies: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._read_replies, daemon=True).start()

    def _read_replies(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            while (reply := receive(stdout.fileno())) is not None:
                self._replies.put(reply)
        self._replies.put(None)

    def _wait_until_ready(self) -> None:
        try:
            reply = self._replies.get(timeout=START_LIMIT_S)
        except queue.Empty:
            self.kill()
            raise CadwrightError(
                f"the exact kernel did not start within {START_LIMIT_S:g} seconds"
            ) from None
        if reply is None:
            raise CadwrightError(f"the exact kernel did not start: {self.kill()}")
        if not reply[0]["ready"]:
            self.kill()
            raise MissingDependencyError(
                "the exact kernel needs the package 'cadquery': pip install 'cadwright[cad]' "
                f"({reply[0]['message']})"
            )
        self._ready = True

    def ask(self, request: dict[str, Any], timeout_s: float) -> Message:
        """Send one request and wait for the reply; without one the process is dead afterwards.

        Raises:
            MissingDependencyError: CadQuery cannot be imported.
            CadwrightError: the process does not come up.
        """
        assert self.process.stdin is not None
        started = time.perf_counter()
        try:
            if not self._ready:
                self._wait_until_ready()
            started = time.perf_counter()
            self.num_requests += 1
            with suppress(BrokenPipeError):  # it died meanwhile, and the reader says so below
                send(self.process.stdin.fileno(), {**request, "timeout_s": timeout_s})
            reply = self._wait_for_reply(started + timeout_s)
        except queue.Empty:
            self.kill()
            header = {"outcome": "timeout", "message": f"not done within {timeout_s:g} seconds"}
            return {**header, "seconds": time.perf_counter() - started}, []
        except BaseException:  # Ctrl-C: the reply would be taken for that of the next request
            self.kill()
            raise
        if reply is None:
            return {**self._death(), "seconds": time.perf_counter() - started}, []
        return reply

    def _wait_for_reply(self, deadline: float) -> Message | None:
        """The reply, or None for a death; notes on the way how much memory is taken."""
        while True:
            patience = min(POLL_S, max(deadline - time.perf_counter(), 0.0))
            with suppress(queue.Empty):
                return self._replies.get(timeout=patience)
            if patience < POLL_S:
                raise queue.Empty
            self._peak_mb = max(self._peak_mb, allocated_mb(self.process.pid))

    def _death(self) -> dict[str, Any]:
        words = self.kill()
        starved = self._peak_mb > NEARLY_ALL * self._memory_mb
        if starved or any(name in words for name in OUT_OF_MEMORY):
            message = f"the kernel needed more than {self._memory_mb} MB"
            return {"outcome": "memory", "message": message}
        code = self.process.returncode
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        message = f"the kernel's process died: {reason} {words}".strip()
        return {"outcome": "crash", "message": message}

    def is_alive(self) -> bool:
        return self.process.poll() is None and not self._is_dying()

    def _is_dying(self) -> bool:
        """Killed, but with threads that are not gone yet, so not yet to be waited for (Linux)."""
        try:
            with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
                return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
        except OSError:  # no /proc here, or already gone: then poll() has the answer
            return self.process.poll() is not None

    def kill(self) -> str:
        """End the process, which holds nothing that needs saving.

        Returns:
            The last line that it wrote to stderr.
        """
        with self._lock:
            self.process.kill()
            self.process.wait()
            if self._last_words is None:
                assert self.process.stdin is not None
                self.process.stdin.close()
                self._last_words = last_words(self._errors)
            return self._last_words


def last_words(errors: IO[bytes]) -> str:
    """The last line that an ended process wrote to stderr; empty where the file is closed.

    Args:
        errors: the file it wrote to; closed afterwards.
    """
    if errors.closed:
        return ""
    with errors:
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    return (text.strip().splitlines() or [""])[-1]


def allocated_mb(pid: int) -> float:
    """What RLIMIT_DATA counts of a process, MB; 0 where it is gone or the system is not Linux."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmData:")]
    return float(sizes[0]) / 1024 if sizes else 0.0
