"""The way a person goes: the example part, through the command line, with the embedded model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.metrics import volume_iou
from cadwright.program.script_to_text import script_to_text
from cadwright.program.text_to_program import text_to_program

pytest.importorskip("torch")
pytest.importorskip("numba")

EXAMPLE = Path(__file__).parents[2] / "examples" / "bracket.stl"
FILES = ["part.png", "part.py", "part.step", "part.stl", "report.json"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cadwright", *words], capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    # A long budget: search ends by itself, and machines that run tests are busy.
    done = run("reconstruct", str(EXAMPLE), "--out", str(out), "--budget", "60")
    assert done.returncode == 0, done.stderr
    return out / "bracket"


def test_all_files_are_there_and_the_result_fits(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == FILES
    report = json.loads((folder / "report.json").read_text())
    assert report["iou"] > 0.98
    assert report["candidates"]["tried"] == 16 and report["candidates"]["valid"] > 0


def test_the_result_lies_on_the_mesh_in_its_own_unit(folder: Path) -> None:
    target, result = load_shape(EXAMPLE).mesh, load_shape(folder / "part.stl").mesh
    assert target is not None and result is not None
    assert volume_iou(target, result) > 0.98
    assert abs(target.bounds - result.bounds).max() < 0.5  # millimetres, of 160


def test_the_program_is_of_the_dialect_and_runs_as_it_stands(folder: Path) -> None:
    text = (folder / "part.py").read_text()
    assert text_to_program(script_to_text(text)).bodies
    out = folder.parent / "again.stl"
    done = run("run", str(folder / "part.py"), "--out", str(out))
    assert done.returncode == 0, done.stderr
    again, result = load_shape(out).mesh, load_shape(folder / "part.stl").mesh
    assert again is not None and result is not None
    assert again.signed_volume == pytest.approx(result.signed_volume, rel=1e-4)
