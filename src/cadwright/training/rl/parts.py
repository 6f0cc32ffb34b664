"""The parts that reinforcement learning is tried on: fresh ones, and hard ones once more.

In: the generator's seed, or a folder of meshes. Out: parts by number, and which numbers a step
takes. Both follow from the settings and a small state, so that a run resumes exactly. Not
covered: what the model is shown of a part (prompts).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.frames import normalise, placement_to_program
from cadwright.geometry.manifolds import manifold_to_mesh, mesh_to_manifold
from cadwright.geometry.mesh_io import load_shape
from cadwright.types import Mesh

SUFFIXES = (".stl", ".obj", ".ply", ".off", ".glb")
ENOUGH_TO_JUDGE = 20  # parts asked for before a share of failures means something
_ORDER_KEY, _CHOICE_KEY = 11, 12  # keep the random streams of a run apart


class PartSource(Protocol):
    """Solids by number."""

    def part(self, number: int) -> Mesh | None:
        """A closed mesh, PROGRAM frame; None where there is none of this number."""


class GeneratedParts:
    """The generator's solids, without their programs.

    Args:
        seed: of the stream.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def part(self, number: int) -> Mesh | None:
        """Draw ``number`` of the stream."""
        from cadwright.synth.generate import draw_solid

        drawn = draw_solid(self.seed, number)
        return None if drawn is None else _placed(manifold_to_mesh(drawn[1]))


class MeshFolder:
    """The meshes of a folder, again and again, each time in another order.

    Args:
        folder: searched with its subfolders.
        seed: of the orders.

    Raises:
        InputError: there is no mesh in it.
    """

    def __init__(self, folder: str | Path, seed: int) -> None:
        root = Path(folder).expanduser()
        found = root.rglob("*") if root.is_dir() else []
        self.paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
        self.seed = seed
        if not self.paths:
            raise InputError(f"there is no mesh ({', '.join(SUFFIXES)}) in the folder '{folder}'")

    def path(self, number: int) -> Path:
        """The file of a number."""
        turn, place = divmod(number, len(self.paths))
        order = np.random.default_rng((self.seed, _ORDER_KEY, turn)).permutation(len(self.paths))
        return self.paths[order[place]]

    def part(self, number: int) -> Mesh | None:
        """Read a file; None where it is no solid."""
        try:
            shape = load_shape(self.path(number))
            if shape.mesh is None or shape.kind != "solid":
                return None
            mesh = _placed(shape.mesh)
            mesh_to_manifold(mesh)
        except (InputError, GeometryError):
            return None
        return mesh


def make_source(meshes: str | None, seed: int) -> PartSource:
    """The folder's meshes where one is named, else the generator's."""
    return GeneratedParts(seed) if meshes is None else MeshFolder(meshes, seed)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A target.

    Attributes:
        number: in its source.
        mesh: closed, PROGRAM frame.
        is_hard: whether it was tried before.
    """

    number: int
    mesh: Mesh
    is_hard: bool = False


@dataclass(slots=True)
class PartChooser:
    """Which parts a step takes: hard-example mining (arXiv 2505.22914, section 4.4), on the way.

    Args:
        source: of parts.
        seed: of the choice.
        hard_below: mean reward below which a part is kept.
        hard_share: share of a step's parts that are taken from those kept.
        hard_size: parts kept at most.
        hard_tries: after so many a part is given up.
        max_failed_share: of numbers without a part; more is an error.
        stride: processes that share the source.
        offset: which of them this is.
    """

    source: PartSource
    seed: int
    hard_below: float = 7.5
    hard_share: float = 0.5
    hard_size: int = 4096
    hard_tries: int = 4
    max_failed_share: float = 0.2
    stride: int = 1
    offset: int = 0
    asked: int = 0
    failed: int = 0
    hard: dict[int, int] = field(default_factory=dict)
    """Number of a hard part to how often it was tried, oldest first."""

    def choose(self, step: int, num: int) -> list[Part]:
        """The parts of a step; hard ones first, then fresh ones.

        Raises:
            InputError: too many numbers have no part.
        """
        wanted = int(round(num * self.hard_share))
        parts: list[Part] = []
        if wanted and len(self.hard) >= 2 * wanted:  # a smaller choice would repeat itself
            rng = np.random.default_rng((self.seed, _CHOICE_KEY, step, self.offset))
            numbers = sorted(self.hard)
            for k in rng.choice(len(numbers), wanted, replace=False):
                mesh = self.source.part(numbers[k])
                if mesh is not None:  # a file may have gone
                    parts.append(Part(numbers[k], mesh, is_hard=True))
        while len(parts) < num:
            parts.append(self._fresh())
        return parts

    def learn(self, part: Part, mean_reward: float) -> None:
        """Keep a part that went badly, let go of one that did not."""
        tries = self.hard.pop(part.number, 0) + 1
        if mean_reward < self.hard_below and tries < self.hard_tries:
            self.hard[part.number] = tries
        while len(self.hard) > self.hard_size:
            del self.hard[next(iter(self.hard))]

    def to_state(self) -> dict[str, Any]:
        """JSON values."""
        return {"asked": self.asked, "failed": self.failed, "hard": list(self.hard.items())}

    def from_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``to_state`` gave."""
        self.asked, self.failed = int(state["asked"]), int(state["failed"])
        self.hard = {int(number): int(tries) for number, tries in state["hard"]}

    def _fresh(self) -> Part:
        while True:
            number = self.asked * self.stride + self.offset
            self.asked += 1
            mesh = self.source.part(number)
            if mesh is not None:
                return Part(number, mesh)
            self.failed += 1
            few = self.asked < ENOUGH_TO_JUDGE
            if not few and self.failed > self.max_failed_share * self.asked:
                raise InputError(
                    f"{self.failed} of {self.asked} parts are no solids (closed meshes with a "
                    f"volume), more than max_failed_share={self.max_failed_share:g} allows"
                    + self._example(number)
                )

    def _example(self, number: int) -> str:
        path: Callable[[int], Path] | None = getattr(self.source, "path", None)
        return "" if path is None else f"; the last is '{path(number)}'"


def fixed_parts(source: PartSource, num: int) -> list[Part]:
    """The first parts of a source, for evaluations; fewer where a folder has fewer."""
    parts: list[Part] = []
    number, limit = 0, len(getattr(source, "paths", ())) or 10 * num + ENOUGH_TO_JUDGE
    while len(parts) < num and number < limit:
        mesh = source.part(number)
        if mesh is not None:
            parts.append(Part(number, mesh))
        number += 1
    return parts


def _placed(mesh: Mesh) -> Mesh:
    """Where reconstruction puts a part, too: centred, longest side 200."""
    return normalise(mesh, placement_to_program(mesh.bounds))
