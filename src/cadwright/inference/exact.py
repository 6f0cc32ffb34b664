"""Ranked candidates -> one exact solid in the USER frame, with its STEP file.

In: candidates in the PROGRAM frame, the best first, and the exact kernel. Out: the first whose
exact solid is what the fast kernel promised, built from the very numbers that part.py shows.
Every attempt is recorded. The last resort is the bounding box, named as such.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadwright.errors import CadwrightError
from cadwright.geometry.frames import Placement, normalise
from cadwright.inference.candidates import Candidate
from cadwright.inference.target import PreparedTarget, bounding_box_program
from cadwright.inference.user_numbers import with_user_numbers
from cadwright.program.program_to_solid import ExactKernel, SolidResult
from cadwright.program.program_to_text import program_to_text
from cadwright.program.program_to_user import UserProgram
from cadwright.types import Mesh

MOST_BUILDS = 6  # programs handed to the exact kernel before the bounding box
LOSS = 0.02  # fit that the exact solid may lose against the fast kernel's

Record = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """What an exact solid is held against.

    Attributes:
        name: of the part.
        to_user: the way from the PROGRAM to the USER frame.
        fit: of a closed mesh, PROGRAM frame; larger is better.
        last_resort: taken where nothing else builds.
    """

    name: str
    to_user: Placement
    fit: Callable[[Mesh], float]
    last_resort: Sequence[Candidate] = ()

    @classmethod
    def of_target(cls, target: PreparedTarget) -> Goal:
        """That of a part which was handed in as a shape: the last resort is its bounding box."""
        box = target.scorer.candidate(bounding_box_program(target.inner), "bounding_box")
        last = [box] if isinstance(box, Candidate) else []
        return cls(target.shape.name, target.to_user, target.scorer.fit, last)


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A candidate that the exact kernel built.

    Attributes:
        candidate: as ranked, PROGRAM frame.
        user: the program with the user's lengths.
        solid: what the kernel answered, in the lengths of ``user.program``.
        mesh: the solid's surface, USER frame.
        step: the solid as the bytes of a STEP file, USER frame.
        fit: of the exact solid; ``candidate.fit`` is that of the fast kernel's.
    """

    candidate: Candidate
    user: UserProgram
    solid: SolidResult
    mesh: Mesh
    step: bytes
    fit: float


def build_best(
    ranked: Sequence[Candidate], goal: Goal, kernel: ExactKernel
) -> tuple[Built, Record]:
    """Build exactly, the best first, until one keeps its promise.

    Returns:
        The first such one, or the best of those that built at all; and what was tried.
    Raises:
        CadwrightError: none could be built, not even the last resort.
    """
    record: Record = []
    worse: list[Built] = []
    for candidate in [*ranked[:MOST_BUILDS], *goal.last_resort]:
        if candidate.source == "bounding_box" and worse:
            break
        built, solid = _build(candidate, goal, kernel)
        keeps = built is not None and built.fit >= candidate.fit - LOSS
        lost = "the exact solid fits less well than the fast kernel's"
        message = solid.message if built is None or keeps else lost
        record.append(
            {"source": candidate.source, "outcome": solid.outcome.value, "message": message}
        )
        if built is not None and keeps:
            return built, record
        if built is not None:
            worse.append(built)
    if not record:
        raise CadwrightError(
            f"{goal.name}: none of the candidates is a program that builds; more candidates or "
            "another seed may give one"
        )
    if not worse:
        raise CadwrightError(
            f"{goal.name}: the exact kernel built none of {len(record)} programs, the "
            f"last answer is {record[-1]['outcome']} ({record[-1]['message']})"
        )
    return max(worse, key=lambda one: one.fit), record


def describe_program(built: Built) -> dict[str, Any]:
    """What the report says about the program and its solid."""
    return {
        "bodies": len(built.candidate.program.bodies),
        "characters": len(program_to_text(built.user.program)),
        "numbers_rounded_by": built.user.rounded_by,
        "solids": built.solid.num_solids,
        "faces": built.solid.num_faces,
    }


def _build(
    candidate: Candidate, goal: Goal, kernel: ExactKernel
) -> tuple[Built | None, SolidResult]:
    user = with_user_numbers(candidate, goal.to_user, goal.fit)
    with tempfile.TemporaryDirectory(prefix="cadwright-") as folder:
        path = Path(folder) / f"{goal.name}.step"  # STEP names the product by it
        solid = kernel.build(user.program, step_path=path, placement=user.rest)
        if solid.mesh is None:
            return None, solid
        step = path.read_bytes()
    mesh = solid.mesh if user.rest is None else normalise(solid.mesh, user.rest)
    fit = goal.fit(normalise(mesh, goal.to_user.inverse()))
    return Built(candidate, user, solid, mesh, step, fit), solid
