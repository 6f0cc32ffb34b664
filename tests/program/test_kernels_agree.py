"""Two kernels, one tree: they give the same solid, and that of the published code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cadwright.geometry.metrics import volume_iou
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_solid import ExactKernel, SolidResult
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw_program
from cadwright.types import BuildResult, Outcome

GOLDEN = Path(__file__).parents[1] / "golden" / "shapes"
METRICS = json.loads((GOLDEN / "metrics.json").read_text())
HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr="


def golden_program(row: dict[str, str]) -> Program:
    return text_to_program((GOLDEN / row["target"]).with_suffix(".py").read_text())


def check_same_solid(program: Program, kernel: ExactKernel) -> tuple[SolidResult, BuildResult]:
    exact, fast = kernel.build(program), program_to_mesh(program)
    assert (exact.outcome, fast.outcome) == (Outcome.OK, Outcome.OK), (exact.message, fast.message)
    assert exact.mesh is not None
    assert fast.mesh is not None
    assert fast.volume == pytest.approx(exact.volume, rel=0.005)
    assert volume_iou(exact.mesh, fast.mesh) >= 0.995
    return exact, fast


def check_in_place(program: Program, kernel: ExactKernel) -> None:
    exact, fast = check_same_solid(program, kernel)
    assert fast.mesh is not None
    np.testing.assert_allclose(fast.mesh.bounds, exact.bounds, atol=0.05)


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row["target"])
def test_the_exact_mesh_is_that_of_the_published_code(
    kernel: ExactKernel, row: dict[str, str]
) -> None:
    result = kernel.build(golden_program(row))
    assert result.outcome is Outcome.OK
    assert result.mesh is not None
    # the file's figures are those of the tessellated solid, (0.001, 0.1) as here
    assert result.mesh.signed_volume == pytest.approx(row["volume_occ"], rel=1e-6)
    np.testing.assert_allclose(result.mesh.bounds, row["bounds_occ"], rtol=1e-6, atol=1e-6)
    assert result.volume == pytest.approx(float(row["volume_occ"]), rel=1e-3)


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row["target"])
def test_kernels_agree_on_golden_programs(kernel: ExactKernel, row: dict[str, str]) -> None:
    check_same_solid(golden_program(row), kernel)


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row["target"])
def test_kernels_agree_on_changed_golden_programs(kernel: ExactKernel, row: dict[str, str]) -> None:
    check_same_solid(text_to_program(row["program"]), kernel)


@pytest.mark.parametrize("index", range(12))
def test_kernels_agree_on_generated_programs(kernel: ExactKernel, index: int) -> None:
    program = draw_program(seed=2026, index=index)
    assert program is not None
    check_same_solid(program, kernel)


SQUARE = ".segment((0,0),(40,0)).segment((40,40)).segment((0,40)).segment((0,0))"
SMALL = ".segment((10,10),(20,10)).segment((20,20)).segment((10,20)).segment((10,10))"
AWAY = ".segment((60,10),(70,10)).segment((70,20)).segment((60,20)).segment((60,10))"


@pytest.mark.parametrize(
    "ops",
    [
        ".push([(100,50)])" + SQUARE + ".assemble()",
        ".push([(100,50)])" + SQUARE + ".reset().assemble()",
        SQUARE + ".assemble()" + SMALL + ".assemble(mode='s')",
        SQUARE + SMALL + ".assemble()",
        SQUARE + AWAY + ".assemble()",
        SQUARE + ".assemble()" + AWAY + ".assemble()",
        ".arc((-10,0),(0,10),(10,0)).arc((0,-10),(-10,0)).assemble()",
        ".arc((-10,0),(0,10),(10,0)).close().assemble()",
        ".rect(40,40).push([(20,0)]).circle(15).circle(5,mode='s')",
        ".rect(4,4).circle(5,mode='s').rect(3,3)",
        ".rect(100,100).push([(10,10)])"
        ".face(w0.sketch().push([(5,5)]).rect(20,20).circle(5,mode='s'),mode='s')",
    ],
)
def test_kernels_agree_on_what_a_sketch_means(kernel: ExactKernel, ops: str) -> None:
    check_same_solid(text_to_program(f"{HEAD}w0.sketch(){ops}.finalize().extrude(10)"), kernel)


@pytest.mark.parametrize(
    "ops",
    [
        ".circle(5,mode='s').rect(40,40)",
        ".rect(4,4).circle(5,mode='s').rect(3,3,mode='s').rect(9,9)",
        ".rect(40,40).face(w0.sketch().circle(5,mode='s').rect(4,4),mode='s')",
        ".rect(4,4).circle(9,mode='s')",
        ".push([(1,1)])",
        ".segment((0,0),(40,0)).segment((40,40)).segment((0,40)).assemble()",
        ".segment((0,0),(40,0)).segment((40,40)).segment((0,0)).close().assemble()",
        ".segment((0,0),(40,0)).segment((40,0)).segment((40,40)).close().assemble()",
        ".segment((0,0),(20,0)).segment((40,0)).close().assemble()",
        ".segment((0,0),(40,40)).segment((40,0)).segment((0,60)).close().assemble()",
        ".segment((0,0),(40,0)).segment((40,40)).segment((20,0)).segment((0,40)).close().assemble()",
        ".segment((-40,0),(40,0)).segment((40,40)).arc((0,0),(-40,40)).close().assemble()",
        ".segment((-40,0),(40,0)).segment((40,40)).arc((0,-5),(-40,40)).close().assemble()",
        ".segment((0,0),(40,0)).arc((40,10),(40,40)).close().assemble()",
        SQUARE + SQUARE + ".assemble()",
    ],
)
def test_kernels_agree_on_what_has_no_solid(kernel: ExactKernel, ops: str) -> None:
    program = text_to_program(f"{HEAD}w0.sketch(){ops}.finalize().extrude(10)")
    exact, fast = kernel.build(program), program_to_mesh(program)
    assert exact.outcome in (Outcome.EMPTY, Outcome.INVALID)
    assert fast.outcome in (Outcome.EMPTY, Outcome.INVALID)


@pytest.mark.parametrize(
    "ops",
    [
        SMALL + SQUARE + ".assemble()",
        SQUARE + ".segment((0,0),(20,10)).segment((10,20)).segment((0,0)).assemble()",
        ".segment((0,0),(20,20)).segment((40,40)).segment((40,0)).segment((20,20))"
        ".segment((0,40)).close().assemble()",
        ".segment((0,0),(40,0)).segment((40,40),(0,40)).segment((40,0),(40,40))"
        ".segment((0,40),(0,0)).assemble()",
    ],
)
def test_what_only_the_exact_kernel_builds_is_refused_by_the_fast_one(ops: str) -> None:
    """Chains in no order or touching themselves: an answer that says so, never a wrong solid."""
    program = text_to_program(f"{HEAD}w0.sketch(){ops}.finalize().extrude(10)")
    assert program_to_mesh(program).outcome is Outcome.INVALID


# -- the superset --------------------------------------------------------------------------------

BLOCK = "w0.workplane(offset=20/2).box(80,60,20)"
ROD = "w0.workplane(offset=20/2).cylinder(90,10)"
L_SHAPE = (
    ".segment((0,0),(40,0)).segment((40,10)).segment((10,10)).segment((10,40)).segment((0,40))"
    ".close().assemble()"
)
ROUNDED = ".rect(40,20).vertices().fillet(5)"
D_SHAPE = ".segment((0,-20),(0,20)).arc((20,0),(0,-20)).assemble()"


def extruded(ops: str, height: int = 10) -> str:
    return f"w0.sketch(){ops}.finalize().extrude({height})"


def on_plane(expression: str, plane: str) -> Program:
    """``{}`` stands for the axis that is the plane's normal."""
    normal = {"XY": "Z", "YZ": "X", "ZX": "Y"}[plane]
    return text_to_program(HEAD.replace("XY", plane) + expression.replace("{}", normal))


SUPERSET = [
    f"{BLOCK}.cut({ROD})",
    f"{BLOCK}.union(w0.workplane(offset=60/2).box(30,30,40)).cut({ROD}).union({ROD})",
    f"{BLOCK}.cut({extruded('.push([(9,9)]).rect(99,9)', 8)}).cut({ROD})",
    "w0.sketch().push([(20,15)]).rect(20,10).finalize().revolve(360,(0,0,0),(0,1,0))",
    "w0.sketch().push([(20,15)]).rect(20,10).finalize().revolve(90,(0,0,0),(0,1,0))",
    "w0.sketch().push([(20,15)]).rect(20,10).finalize().revolve(250,(0,-5,0),(1,-5,0))",
    "w0.sketch().push([(-20,15)]).rect(20,10).finalize().revolve(100,(-10,0,0),(-10,1,0))",
    "w0.sketch().push([(40,0)]).circle(20).circle(12,mode='s').finalize()"
    ".revolve(360,(10,0,0),(10,1,0))",
    f"w0.sketch(){D_SHAPE}.finalize().revolve(360,(0,0,0),(0,1,0))",
    f"w0.sketch(){L_SHAPE}.finalize().revolve(200,(0,50,0),(1,50,0))",
    f"{BLOCK}.cut(w0.sketch().push([(9,10)]).rect(18,40).finalize().revolve(360,(0,0,0),(0,1,0)))",
    extruded(ROUNDED),
    extruded(".push([(3,4)]).rect(40,20).reset().vertices().chamfer(5)", -10),
    extruded(".rect(40,20).vertices().fillet(10)"),
    extruded(f"{L_SHAPE}.vertices().fillet(4).push([(5,20)]).circle(2,mode='s')"),
    extruded(f".push([(9,9)]){L_SHAPE}.reset().vertices().chamfer(4)"),
    extruded(".rect(80,60).face(w0.sketch().rect(20,20).vertices().fillet(4),mode='s')"),
    f"{BLOCK}.faces('>{{}}').edges().chamfer(4)",
    f"{BLOCK}.faces('<{{}}').edges().fillet(4).faces('>{{}}').edges().chamfer(6)",
    "w0.workplane(offset=20/2).cylinder(20,30).faces('>{}').edges().fillet(8)",
    extruded(".circle(30).circle(10,mode='s')") + ".faces('>{}').edges().chamfer(3)",
    extruded(L_SHAPE, -10) + ".faces('<{}').edges().chamfer(2)",
    extruded(L_SHAPE) + ".faces('>{}').edges().fillet(3)",
    extruded(ROUNDED) + ".faces('>{}').edges().fillet(3).faces('<{}').edges().chamfer(3)",
    extruded(D_SHAPE) + ".faces('>{}').edges().chamfer(4)",
    extruded(".rect(40,40).push([(20,0)]).circle(15).circle(5,mode='s')")
    + ".faces('>{}').edges().chamfer(2)",
    f"{BLOCK}.faces('>{{}}').edges().chamfer(4).cut({ROD}.faces('<{{}}').edges().chamfer(4))",
]


@pytest.mark.parametrize("index", range(len(SUPERSET)))
def test_kernels_agree_on_the_superset(kernel: ExactKernel, index: int) -> None:
    check_in_place(on_plane(SUPERSET[index], ("XY", "YZ", "ZX")[index % 3]), kernel)


@pytest.mark.slow
@pytest.mark.parametrize("plane", ["XY", "YZ", "ZX"])
@pytest.mark.parametrize("expression", SUPERSET)
def test_kernels_agree_on_the_superset_on_every_plane(
    kernel: ExactKernel, expression: str, plane: str
) -> None:
    check_in_place(on_plane(expression, plane), kernel)


@pytest.mark.parametrize(
    "expression",
    [
        f"{ROD}.cut(w0.workplane(offset=20/2).box(300,300,300))",
        "w0.sketch().rect(20,10).finalize().revolve(360,(5,0,0),(5,1,0))",
        "w0.sketch().push([(9,0)]).rect(2,2).push([(-9,0)]).rect(2,2).finalize()"
        ".revolve(360,(0,0,0),(0,1,0))",
        extruded(".rect(40,20).vertices().chamfer(11)"),
        extruded(".rect(40,20).vertices().fillet(11)"),
        extruded(f"{L_SHAPE}.vertices().chamfer(6)"),
        f"{BLOCK}.faces('>{{}}').edges().chamfer(21)",
        "w0.workplane(offset=20/2).cylinder(20,9).faces('>{}').edges().fillet(10)",
    ],
)
def test_kernels_agree_on_what_the_superset_cannot_make(
    kernel: ExactKernel, expression: str
) -> None:
    program = on_plane(expression, "XY")
    exact, fast = kernel.build(program), program_to_mesh(program)
    assert exact.outcome in (Outcome.EMPTY, Outcome.INVALID)
    assert fast.outcome in (Outcome.EMPTY, Outcome.INVALID)
