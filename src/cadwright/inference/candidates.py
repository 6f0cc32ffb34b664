"""Candidate texts -> programs, ranked by how well they fit the target.

In: texts and a target in the PROGRAM frame. Out: the programs that build, the best first, and
how many gave which outcome. The fit is measured by ``geometry.metrics``, the one scorer: volume
IoU where the target is a solid, else chamfer distance. Not covered: changing programs (search).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from cadwright.errors import GeometryError, ProgramError, UnsupportedError
from cadwright.geometry.frames import PROGRAM_TO_UNIT, normalise
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.metrics import Target, chamfer_distance
from cadwright.inference.fit_bounds import fit_bounds
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import BuildResult, FloatArray, Mesh, Outcome

Source = Literal["model", "search", "bounding_box"]

NUM_POINTS = 2048  # of either surface, to rank by chamfer distance
TIE = 1e-4  # IoUs nearer than this are told apart by chamfer distance


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A program that builds.

    Attributes:
        program: PROGRAM frame.
        built: by the fast kernel.
        fit: larger is better: IoU for a solid target, minus the chamfer distance for another
            one, and what ``ranking`` says where a picture or words were given.
        source: who wrote it.
    """

    program: Program
    built: BuildResult
    fit: float
    source: Source

    @property
    def mesh(self) -> Mesh:
        """The solid's surface, PROGRAM frame."""
        assert self.built.mesh is not None
        return self.built.mesh


class Scorer:
    """Measures fits against one target.

    Attributes:
        is_solid: whether IoU has a meaning for the target.
        reason: why it has none; empty for a solid.
    """

    def __init__(self, target: Shape, *, seed: int) -> None:
        """Make the target ready. ``target``: PROGRAM frame."""
        self._seed = seed
        self._solid: Target | None = None
        self.reason = _why_no_solid(target)
        if target.mesh is not None and not self.reason:
            try:
                self._solid = Target(target.mesh, seed=seed, num_points=NUM_POINTS)
            except GeometryError as error:  # closed, but no solid for manifold3d
                self.reason = str(error)
        self.points = PROGRAM_TO_UNIT.apply(shape_to_points(target, NUM_POINTS, seed=seed))

    @property
    def is_solid(self) -> bool:
        """Whether the target has an inside."""
        return self._solid is not None

    def fit(self, mesh: Mesh) -> float:
        """Fit of a closed mesh, PROGRAM frame."""
        return self._solid.direct_iou(mesh) if self._solid else -self.chamfer(mesh)

    def chamfer(self, mesh: Mesh) -> float:
        """Chamfer distance to the target, UNIT frame, direct protocol."""
        rng = np.random.default_rng([self._seed, 1])
        surface = sample_surface(normalise(mesh, PROGRAM_TO_UNIT), NUM_POINTS, rng)
        return chamfer_distance(self.points, surface)

    def candidate(self, program: Program, source: Source) -> Candidate | BuildResult:
        """Build and measure a program; the failed build where it has no mesh."""
        built = program_to_mesh(program)
        if built.mesh is None:
            return built
        try:
            return Candidate(program, built, self.fit(built.mesh), source)
        except GeometryError as error:
            return BuildResult(Outcome.INVALID, message=str(error))

    def ranked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The best first; of equally good ones the first stays first."""
        if not self.is_solid:
            return sorted(candidates, key=lambda one: -one.fit)
        rows = [(-round(one.fit / TIE), one) for one in candidates]
        tied = {fit for fit, count in Counter(fit for fit, _ in rows).items() if count > 1}
        keys = [(fit, self.chamfer(one.mesh) if fit in tied else 0.0) for fit, one in rows]
        order = sorted(range(len(rows)), key=lambda k: keys[k])
        return [candidates[k] for k in order]


def with_bounds_fitted(
    ranked: Sequence[Candidate], scorer: Scorer, bounds: FloatArray
) -> list[Candidate]:
    """Put each candidate's bounds on the target's where that fits better; see ``fit_bounds``.

    Args:
        ranked: candidates of one target.
        scorer: of that target.
        bounds: (2, 3) of the target, PROGRAM frame.
    Returns:
        The candidates, the best first, each program once.
    """
    return with_better(ranked, scorer, lambda one: fit_bounds(one.program, one.mesh.bounds, bounds))


def with_better(
    ranked: Sequence[Candidate],
    ranking: Ranking,
    change: Callable[[Candidate], Program | None],
    *,
    loss: float = 0.0,
) -> list[Candidate]:
    """Put a changed program in the place of each candidate that it fits better than.

    Args:
        ranked: candidates of one part.
        ranking: of that part.
        change: another program for a candidate, or None.
        loss: of fit, that a changed program may stay behind by less than.
    Returns:
        The candidates, the best first, each program once.
    """
    settled = []
    for one in ranked:
        program = change(one)
        other = None if program is None else ranking.candidate(program, one.source)
        better = isinstance(other, Candidate) and other.fit > one.fit - loss
        settled.append(other if better and isinstance(other, Candidate) else one)
    return ranking.ranked(each_once(settled))


def each_once(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first candidate of each program, in their order."""
    first: dict[Program, Candidate] = {}
    for one in candidates:
        first.setdefault(one.program, one)
    return list(first.values())


class Ranking(Protocol):
    """Measures candidates of one part, and puts the best first."""

    def candidate(self, program: Program, source: Source) -> Candidate | BuildResult:
        """Build and measure a program; the failed build where it has no mesh."""

    def ranked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The best first."""


def read_candidates(
    texts: Iterable[str], scorer: Ranking
) -> tuple[list[Candidate], dict[Outcome, int]]:
    """Parse, build and rank texts.

    Args:
        texts: as the model wrote them.
        scorer: of the target.
    Returns:
        The candidates that build, the best first, each program once; and how many texts gave
        which outcome (repeated programs counted each time).
    """
    counts, outcomes = parse_texts(texts)
    found = {program: scorer.candidate(program, "model") for program in counts}
    for program, one in found.items():
        outcomes[Outcome.OK if isinstance(one, Candidate) else one.outcome] += counts[program]
    valid = [one for one in found.values() if isinstance(one, Candidate)]
    return scorer.ranked(valid), dict(outcomes)


def parse_texts(texts: Iterable[str]) -> tuple[Counter[Program], Counter[Outcome]]:
    """How often each program was written, the first first, and what the other texts are."""
    programs: Counter[Program] = Counter()
    outcomes: Counter[Outcome] = Counter()
    for text in texts:
        try:
            programs[text_to_program(text)] += 1
        except UnsupportedError:
            outcomes[Outcome.UNSUPPORTED] += 1
        except ProgramError:
            outcomes[Outcome.SYNTAX] += 1
    return programs, outcomes


def shape_to_points(shape: Shape, num: int, *, seed: int) -> FloatArray:
    """Points of a shape for distances, its own frame: drawn on the surface, or of the cloud.

    Returns:
        (num, 3), or fewer where a cloud has fewer.
    """
    rng = np.random.default_rng([seed, 0])
    if shape.mesh is not None:
        return sample_surface(shape.mesh, num, rng)
    cloud = np.asarray(shape.points)
    return cloud if len(cloud) <= num else cloud[rng.choice(len(cloud), num, replace=False)]


def _why_no_solid(shape: Shape) -> str:
    if shape.kind == "points":
        return "the input is a point cloud, which encloses no volume"
    if shape.kind == "surface":
        return "the input is an open surface, which encloses no volume"
    return ""
