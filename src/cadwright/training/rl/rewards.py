"""Program texts and targets -> rewards, by the scorer that selection and evaluation use.

In: a solid (PROGRAM frame) and texts as a model wrote them. Out: a grade for each: IoU, reward and
outcome, from the fast kernel, in worker processes that are killed on a time limit. Imports no
torch, so that workers start quickly. Not covered: what the rewards are for (policy_loss).
"""

from __future__ import annotations

import math
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from cadwright.errors import CadwrightError, GeometryError, ProgramError, UnsupportedError
from cadwright.geometry.mesh_io import Shape
from cadwright.inference.candidates import Candidate, Scorer
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import BuildResult, Mesh, Outcome

FIT_REWARD, INVALID_REWARD = 10.0, -10.0  # cadrille, arXiv 2505.22914, section 4.4
START_LIMIT_S = 300.0  # importing takes a second, on a starved machine a hundred
TARGET_LIMIT_S = 60.0  # a target of millions of triangles takes seconds

Build = Callable[[Program], BuildResult]


@dataclass(frozen=True, slots=True)
class Grade:
    """What a program is worth.

    Attributes:
        iou: with the target, nothing forgiven; 0 where the program gives no solid.
        outcome: OK, or why there is no solid.
    """

    iou: float
    outcome: Outcome

    @property
    def reward(self) -> float:
        """10 x IoU, or -10 where there is no solid."""
        return FIT_REWARD * self.iou if self.outcome is Outcome.OK else INVALID_REWARD


CUT_OFF = Grade(0.0, Outcome.SYNTAX)
"""Of a program that the limit of tokens ended: whatever its beginning would build."""


def mesh_to_scorer(target: Mesh) -> Scorer:
    """The scorer of a target.

    Args:
        target: a closed mesh, PROGRAM frame.

    Raises:
        GeometryError: it encloses no volume, so that IoU has no meaning.
    """
    scorer = Scorer(Shape("target", target, None, "solid"), seed=0)
    if not scorer.is_solid:
        raise GeometryError(f"a reward needs a solid: {scorer.reason}")
    return scorer


def text_to_grade(text: str, scorer: Scorer, *, build: Build = program_to_mesh) -> Grade:
    """Parse, build and measure one text.

    Args:
        text: as the model wrote it.
        scorer: of the target.
        build: another kernel than the fast one, for comparisons.
    """
    try:
        program = text_to_program(text)
    except UnsupportedError:
        return Grade(0.0, Outcome.UNSUPPORTED)
    except ProgramError:
        return Grade(0.0, Outcome.SYNTAX)
    if build is program_to_mesh:
        found = scorer.candidate(program, "model")
        if isinstance(found, Candidate):
            return Grade(found.fit, Outcome.OK)
        return Grade(0.0, found.outcome)
    built = build(program)
    if built.mesh is None:
        return Grade(0.0, built.outcome)
    try:
        return Grade(scorer.fit(built.mesh), Outcome.OK)
    except GeometryError:
        return Grade(0.0, Outcome.INVALID)


class RewardPool:
    """Grades groups of texts in worker processes. A context manager.

    A text during which a worker hangs or dies gets TIMEOUT or CRASH, and a new worker goes on
    behind it. Equal texts of a group are graded once.

    Args:
        num_workers: processes; 0 grades in this one, without a time limit.
        timeout_s: limit of one text.
        grade: from text and scorer to grade; must be picklable.
    """

    def __init__(
        self,
        num_workers: int = 1,
        *,
        timeout_s: float = 10.0,
        grade: Callable[[str, Scorer], Grade] = text_to_grade,
    ) -> None:
        if num_workers < 0 or not 0 < timeout_s < math.inf:
            raise ValueError("num_workers must not be negative and timeout_s greater than 0")
        self.num_workers, self.timeout_s, self._grade = num_workers, timeout_s, grade
        self._workers: list[_Worker | None] = [None] * num_workers
        self._closed = threading.Event()
        self._idle: queue.LifoQueue[int] = queue.LifoQueue()
        for number in range(num_workers):
            self._idle.put(number)
        self._threads = ThreadPoolExecutor(max(num_workers, 1), thread_name_prefix="reward")

    def __enter__(self) -> RewardPool:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        self._closed.set()
        for worker in self._workers:
            if worker is not None:
                worker.end()
        self._threads.shutdown(cancel_futures=True)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that were started, for monitoring."""
        return [worker.pid for worker in self._workers if worker is not None]

    def submit(self, target: Mesh, texts: Sequence[str]) -> Future[list[Grade]]:
        """Begin to grade a group; the future gives a grade for each text.

        Args:
            target: a closed mesh, PROGRAM frame.
            texts: as the model wrote them.
        """
        if self.num_workers:
            return self._threads.submit(self._grade_group, target, list(texts))
        done: Future[list[Grade]] = Future()
        done.set_result(_spread(texts, _grade_here(target, _distinct(texts), self._grade)))
        return done

    def grade(self, target: Mesh, texts: Sequence[str]) -> list[Grade]:
        """Grade a group and wait for it.

        Raises:
            GeometryError: the target encloses no volume.
            CadwrightError: no worker comes up.
        """
        return self.submit(target, texts).result()

    def _grade_group(self, target: Mesh, texts: list[str]) -> list[Grade]:
        """One worker after another, until every text has its grade."""
        distinct = _distinct(texts)
        grades: list[Grade] = []
        number = self._idle.get()
        try:
            while len(grades) < len(distinct):
                if self._closed.is_set():
                    raise CadwrightError("the rewards are not computed: the pool was closed")
                worker = self._workers[number]
                if worker is None:
                    worker = self._workers[number] = _Worker(self._grade)
                grades += worker.ask(target, distinct[len(grades) :], self.timeout_s)
                if not worker.is_alive:
                    self._workers[number] = None
        finally:
            self._idle.put(number)
        return _spread(texts, grades)


class _Worker:
    """A child process, as its parent sees it."""

    def __init__(self, grade: Callable[[str, Scorer], Grade]) -> None:
        # Spawned, not forked: the parent's torch has threads.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, grade), daemon=True)
        self._process.start()
        theirs.close()
        self.is_alive = True
        if self._receive(START_LIMIT_S) != "ready":
            raise CadwrightError("a worker that computes rewards did not start")

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def ask(self, target: Mesh, texts: Sequence[str], timeout_s: float) -> list[Grade]:
        """Grades of the texts; fewer where it was lost, the last of them saying why."""
        grades: list[Grade] = []
        limit_s = TARGET_LIMIT_S + timeout_s
        try:
            self._pipe.send((target.vertices, target.faces, list(texts)))
        except OSError:
            self.kill()
            return [Grade(0.0, Outcome.CRASH)]
        while len(grades) < len(texts):
            answer = self._receive(limit_s)
            if isinstance(answer, Outcome):
                self.kill()
                return [*grades, Grade(0.0, answer)]
            if isinstance(answer, str):
                raise GeometryError(answer)
            grades.append(Grade(answer[0], Outcome(answer[1])))
            limit_s = timeout_s
        return grades

    def end(self) -> None:
        """End the process; who waits for an answer, in another thread, gets CRASH."""
        self.is_alive = False
        self._process.kill()
        self._process.join()

    def kill(self) -> None:
        self.end()
        self._pipe.close()

    def _receive(self, limit_s: float) -> Any:
        """The next message, or TIMEOUT or CRASH."""
        try:
            return self._pipe.recv() if self._pipe.poll(limit_s) else Outcome.TIMEOUT
        except (EOFError, OSError):
            return Outcome.CRASH


def _serve(pipe: Connection, grade: Callable[[str, Scorer], Grade]) -> None:
    """The child: groups come in, a grade goes out as soon as it is known."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    pipe.send("ready")
    while True:
        try:
            vertices, faces, texts = pipe.recv()
        except EOFError:  # the parent is gone
            return
        try:
            scorer = mesh_to_scorer(Mesh(vertices, faces))
        except GeometryError as error:
            pipe.send(str(error))
            continue
        for text in texts:
            one = grade(text, scorer)
            pipe.send((one.iou, one.outcome.value))


def _grade_here(
    target: Mesh, texts: Sequence[str], grade: Callable[[str, Scorer], Grade]
) -> list[Grade]:
    scorer = mesh_to_scorer(target)
    return [grade(text, scorer) for text in texts]


def _distinct(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _spread(texts: Sequence[str], grades: Sequence[Grade]) -> list[Grade]:
    """A grade for each text from those of the distinct ones."""
    by_text = dict(zip(_distinct(texts), grades, strict=True))
    return [by_text[text] for text in texts]
