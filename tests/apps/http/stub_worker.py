"""The true worker, but for a decoder that says what it is told and a kernel that is the fast one.

So uploads, pipeline, files and edits are the real ones, and neither torch nor OpenCASCADE loads.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cadwright.apps.http.worker import child, edit_program
from cadwright.errors import InputError
from cadwright.inference import pipeline, report
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_solid import SolidResult
from cadwright.types import Mesh, Outcome

RING = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-30))
r=w0.sketch().circle(100).circle(60,mode='s').finalize().extrude(60)"""
BOX = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,0))
r=w0.workplane(offset=0/2).box(200,120,80)"""


class TalkingDecoder:
    """Writes the same texts for every part."""

    num_points = 32
    device = "cpu"
    inputs = frozenset({"points"})

    def decode(self, *_: Any, num_candidates: int, seed: int, **__: Any) -> list[str]:
        texts = [RING, BOX, "nonsense"]
        return [texts[(k + seed) % 3] for k in range(num_candidates)]


class FastKernel:
    """Answers as the exact kernel does."""

    def __init__(self, **_: Any) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass

    def step_to_mesh(self, path: Path) -> Mesh:
        raise InputError(f"cannot read '{path}': it is not a readable STEP file")

    def build(self, program: Any, *, step_path: Any = None, placement: Any = None) -> SolidResult:
        built = program_to_mesh(program)
        if built.mesh is None:
            return SolidResult(built.outcome, message=built.message)
        if step_path is not None:
            Path(step_path).write_bytes(b"ISO-10303-21; stub")
        return SolidResult(
            Outcome.OK, built.mesh, volume=built.volume, num_solids=1, num_faces=4,
            bounds=np.asarray(built.mesh.bounds), step_path=step_path,
        )  # fmt: skip


class StubChild(child.Child):
    """Loads no model."""

    def _start_pipeline(self) -> dict[str, Any]:
        decoder: Any = TalkingDecoder()
        self.reconstructor = self.cleanup.enter_context(pipeline.Reconstructor(decoder))
        return {"reads": ["points"]}


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    patched = SimpleNamespace(ExactKernel=FastKernel)
    pipeline.ExactKernel = patched.ExactKernel  # type: ignore[misc, assignment]
    edit_program.ExactKernel = patched.ExactKernel  # type: ignore[misc, assignment]
    report.NUM_POINTS = 512
    child.Child = StubChild  # type: ignore[misc]
    child.main()
