"""A program that somebody is changing: its fast picture while dragging, its exact build on release.

In: the job's folder, a text and values for its numbers. Out: packed geometry within milliseconds
(fast kernel), or new files to download (exact kernel). Runs in the limited workers, in which texts
are parsed and never executed. Not covered: the first result of a job (``reconstruct_job``).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cadwright
from cadwright.apps.http.jobs.job_files import TMP
from cadwright.apps.http.view_geometry.binary_format import pack
from cadwright.apps.http.worker.job_results import load_document, result_to_buffers, save_result
from cadwright.apps.http.worker.program_numbers import text_to_numbers, with_values
from cadwright.apps.http.worker.stored_target import StoredTarget, load_target
from cadwright.errors import CadwrightError, GeometryError
from cadwright.geometry.frames import longest_side, normalise
from cadwright.geometry.mesh_io import Shape
from cadwright.inference.prompt import Prompt
from cadwright.inference.report import leave_unmeasured, measure
from cadwright.inference.result import Reconstruction, Report
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_solid import ExactKernel, SolidResult
from cadwright.program.program_to_user import UserProgram, text_to_user_program
from cadwright.types import BuildResult, Mesh

MOST_TARGETS = 4  # kept ready; each may be as large as an upload
IMPORT = "import cadquery as cq"
STEP_NAME = "part.step"
BOX = f"{IMPORT}\nw0=cq.Workplane('XY',origin=(0,0,0))\nr=w0.workplane(offset=1/2).box(3,2,1)"


class ProgramEditor:
    """Targets that are being worked on, and the kernels."""

    def __init__(self) -> None:
        self._targets: OrderedDict[str, StoredTarget] = OrderedDict()
        self._kernel: ExactKernel | None = None

    def close(self) -> None:
        """End the exact kernel, if it was started."""
        if self._kernel is not None:
            self._kernel.close()

    def start_kernel(self, timeout_s: float) -> None:
        """Start the exact kernel and wait for it: no build shall be timed while that loads."""
        self._kernel = ExactKernel(timeout_s=timeout_s)
        self._kernel.build(text_to_user_program(BOX).program)

    def warm_up(self) -> None:
        """Import and compile what a preview needs, with a box, before the first one is asked."""
        user = text_to_user_program(BOX)
        mesh = _placed(program_to_mesh(user.program), user)
        target = StoredTarget(Shape("box", mesh, None, "solid"))
        result_to_buffers(mesh, target, exact=False)
        text_to_numbers(BOX, size=3.0)
        _iou(target, mesh)

    def preview(self, request: dict[str, Any]) -> bytes:
        """Fast kernel: the packed solid of a text with some numbers changed.

        Raises:
            CadwrightError: the text is no program, has no such numbers, or builds nothing.
        """
        started = time.perf_counter()
        target = self._target(Path(request["folder"]))
        text, user = read_text(request)
        mesh = _placed(program_to_mesh(user.program), user)
        header, arrays = result_to_buffers(mesh, target, exact=False)
        header["text"] = text
        header["numbers"] = text_to_numbers(text, size=longest_side(mesh.bounds))
        header["iou"] = _iou(target, mesh)
        header["ms"] = round(1000 * (time.perf_counter() - started), 2)
        return pack(header, arrays)

    def build(self, request: dict[str, Any]) -> dict[str, Any]:
        """Exact kernel: new files in the job's folder; gives the new document.

        Raises:
            CadwrightError: as ``preview``, or the exact kernel refuses the program.
        """
        folder = Path(request["folder"])
        target = self._target(folder)
        text, user = read_text(request)
        if IMPORT not in text:
            text = f"{IMPORT}\n{text}"
        before = load_document(folder)
        path = folder / TMP / STEP_NAME
        path.parent.mkdir(exist_ok=True)
        assert self._kernel is not None
        solid = self._kernel.build(user.program, step_path=path, placement=user.rest)
        mesh = _placed(solid, user)
        report = _edited_report(before["report"], target, user, solid, mesh)
        result = Reconstruction(
            "part", target.given, user.program, user, mesh, path.read_bytes(), report
        )
        candidates = [one | {"chosen": _same(one["text"], user)} for one in before["candidates"]]
        return save_result(
            result, target, folder, text=text, revision=before["revision"] + 1,
            edited=not any(one["chosen"] for one in candidates), candidates=candidates,
        )  # fmt: skip

    def _target(self, folder: Path) -> StoredTarget:
        key = str(folder)
        if key not in self._targets:
            self._targets[key] = load_target(folder)
        self._targets.move_to_end(key)
        while len(self._targets) > MOST_TARGETS:
            self._targets.popitem(last=False)
        return self._targets[key]


def read_text(request: dict[str, Any]) -> tuple[str, UserProgram]:
    """The text of a request with its values put in, and the program that it is.

    Raises:
        CadwrightError: the text is no program, or a value has no place in it.
    """
    text = request.get("text")
    if text is None:
        text = load_document(Path(request["folder"]))["program"]["text"]
    text = with_values(text, request.get("values") or {})
    return text, text_to_user_program(text)


def _placed(built: BuildResult, user: UserProgram) -> Mesh:
    """The mesh in the USER frame.

    Raises:
        CadwrightError: there is none, and why.
    """
    if built.mesh is None:
        raise CadwrightError(f"the program gives no solid: {built.message or built.outcome.value}")
    return built.mesh if user.rest is None else normalise(built.mesh, user.rest)


def _iou(target: StoredTarget, mesh: Mesh) -> float | None:
    if target.solid is None:
        return None
    try:
        return target.solid.direct_iou(mesh)
    except GeometryError:  # such as two bodies that touch in an edge
        return None


def _edited_report(
    before: Report, target: StoredTarget, user: UserProgram, solid: SolidResult, mesh: Mesh
) -> Report:
    """The report of a program changed by hand: what was found is kept, what it is measured anew."""
    started = time.perf_counter()
    given = target.given
    if isinstance(given, Prompt):
        figures = leave_unmeasured(given.kind, mesh, notes=[])
    else:
        no_iou = "" if target.solid is not None else before["iou_note"] or "the target is no solid"
        figures = measure(given, mesh, no_iou=no_iou, seed=before["seed"])
    program = {
        "bodies": len(user.program.bodies),
        "numbers_rounded_by": 0.0,
        "solids": solid.num_solids,
        "faces": solid.num_faces,
    }
    outcome = {"source": "edited", "outcome": solid.outcome.value, "message": ""}
    seconds = {
        "exact": round(solid.seconds, 3),
        "measure": round(time.perf_counter() - started, 3),
    }
    return (
        before
        | figures
        | {
            "source": "edited",
            "chosen_fit": figures["iou"],
            "exact": [outcome],
            "program": before["program"] | program,
            "edited_with": cadwright.__version__,
            "seconds": seconds,
        }
    )


def _same(text: str, user: UserProgram) -> bool:
    """Whether a candidate's text is the very program."""
    other = text_to_user_program(text)
    return other.program == user.program
