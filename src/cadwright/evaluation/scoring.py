"""One part -> its figures: reads the target, builds and scores each prediction. Worker side.

In: a ``Part`` and ``ScoringOptions``. Out: an event for the target and one for each prediction, as
plain JSON values, at once when they are known, so that what is done survives the process. Texts are
parsed and interpreted, never executed. Time and memory are watched from outside (``pool``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cadwright.errors import (
    CadwrightError,
    MissingDependencyError,
    ProgramError,
    UnsupportedError,
)
from cadwright.evaluation.complexity import mesh_to_complexity
from cadwright.evaluation.predictions import PROGRAM_SUFFIXES, Part, Prediction
from cadwright.evaluation.protocol import PROTOCOLS, Protocol, ScoredTarget
from cadwright.geometry.frames import normalise
from cadwright.geometry.mesh_io import Shape, load_shape
from cadwright.program.grammar import Program, numbers
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_solid import ExactKernel
from cadwright.program.program_to_user import text_to_user_program
from cadwright.types import BuildResult, Mesh, Outcome

Kernel = Literal["fast", "exact"]
Event = dict[str, Any]

MAX_FACES = 5_000_000  # of a target or of a predicted mesh
MAX_CHARS = 1_000_000  # of a program


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """What the numbers depend on.

    Attributes:
        protocols: which to score by.
        kernel: what builds programs: "fast" or "exact".
        surface_iou: whether to measure it.
        seed: of the points drawn.
        timeout_s: limit of one prediction, reading to score; with the exact kernel, of its build.
        memory_mb: what a worker may allocate (Linux), and as much again for its exact kernel.
    """

    protocols: tuple[Protocol, ...] = PROTOCOLS
    kernel: Kernel = "fast"
    surface_iou: bool = True
    seed: int = 0
    timeout_s: float = 10.0
    memory_mb: int = 2048


class PartScorer:
    """Scores parts one after the other. A context manager; starts the exact kernel if needed."""

    def __init__(self, options: ScoringOptions) -> None:
        self.options = options
        self._exact: ExactKernel | None = None

    def __enter__(self) -> PartScorer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._exact is not None:
            self._exact.close()

    @property
    def exact(self) -> ExactKernel:
        """The exact kernel, started at the first use."""
        if self._exact is None:
            self._exact = ExactKernel(
                timeout_s=self.options.timeout_s, memory_mb=self.options.memory_mb
            )
        return self._exact

    def events(self, part: Part) -> Iterator[Event]:
        """Figures of the target first, then those of its predictions.

        A target that cannot be used has an "error", and its predictions are not looked at.

        Raises:
            MissingDependencyError: no other part would fare better.
        """
        try:
            shape = self.load(part.target)
            target = ScoredTarget(
                shape, seed=self.options.seed, surface_iou=self.options.surface_iou
            )
        except MissingDependencyError:
            raise
        except CadwrightError as error:
            yield {"event": "target", "error": str(error)}
            return
        yield {"event": "target", **_describe_target(shape, target)}
        known: dict[tuple[str, str], Event] = {}
        for prediction in part.predictions:
            started = time.perf_counter()
            event = self._prediction(target, prediction, known)
            seconds = time.perf_counter() - started
            yield {"event": "prediction", "k": prediction.k, **event, "seconds": seconds}

    def _prediction(
        self, target: ScoredTarget, prediction: Prediction, known: dict[tuple[str, str], Event]
    ) -> Event:
        """Build and score; a text that was scored before has the same score again."""
        event: Event = {}
        try:
            text = _text_of(prediction)
            if text is not None:
                if (text, prediction.frame) in known:
                    return known[text, prediction.frame]
                known[text, prediction.frame] = event
            built = self.build(prediction, event, text)
            if built.mesh is None:
                event |= {"outcome": built.outcome.value, "message": built.message}
            else:
                event |= self._score(target, built.mesh, prediction)
        except MissingDependencyError:
            raise
        except CadwrightError as error:
            event |= {"outcome": Outcome.INVALID.value, "message": str(error)}
        except MemoryError:
            event |= memory_outcome(self.options.memory_mb)
        return event

    def load(self, path: Path) -> Shape:
        """Read a mesh, a point cloud or a STEP file, its own frame."""

        def read_step(step: Path) -> Mesh:  # not the bound method: that would make a kernel
            return self.exact.step_to_mesh(step)

        return load_shape(path, step_reader=read_step, max_faces=MAX_FACES)

    def build(self, prediction: Prediction, event: Event, text: str | None = None) -> BuildResult:
        """The prediction's mesh, in the frame that it names.

        Args:
            prediction: what to read or build.
            event: gets the lengths of a program.
            text: the program, if it was read already.
        Raises:
            CadwrightError: a file cannot be read.
        """
        if text is None:
            text = _text_of(prediction)
        if text is not None:
            event["chars"] = len(text)
            return self._build_text(text, event)
        assert prediction.path is not None
        shape = self.load(prediction.path)
        if shape.mesh is None:
            return BuildResult(Outcome.INVALID, message="a point cloud is no solid")
        return BuildResult(Outcome.OK, shape.mesh)

    def _build_text(self, text: str, event: Event) -> BuildResult:
        """Interpret a program's text."""
        try:
            user = text_to_user_program(text)
        except UnsupportedError as error:
            return BuildResult(Outcome.UNSUPPORTED, message=str(error))
        except (ProgramError, RecursionError) as error:
            return BuildResult(Outcome.SYNTAX, message=str(error))
        event |= _describe_program(user.program)
        if self.options.kernel == "exact":
            built: BuildResult = self.exact.build(user.program)
        else:
            built = program_to_mesh(user.program)
        if built.mesh is None or user.rest is None:
            return built
        return BuildResult(Outcome.OK, normalise(built.mesh, user.rest))

    def _score(self, target: ScoredTarget, mesh: Mesh, prediction: Prediction) -> Event:
        scores = target.score(mesh, protocols=self.options.protocols, frame=prediction.frame)
        event: Event = {protocol: asdict(score) for protocol, score in scores.items()}
        no_volume = not target.no_iou and any(score.iou is None for score in scores.values())
        if no_volume:
            message = "the mesh is not closed, so it has no volume"
            return {"outcome": Outcome.INVALID.value, "message": message, **event}
        return {"outcome": Outcome.OK.value, **event}


def part_to_json(part: Part) -> Event:
    """A part as plain values, for the way to a worker; ``json_to_part`` reads it."""
    predictions = [
        {**asdict(one), "path": None if one.path is None else str(one.path)}
        for one in part.predictions
    ]
    return {"name": part.name, "target": str(part.target), "predictions": predictions}


def json_to_part(values: Event) -> Part:
    """The part that ``part_to_json`` took apart."""
    predictions = [
        Prediction(**{**one, "path": None if one["path"] is None else Path(one["path"])})
        for one in values["predictions"]
    ]
    return Part(values["name"], Path(values["target"]), tuple(predictions))


def memory_outcome(memory_mb: int) -> Event:
    """What a prediction counts as that needs more memory than allowed."""
    message = f"it needs more than {memory_mb} MB"
    return {"outcome": Outcome.MEMORY.value, "message": message}


def _describe_target(shape: Shape, target: ScoredTarget) -> Event:
    facts: Event = {"kind": shape.kind, "no_iou": target.no_iou}
    facts["volume"] = None if target.solid is None else target.solid.volume()
    facts["size"] = 1 / target.placement.scale
    if shape.mesh is not None:
        facts |= asdict(mesh_to_complexity(shape.mesh))
    return facts


def _describe_program(program: Program) -> Event:
    return {
        "num_bodies": len(program.bodies),
        "num_numbers": sum(1 for _ in numbers(program)),
    }


def _text_of(prediction: Prediction) -> str | None:
    """A program's text, its beginning if it is far too long for one; None for a mesh.

    Raises:
        CadwrightError: the file cannot be read.
    """
    if prediction.path is None or prediction.text is not None:
        return prediction.text or ""
    if prediction.path.suffix.lower() not in PROGRAM_SUFFIXES:
        return None
    try:
        with prediction.path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_CHARS)  # the parser refuses less than that
    except OSError as error:
        raise CadwrightError(f"{prediction.path}: {error.strerror or error}") from error
