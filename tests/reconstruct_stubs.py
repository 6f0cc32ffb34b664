"""A decoder that says what it is told, and a kernel that answers as the exact one, at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cadwright.geometry.frames import Placement
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_solid import SolidResult
from cadwright.types import Mesh, Outcome

RING = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-30))
r=w0.sketch().circle(100).circle(60,mode='s').finalize().extrude(60)"""
DISC = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n" + (
    "r=w0.workplane(offset=0/2).cylinder(60,100)"
)
SHORT = DISC.replace("60,100", "60,70")
OPEN_LOOP = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n" + (
    "r=w0.sketch().segment((0,0),(9,0)).segment((9,9)).assemble().finalize().extrude(5)"
)
PLACEMENT = Placement(0.25, np.array([10.0, -400.0, 3.5]))


class StubDecoder:
    """Writes the same texts for every part."""

    num_points = 32
    device = torch.device("cpu")

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.point_sets: list[NDArray[np.float32]] = []
        self.picture: Any = None
        self.words: str | None = None

    def decode(
        self,
        point_sets: list[NDArray[np.float32]] | None = None,
        *,
        picture: Any = None,
        words: str | None = None,
        num_candidates: int,
        seed: int,
    ) -> list[str]:
        assert sum(given is not None for given in (point_sets, picture, words)) == 1
        self.point_sets, self.picture, self.words = point_sets or [], picture, words
        return [self.texts[k % len(self.texts)] for k in range(num_candidates)]


class StubKernel:
    """Builds with the fast kernel; refuses the first ``num_refused`` programs."""

    num_refused = 0

    def __init__(self, **_: Any) -> None:
        self.left_to_refuse = self.num_refused
        self.closed = False

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def step_to_mesh(self, path: Path) -> Mesh:
        raise AssertionError("no test reads STEP with this kernel")

    def build(
        self, program: Program, *, step_path: str | os.PathLike[str], placement: Placement | None
    ) -> SolidResult:
        if self.left_to_refuse:
            self.left_to_refuse -= 1
            return SolidResult(Outcome.TIMEOUT, message="not done within 30 seconds")
        built = program_to_mesh(program)
        assert built.mesh is not None
        Path(step_path).write_bytes(b"ISO-10303-21; " + Path(step_path).stem.encode())
        return SolidResult(
            Outcome.OK, built.mesh, volume=built.volume, num_solids=1, num_faces=4,
            bounds=built.mesh.bounds, step_path=Path(step_path),
        )  # fmt: skip
