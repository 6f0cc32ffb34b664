"""The pipeline with the real exact kernel: what is handed out lies on the user's mesh."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from reconstruct_stubs import RING, StubDecoder

from cadwright.geometry.frames import Placement, normalise
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.stl import save_stl
from cadwright.inference.pipeline import Reconstructor
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cadquery") is None, reason="needs CadQuery"
)
EXAMPLES = Path(__file__).parents[2] / "examples"


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_bracket", EXAMPLES / "make_bracket.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BRACKET: str = load_example().PROGRAM


@pytest.fixture(scope="module")
def reconstructor() -> Iterator[Reconstructor]:
    with Reconstructor(StubDecoder(BRACKET, RING)) as made:  # type: ignore[arg-type]
        yield made


def placed(text: str, placement: Placement) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return normalise(mesh, placement)


def test_example_file_is_what_its_script_makes(tmp_path: Path) -> None:
    save_stl(load_example().make_bracket(), tmp_path / "again.stl")
    again, kept = (load_shape(path) for path in (tmp_path / "again.stl", EXAMPLES / "bracket.stl"))
    assert kept.kind == "solid"
    np.testing.assert_allclose(kept.bounds, [[55, -68, 0], [215, 28, 96]], atol=1e-4)
    assert kept.mesh is not None
    assert again.mesh is not None
    assert kept.mesh.signed_volume == pytest.approx(again.mesh.signed_volume, rel=1e-6)


def test_step_lies_on_the_example_part(reconstructor: Reconstructor, tmp_path: Path) -> None:
    source = EXAMPLES / "bracket.stl"
    result = reconstructor.reconstruct(source, candidates=2, budget_s=0.0, out=tmp_path)
    target = load_shape(source)
    step = reconstructor.kernel.step_to_mesh(tmp_path / "bracket" / "part.step")
    np.testing.assert_allclose(step.bounds, target.bounds, atol=1e-4)
    assert target.mesh is not None
    assert step.signed_volume == pytest.approx(target.mesh.signed_volume, rel=1e-3)
    assert result.report["iou"] > 0.998
    assert result.report["source"] == "model"
    assert b"'bracket'" in result.step


@pytest.mark.slow
@pytest.mark.parametrize(
    "placement",
    [
        Placement(0.436568517, np.array([12.3456789, -0.000123, 777.77])),
        Placement(0.0005, np.array([0.25, 1.75, -3.0])),  # metres
        Placement(0.000005, np.array([0.0, 0.0, 0.1])),  # a millimetre in metres
        Placement(0.5, np.array([4_560_000.5, 5_800_000.25, 35.0])),  # map coordinates
        Placement(900.0, np.array([0.0, 0.0, 1e6])),
    ],
    ids=["odd", "metres", "tiny", "map", "large"],
)
def test_step_lies_on_the_part_at_any_scale(
    reconstructor: Reconstructor, tmp_path: Path, placement: Placement
) -> None:
    target = placed(BRACKET, placement)
    result = reconstructor.reconstruct(target, candidates=2, budget_s=0.0, out=tmp_path)
    step = reconstructor.kernel.step_to_mesh(tmp_path / "part" / "part.step")
    size = 200 * placement.scale
    for mesh in (step, result.mesh):
        np.testing.assert_allclose(mesh.bounds, target.bounds, rtol=1e-9, atol=1e-4 * size)
    assert result.report["source"] == "model"


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.8, 0.0008])
def test_part_py_runs_without_this_package_and_gives_the_same_solid(
    reconstructor: Reconstructor, tmp_path: Path, scale: float
) -> None:
    target = placed(BRACKET, Placement(scale, scale * np.array([100.0, 0.0, -30.0])))
    result = reconstructor.reconstruct(target, candidates=2, budget_s=0.0)
    program = (
        result.text + "b=r.val().BoundingBox(1e-9)\nprint(r.val().Volume(), *b.center.toTuple())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    volume, *centre = (float(word) for word in done.stdout.split())
    assert volume == pytest.approx(result.mesh.signed_volume, rel=1e-3)
    np.testing.assert_allclose(centre, target.bounds.mean(axis=0), atol=1e-4 * 200 * scale)
