"""What the user gets: program, solid, picture and report of one part, and how they are written.

In: what the pipeline found. Out: a ``Reconstruction``, and with ``save`` a folder with part.py,
part.step, part.stl, part.png and report.json, all of them or none. Everything handed out is in
the USER frame. Not covered: how it was found (pipeline), what the report says (report).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import cadwright
from cadwright.errors import InputError
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.geometry.pictures import Picture, comparison_picture, render_mesh, save_png
from cadwright.geometry.stl import save_stl
from cadwright.inference.prompt import Prompt
from cadwright.program.grammar import Program
from cadwright.program.program_to_script import user_program_to_script
from cadwright.program.program_to_user import UserProgram
from cadwright.types import FloatArray, Mesh

if TYPE_CHECKING:
    from cadwright.inference.finding import Found

Report = dict[str, Any]

FILES = ("part.py", "part.step", "part.stl", "part.png", "report.json")
FILE_UNIT = "lengths in the unit of the input file"
NO_UNIT = (
    "lengths in no unit, the longest side about 200, since neither a picture nor words say how "
    "large a part is"
)
MOST_MARKS = 3000  # points of a cloud that are drawn
MARK_SIZE = 0.008  # of one drawn point, as a share of the cloud's longest side
# corners and faces of a tetrahedron around the origin, wound outwards
_MARK_CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
_MARK_FACES = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """A part, reconstructed.

    Attributes:
        name: of the part, also of its output folder.
        target: what was handed in: a shape, USER frame, or a picture or words.
        program: the program chosen, PROGRAM frame.
        user_program: the same with the user's lengths and position.
        mesh: the exact solid's surface, USER frame.
        step: the exact solid as the bytes of a STEP file, USER frame.
        report: what report.json holds.
        found: all the programs that were considered, the best first, and the way to the USER
            frame; None where the result did not come from the pipeline.
    """

    name: str
    target: Shape | Prompt
    program: Program
    user_program: UserProgram
    mesh: Mesh
    step: bytes
    report: Report
    found: Found | None = None

    @property
    def text(self) -> str:
        """part.py: plain CadQuery that leaves the solid in ``r``."""
        moved = self.user_program.rounded_by
        lengths = NO_UNIT if isinstance(self.target, Prompt) else FILE_UNIT
        comments = (
            f"{self.name}, reconstructed by cadwright {cadwright.__version__}: "
            f"plain CadQuery, the solid is r, {lengths}.",
            *([f"Faces were moved by up to {moved:.3g} to give round numbers."] if moved else []),
            "To write a STEP file add the line: cq.exporters.export(r, 'part.step')",
        )
        return user_program_to_script(self.user_program, comments=comments)

    def picture(self, *, size: int = 480) -> Picture:
        """What was handed in beside the result, for people.

        Returns:
            (H, 3 * size, 3) uint8: of a shape, itself, the result and their difference; of a
            picture, itself, the same views of the result, and the result. Of words
            (2 * size, 2 * size, 3): the result from four sides.
        Raises:
            MissingDependencyError: numba is not installed.
        """
        if isinstance(self.target, Prompt):
            return self._picture_of_prompt(self.target, size)
        target = self.target.mesh
        if target is None:
            target = points_to_marks(np.asarray(self.target.points))
        return comparison_picture(target, self.mesh, size=size)

    def _picture_of_prompt(self, prompt: Prompt, size: int) -> Picture:
        if prompt.picture is None:
            return render_mesh(self.mesh, views=4, size=size)
        views = mesh_to_views(normalise(self.mesh, placement_to_unit(self.mesh.bounds)))
        panels = [prompt.picture, Image.fromarray(views)]
        resized = [np.asarray(panel.resize((size, size))) for panel in panels]
        return np.hstack([*resized, render_mesh(self.mesh, size=size)])

    def save(self, out_dir: str | os.PathLike[str]) -> Path:
        """Write the files of ``FILES`` into ``out_dir/name``; all of them or none.

        Files of that name from an earlier run are replaced once the new ones are whole.

        Returns:
            The folder.
        Raises:
            InputError: the folder cannot be written.
            MissingDependencyError: numba or Pillow is not installed.
        """
        folder = Path(out_dir) / self.name
        temporary = Path(out_dir) / f".tmp-{secrets.token_hex(8)}"
        try:
            temporary.mkdir(parents=True)
            self._write(temporary)
            _put_in_place(temporary, folder)
        except OSError as error:
            raise InputError(f"cannot write '{folder}': {error.strerror or error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def _write(self, folder: Path) -> None:
        started = time.perf_counter()
        (folder / "part.py").write_text(self.text, encoding="utf-8")
        (folder / "part.step").write_bytes(self.step)
        save_stl(self.mesh, folder / "part.stl")
        save_png(self.picture(), folder / "part.png")
        self.report["seconds"]["files"] = round(time.perf_counter() - started, 3)
        (folder / "report.json").write_text(report_to_json(self.report), encoding="utf-8")


def report_to_json(report: Report) -> str:
    """The text of report.json."""
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def points_to_marks(points: FloatArray) -> Mesh:
    """A cloud as a mesh of small tetrahedra, so that it can be drawn.

    Args:
        points: (N, 3), any frame; of many, ``MOST_MARKS`` evenly picked ones are taken.
    """
    step = max(1, len(points) // MOST_MARKS)
    kept = points[::step]
    radius = MARK_SIZE * float(np.ptp(points, axis=0).max())
    vertices = (kept[:, None] + radius * _MARK_CORNERS).reshape(-1, 3)
    faces = (np.arange(len(kept))[:, None, None] * 4 + _MARK_FACES).reshape(-1, 3)
    return Mesh(vertices, faces.astype(np.int32))


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Make a finished temporary folder the real one; one that exists keeps its other files."""
    if not folder.exists():
        os.replace(temporary, folder)
        return
    for name in FILES:
        os.replace(temporary / name, folder / name)
