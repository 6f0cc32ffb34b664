"""Program -> exact solid by CadQuery and OpenCASCADE, in worker processes (parent side).

In: a program's tree, or the path of a STEP file. Out: a ``SolidResult`` with a watertight
mesh and exact figures, and on request a STEP file. Workers are started as new interpreters
(a forked OpenCASCADE hangs), killed on time and memory limits, replaced after a crash and
after a number of programs (the kernel leaks). This side never loads OpenCASCADE.

The memory limit is the system's (RLIMIT_DATA, see ``_worker``) and holds on Linux only;
elsewhere the time limit alone protects.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cadwright.errors import InputError
from cadwright.geometry.frames import Placement
from cadwright.program._messages import Message, node_to_json
from cadwright.program._worker_process import WorkerProcess
from cadwright.program.grammar import Program
from cadwright.types import BuildResult, FloatArray, Mesh, Outcome

LEAST_MEMORY_MB = 512  # an idle worker has 250 of its own
_temporary_numbers = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class SolidResult(BuildResult):
    """What the exact kernel answers; fields of ``BuildResult`` and, where OK, these.

    Attributes:
        num_faces: faces of the exact solid, after CadQuery's clean.
        num_solids: separate solids; two that touch in an edge or a point are two.
        bounds: (2, 3) float64, lower and upper corner of the exact solid, the program's frame.
            The mesh lies within: polygons cut the corners of round shapes.
        step_path: the STEP file, where one was asked for.
    """

    num_faces: int = 0
    num_solids: int = 0
    bounds: FloatArray | None = None
    step_path: Path | None = None


class _Slot:
    """A place for one worker, used by one thread at a time."""

    def __init__(self, memory_mb: int) -> None:
        self.memory_mb = memory_mb
        self.worker: WorkerProcess | None = None

    def start(self) -> WorkerProcess:
        """The worker of this slot, a new one where there is none alive; does not wait for it."""
        if self.worker is None or not self.worker.is_alive():
            self.worker = WorkerProcess(self.memory_mb)
        return self.worker

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.kill()


class ExactKernel:
    """A pool of worker processes that build programs exactly.

    Safe to use from several threads; each call holds one worker. A context manager::

        with ExactKernel() as kernel:
            result = kernel.build(program, step_path="part.step")

    Args:
        num_workers: processes; each takes 0.5 GB and one core.
        timeout_s: wall-clock limit of one program, from the moment a worker is ready.
        memory_mb: what one worker may allocate (Linux), at least 512; an idle one has 250.
        recycle_after: programs after which a worker is replaced, in case the kernel leaks; a new
            one takes as long to start as 100 programs.
    """

    def __init__(
        self,
        num_workers: int = 1,
        timeout_s: float = 30.0,
        memory_mb: int = 4096,
        recycle_after: int = 500,
    ) -> None:
        if min(num_workers, timeout_s, recycle_after) <= 0:
            raise ValueError("num_workers, timeout_s and recycle_after must be greater than 0")
        if memory_mb < LEAST_MEMORY_MB:
            raise ValueError(f"memory_mb must be at least {LEAST_MEMORY_MB}")
        self.num_workers, self.timeout_s, self.recycle_after = num_workers, timeout_s, recycle_after
        self._slots = [_Slot(memory_mb) for _ in range(num_workers)]
        self._idle: queue.LifoQueue[_Slot] = queue.LifoQueue()  # the warm one first
        for slot in self._slots:
            self._idle.put(slot)
        self._closed, self._owner = threading.Event(), os.getpid()
        self._finalizer = weakref.finalize(self, _stop_all, self._slots)

    def __enter__(self) -> ExactKernel:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers. A build in another thread then gives CRASH."""
        self._closed.set()
        self._finalizer()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers alive now, for monitoring."""
        workers = [slot.worker for slot in self._slots]
        return [w.process.pid for w in workers if w is not None and w.is_alive()]

    def warm_up(self) -> None:
        """Start all workers without waiting for them (each imports OpenCASCADE, 4 s)."""
        slots = []
        with suppress(queue.Empty):
            while True:
                slots.append(self._idle.get_nowait())
        for slot in reversed(slots):
            slot.start()
            self._idle.put(slot)

    def build(
        self,
        program: Program,
        *,
        step_path: str | os.PathLike[str] | None = None,
        placement: Placement | None = None,
        tolerance: float = 0.001,
        angular: float = 0.1,
    ) -> SolidResult:
        """Build one program.

        Args:
            program: the tree, in the PROGRAM frame or any other.
            step_path: file to write; it appears whole, or not at all.
            placement: from the program's frame to that of the STEP file (USER).
            tolerance: largest distance of a triangle, as a share of its edge's length.
            angular: largest angle between neighbouring segments of a curve, rad.

        Returns:
            OK with mesh (the program's frame, whatever the placement) and exact figures;
            else the outcome and why. A broken program never raises.

        Raises:
            InputError: the STEP file cannot be written.
            MissingDependencyError: CadQuery is not installed.
            CadwrightError: no worker comes up.
        """
        request: dict[str, Any] = {"do": "build", "program": node_to_json(program)}
        request |= {"tolerance": tolerance, "angular": angular}
        if step_path is None:
            if placement is not None:
                raise ValueError("a placement has a meaning for a STEP file only")
            return _to_result(*self._ask(request), None)
        path = Path(step_path)
        temporary = _temporary_beside(path)
        request |= {"step_path": str(temporary), "step_name": _ascii_name(path)}
        if placement is not None:
            turn = None if placement.rotation is None else placement.rotation.tolist()
            request["placement"] = [placement.scale, placement.offset.tolist(), turn]
        try:
            header, arrays = self._ask(request)
            if header["outcome"] == "unusable_file":
                raise InputError(f"cannot write '{path}': {header['message']}")
            if header["outcome"] == "ok":
                os.replace(temporary, path)
            return _to_result(header, arrays, path)
        finally:
            temporary.unlink(missing_ok=True)

    def build_many(
        self, programs: Iterable[Program], *, tolerance: float = 0.001, angular: float = 0.1
    ) -> Iterator[SolidResult]:
        """Build programs with all workers; results come in the programs' order.

        At most twice as many programs as workers are taken ahead of the result asked for.
        """
        running: deque[Future[SolidResult]] = deque()
        with ThreadPoolExecutor(self.num_workers) as threads:
            try:
                for program in programs:
                    running.append(
                        threads.submit(self.build, program, tolerance=tolerance, angular=angular)
                    )
                    if len(running) > 2 * self.num_workers:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                for future in running:
                    future.cancel()

    def step_to_mesh(
        self, path: str | os.PathLike[str], *, tolerance: float = 0.001, angular: float = 0.1
    ) -> Mesh:
        """Read a STEP file and tessellate it, under the same limits as a program.

        Args:
            path: the file; its own unit is converted to millimetres.
            tolerance: as in ``build``.
            angular: as in ``build``.

        Returns:
            The mesh in the USER frame, millimetres; open where the file holds open surfaces.

        Raises:
            InputError: no such file, not STEP, no surface in it, or too much for the limits.
            MissingDependencyError: CadQuery is not installed.
        """
        file = Path(path)
        try:
            with file.open("rb") as stream:
                stream.read(1)
        except OSError as error:
            raise InputError(f"cannot read '{file}': {error.strerror or error}") from error
        request = {"do": "read_step", "path": str(file)}
        header, arrays = self._ask({**request, "tolerance": tolerance, "angular": angular})
        if header["outcome"] != "ok":
            raise InputError(f"cannot read '{file}': {header['message']}")
        return Mesh(arrays[0], arrays[1])

    def _ask(self, request: dict[str, Any]) -> Message:
        if self._closed.is_set():
            raise RuntimeError("this ExactKernel is closed")
        if self._owner != os.getpid():  # both would read the same pipes
            raise RuntimeError("an ExactKernel cannot be used after a fork: make a new one")
        slot = self._idle.get()
        try:
            worker = slot.start()
            reply = worker.ask(request, self.timeout_s)
            worn = worker.num_requests >= self.recycle_after or reply[0]["outcome"] == "memory"
            if worn and worker.is_alive():
                worker.kill()
            slot.start()  # the next call shall not have to wait for all of the import
            if self._closed.is_set():
                slot.stop()
            return reply
        finally:
            self._idle.put(slot)


def _stop_all(slots: list[_Slot]) -> None:
    for slot in slots:
        slot.stop()


def _to_result(header: dict[str, Any], arrays: list[Any], path: Path | None) -> SolidResult:
    outcome = Outcome(header["outcome"])
    if outcome is not Outcome.OK:
        return SolidResult(outcome, message=header["message"], seconds=header["seconds"])
    return SolidResult(
        outcome,
        mesh=Mesh(arrays[0], arrays[1]),
        volume=header["volume"],
        seconds=header["seconds"],
        num_faces=header["num_faces"],
        num_solids=header["num_solids"],
        bounds=np.array(header["bounds"], dtype=np.float64),
        step_path=path,
    )


def _temporary_beside(path: Path) -> Path:
    """A name in the same folder, so that a rename puts the finished file in place."""
    if not path.parent.is_dir():
        raise InputError(f"cannot write '{path}': the folder does not exist")
    if path.is_dir():
        raise InputError(f"cannot write '{path}': it is a folder")
    return path.parent / f".{path.name}.{os.getpid()}-{next(_temporary_numbers)}.part"


def _ascii_name(path: Path) -> str:
    """The file's name without suffix, as STEP's ASCII strings can hold it."""
    return "".join(c if c.isascii() and c.isprintable() and c != "'" else "_" for c in path.stem)
