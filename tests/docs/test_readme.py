"""The README's code blocks: its program is the example part, its Python runs.

Its shell blocks need files of the reader's; ``test_code_blocks`` gives every command in them to the
command line's parser and loads every recipe.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from code_blocks import RUN, read_blocks

from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.metrics import volume_iou
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_user import text_to_user_program

ROOT = Path(__file__).parents[2]
BLOCKS = read_blocks(ROOT / "README.md")
PYTHON = [block for block in BLOCKS if block.language == "python"]
PROGRAMS = [block for block in PYTHON if "import cadquery" in block.text]


def test_there_is_one_program_and_other_python() -> None:
    assert len(PROGRAMS) == 1 and len(PYTHON) > 1
    assert {block.language for block in BLOCKS} <= RUN | {""}


def test_the_program_is_the_example_part_where_its_file_has_it() -> None:
    built = program_to_mesh(text_to_user_program(PROGRAMS[0].text).program)
    target = load_shape(ROOT / "examples" / "bracket.stl").mesh
    assert built.mesh is not None and target is not None
    assert np.allclose(built.mesh.bounds, target.bounds, atol=0.01)  # millimetres, of 160
    assert volume_iou(built.mesh, target) > 0.99


@pytest.mark.slow
def test_the_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "transformers", "cadquery", "numba"):
        pytest.importorskip(package)
    monkeypatch.chdir(ROOT)
    for block in PYTHON:
        if block not in PROGRAMS:
            code = compile(block.text, block.place, "exec")
            exec(code, {"__name__": block.page})  # noqa: S102 (this project's own document)
