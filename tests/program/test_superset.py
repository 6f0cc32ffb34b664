"""What we add to the published dialect: read, printed, refused where it has no meaning, counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadwright.errors import UnsupportedError
from cadwright.geometry.frames import Placement
from cadwright.geometry.voxels import Grid, iou, manifold_to_voxels
from cadwright.program.grammar import (
    Corners,
    Extrude,
    Plane,
    Program,
    Revolve,
    Rim,
    is_published_dialect,
    numbers,
    sizes_are_positive,
    with_numbers,
)
from cadwright.program.program_to_mesh import program_to_manifold, program_to_mesh
from cadwright.program.program_to_text import program_to_text
from cadwright.program.program_to_user import program_to_user, user_program_to_text
from cadwright.program.program_to_voxels import program_to_voxels
from cadwright.program.text_to_program import text_to_program
from cadwright.types import BuildResult, Outcome

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n"
BOX = "w0.workplane(offset=40/2).box(80,60,40)"
ROD = "w0.workplane(offset=40/2).cylinder(100,10)"
TRIANGLE = ".segment((0,0),(40,0)).segment((0,30)).close().assemble()"


def build(expression: str, plane: str = "XY") -> BuildResult:
    return program_to_mesh(text_to_program(f"{HEAD.replace('XY', plane)}r={expression}"))


def sketch(ops: str) -> BuildResult:
    return build(f"w0.sketch(){ops}.finalize().extrude(10)")


# -- language ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        f"{BOX}.cut({ROD})",
        f"{BOX}.cut({ROD}).union({ROD}).cut({BOX})",
        f"{BOX}.faces('>Z').edges().chamfer(2)",
        f"{BOX}.faces('<Z').edges().fillet(2.5).faces('>Z').edges().chamfer(1)",
        f"{BOX}.faces('>Z').edges().chamfer(2).cut({ROD}.faces('<Z').edges().fillet(1))",
        "w0.sketch().rect(4,6).finalize().extrude(-3).faces('<Z').edges().chamfer(1)",
        "w0.sketch().push([(9,0)]).rect(4,6).finalize().revolve(360,(0,0,0),(0,1,0))",
        "w0.sketch().push([(9,0)]).rect(4,6).finalize().revolve(22.5,(0,-9,0),(1,-9,0))",
        "w0.sketch().rect(4,6).vertices().fillet(1).finalize().extrude(3)",
        f"w0.sketch(){TRIANGLE}.vertices().chamfer(1).push([(9,9)]).circle(1,mode='s')"
        ".finalize().extrude(3)",
        "w0.sketch().circle(9).face(w0.sketch().push([(1,2)]).rect(4,6).reset().vertices()"
        ".fillet(1),mode='s').finalize().extrude(3)",
    ],
)
def test_the_superset_prints_as_it_was_written_and_is_not_the_published_dialect(
    expression: str,
) -> None:
    text = f"{HEAD}r={expression}"
    program = text_to_program(text)
    assert program_to_text(program) == text
    assert not is_published_dialect(program)


@given(st.from_type(Program), st.from_type(Extrude))
def test_a_program_is_published_unless_something_of_the_superset_is_in_its_text(
    program: Program, body: Extrude
) -> None:
    words = (".cut(", ".revolve(", ".fillet(", ".chamfer(")
    text = program_to_text(program)
    assert is_published_dialect(program) == (not any(word in text for word in words))
    planes = (Plane("XY", (0, 0, 0)), Plane("ZX", (0, 0, 0)))
    assert is_published_dialect(Program(planes, (body,)))


@pytest.mark.parametrize(
    ("expression", "call"),
    [
        (f"{BOX}.faces('>X').edges().chamfer(2)", "faces"),
        (f"{BOX}.faces().edges().chamfer(2)", "faces"),
        (f"{BOX}.faces('>Z').chamfer(2)", "chamfer"),
        (f"{BOX}.faces('>Z').edges()", "edges"),
        (f"{BOX}.faces('>Z').edges('|X').chamfer(2)", "edges"),
        (f"{BOX}.faces('>Z').edges().chamfer(2,3)", "chamfer"),
        (f"{BOX}.faces('>Z').edges().shell(2)", "shell"),
        (f"{BOX}.faces('>Z').edges().chamfer(2).faces('>Z').edges().chamfer(2)", "faces"),
        (f"{BOX}.edges('|Z').fillet(2)", "edges"),
        (f"{BOX}.union({ROD}).faces('>Z').edges().chamfer(2)", "union"),
        ("w0.sketch().rect(4,6).finalize().revolve(360)", "revolve"),
        ("w0.sketch().rect(4,6).vertices().finalize().extrude(3)", "vertices"),
        ("w0.sketch().rect(4,6).fillet(1).finalize().extrude(3)", "fillet"),
        ("w0.sketch().rect(4,6).vertices('>X').fillet(1).finalize().extrude(3)", "vertices"),
        ("w0.sketch().circle(6).vertices().fillet(1).finalize().extrude(3)", "fillet"),
        ("w0.sketch().vertices().fillet(1).rect(4,6).finalize().extrude(3)", "fillet"),
        ("w0.sketch().rect(4,6).rect(6,4).vertices().fillet(1).finalize().extrude(3)", "fillet"),
        (
            "w0.sketch().push([(1,1)]).rect(4,6).vertices().fillet(1).finalize().extrude(3)",
            "fillet",
        ),
        ("w0.sketch().rect(4,6).vertices().fillet(1).circle(1).finalize().extrude(3)", "circle"),
        (
            "w0.sketch().segment((0,0),(9,0)).arc((5,5),(0,0)).assemble().vertices().fillet(1)"
            ".finalize().extrude(3)",
            "fillet",
        ),
        (
            "w0.sketch().push([(9,0)]).rect(4,6).finalize().revolve(360,(0,0,0),(0,1,0))"
            ".faces('>Z').edges().chamfer(1)",
            "revolve",
        ),
    ],
)
def test_what_is_beyond_the_superset_is_named_with_its_place(expression: str, call: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        text_to_program(f"{HEAD}r={expression}")
    assert call in str(caught.value)
    assert caught.value.line == 3
    starts = [k + 3 for k in range(len(expression)) if expression.startswith(call, k)]
    assert caught.value.column in starts


@pytest.mark.parametrize(
    "arguments",
    ["0,(0,0,0),(0,1,0)", "361,(0,0,0),(0,1,0)", "90,(0,0,0),(0,0,1)", "90,(0,0,0),(1,1,0)"],
)
def test_an_axis_or_angle_without_meaning_is_refused(arguments: str) -> None:
    with pytest.raises(UnsupportedError, match="line 3"):
        text_to_program(f"{HEAD}r=w0.sketch().rect(4,6).finalize().revolve({arguments})")


def test_an_angle_is_no_length() -> None:
    text = f"{HEAD}r=w0.sketch().push([(9,0)]).rect(4,6).finalize().revolve(90,(7,0,0),(7,1,0))"
    program = text_to_program(text)
    assert list(numbers(program)) == [0, 0, 0, 9, 0, 4, 6, 7]
    user = program_to_user(program, Placement(2.0, np.array([1.0, 2.0, 3.0])))
    assert user_program_to_text(user).splitlines()[1:] == [
        "w0=cq.Workplane('XY',origin=(1,2,3))",
        "r=w0.sketch().push([(18,0)]).rect(8,12).finalize().revolve(90,(14,0,0),(14,1,0))",
    ]


@pytest.mark.parametrize(
    "expression",
    [
        f"{BOX}.faces('>Z').edges().chamfer(2)",
        "w0.sketch().rect(4,6).vertices().fillet(1).finalize().extrude(3)",
    ],
)
def test_a_cut_without_size_is_noticed(expression: str) -> None:
    program = text_to_program(f"{HEAD}r={expression}")
    values = list(numbers(program))
    assert sizes_are_positive(program)
    kinds = (Rim, Corners)
    place = max(k for k, value in enumerate(values) if value == (2 if "faces" in expression else 1))
    values[place] = 0
    changed = with_numbers(program, values)
    assert not sizes_are_positive(changed)
    assert any(kind.__name__ in repr(changed) for kind in kinds)


# -- solids that can be worked out by hand -------------------------------------------------------


def test_a_hole_goes_through_all_bodies_before_it_and_none_after() -> None:
    block = 80 * 60 * 40
    hole = math.pi * 10**2
    assert build(f"{BOX}.cut({ROD})").volume == pytest.approx(block - 40 * hole)
    stack = f"{BOX}.union(w0.workplane(offset=120/2).box(30,30,40)).cut({ROD})"
    assert build(stack).volume == pytest.approx(block + 40 * 900 - 70 * hole)
    assert build(f"{BOX}.cut({ROD}).union({ROD})").volume == pytest.approx(block + 60 * hole)


def test_a_cut_that_leaves_nothing_is_empty() -> None:
    assert build(f"{ROD}.cut(w0.workplane(offset=0/2).box(300,300,300))").outcome is Outcome.EMPTY


def test_a_first_body_that_cuts_is_invalid() -> None:
    body = Extrude(0, text_to_program(f"{HEAD}r={BOX}").bodies[0].plane, 1, "s")  # type: ignore[arg-type]
    assert program_to_mesh(Program((), (body,))).outcome is Outcome.INVALID


@pytest.mark.parametrize("plane", ["XY", "YZ", "ZX"])
@pytest.mark.parametrize(("angle", "share"), [(360, 1.0), (90, 0.25), (200, 200 / 360)])
@pytest.mark.parametrize("axis", ["(5,0,0),(5,1,0)", "(0,-40,0),(1,-40,0)"])
def test_a_revolved_rectangle_has_the_volume_of_its_ring(
    plane: str, angle: float, share: float, axis: str
) -> None:
    inner, outer, width = (15, 35, 10) if axis.startswith("(5") else (50, 60, 20)
    body = f"w0.sketch().push([(30,15)]).rect(20,10).finalize().revolve({angle},{axis})"
    ring = math.pi * (outer**2 - inner**2) * width
    assert build(body, plane).volume == pytest.approx(share * ring, rel=1e-6)


def test_a_revolution_turns_right_handed_about_its_axis() -> None:
    text = "w0.sketch().push([(20,15)]).rect(20,10).finalize().revolve(90,{})"
    about_y = build(text.format("(0,0,0),(0,1,0)")).mesh
    about_x = build(text.format("(0,0,0),(1,0,0)")).mesh
    assert about_y is not None
    assert about_x is not None
    np.testing.assert_allclose(about_y.bounds, [[0, 10, -30], [30, 20, 0]], atol=1e-6)
    np.testing.assert_allclose(about_x.bounds, [[10, 0, 0], [30, 20, 20]], atol=1e-6)


def test_an_axis_through_the_sketch_is_invalid() -> None:
    result = build("w0.sketch().rect(20,10).finalize().revolve(360,(5,0,0),(5,1,0))")
    assert result.outcome is Outcome.INVALID
    assert "axis" in result.message


@given(st.integers(1, 20), st.integers(41, 90), st.integers(41, 90))
def test_cut_corners_take_away_what_they_should(size: int, width: int, height: int) -> None:
    chamfered = sketch(f".rect({width},{height}).vertices().chamfer({size})")
    assert chamfered.volume == pytest.approx(10 * (width * height - 2 * size**2))
    rounded = sketch(f".rect({width},{height}).vertices().fillet({size})")
    assert rounded.volume == pytest.approx(10 * (width * height - (4 - math.pi) * size**2))


@pytest.mark.parametrize("kind", ["fillet", "chamfer"])
def test_corners_may_meet_but_not_overlap(kind: str) -> None:
    assert sketch(f".rect(40,20).vertices().{kind}(10)").outcome is Outcome.OK
    overlapping = sketch(f".rect(40,20).vertices().{kind}(11)")
    assert overlapping.outcome is Outcome.INVALID
    assert kind in overlapping.message


def test_rims_take_away_what_they_should() -> None:
    def frustum(c: float) -> float:
        """What a chamfer takes from a 40 x 20 end: the prism of height c less what is left."""
        left = 40 * 20 * c - (40 + 20) * c**2 + 4 * c**3 / 3
        return 40 * 20 * c - left

    box = "w0.workplane(offset=10/2).box(40,20,10)"
    top = build(f"{box}.faces('>Z').edges().chamfer(2)")
    assert top.volume == pytest.approx(8000 - frustum(2))
    both = build(f"{box}.faces('>Z').edges().chamfer(2).faces('<Z').edges().chamfer(3)")
    assert both.volume == pytest.approx(8000 - frustum(2) - frustum(3))
    rod = "w0.workplane(offset=10/2).cylinder(10,20)"
    cone = math.pi * (20**2 * 8 + 2 * (20**2 + 20 * 18 + 18**2) / 3)
    assert build(f"{rod}.faces('<Z').edges().chamfer(2)").volume == pytest.approx(cone, rel=1e-4)


@pytest.mark.parametrize(
    "expression",
    [
        "w0.workplane(offset=10/2).box(40,20,10).faces('>Z').edges().chamfer(10)",
        "w0.workplane(offset=10/2).box(40,8,10).faces('>Z').edges().chamfer(4)",
        "w0.workplane(offset=10/2).cylinder(10,4).faces('>Z').edges().fillet(5)",
    ],
)
def test_a_rim_that_does_not_fit_is_invalid(expression: str) -> None:
    assert build(expression).outcome is Outcome.INVALID


# -- cells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("plane", ["XY", "YZ", "ZX"])
@pytest.mark.parametrize(
    "expression",
    [
        f"{BOX}.cut({ROD}).cut(w0.workplane(offset=80/2).box(20,90,20))",
        f"{BOX}.cut({ROD}).union({ROD})",
        "w0.sketch().push([(50,15)]).rect(60,50).finalize().revolve(360,(0,0,0),(0,1,0))",
        "w0.sketch().push([(-50,15)]).circle(30).finalize().revolve(100,(0,0,0),(0,1,0))",
        "w0.sketch().push([(15,50)]).rect(60,50).finalize().revolve(300,(0,-5,0),(1,-5,0))",
        f"{BOX}.cut(w0.sketch().push([(9,0)]).rect(18,30).finalize().revolve(360,(0,0,0),(0,1,0)))",
        "w0.sketch().rect(120,80).vertices().fillet(30).finalize().extrude(70)",
        "w0.sketch().rect(120,80).face(w0.sketch().rect(60,50).vertices().chamfer(20),mode='s')"
        ".finalize().extrude(-70)",
        "w0.workplane(offset=60/2).box(120,90,60).faces('>{}').edges().chamfer(25)",
        "w0.workplane(offset=60/2).cylinder(60,60).faces('<{}').edges().fillet(30)",
    ],
)
def test_cells_of_the_superset_agree_with_the_solid(expression: str, plane: str) -> None:
    text = expression.replace("{}", {"XY": "Z", "YZ": "X", "ZX": "Y"}[plane])
    program = text_to_program(f"{HEAD.replace('XY', plane)}r={text}")
    grid = Grid(104)
    found = iou(
        program_to_voxels(program, grid), manifold_to_voxels(program_to_manifold(program), grid)
    )
    assert found > 0.985


def test_a_revolution_is_a_body_of_its_own() -> None:
    program = text_to_program(
        f"{HEAD}r=w0.sketch().rect(4,6).finalize().revolve(360,(9,0,0),(9,1,0))"
    )
    (body,) = program.bodies
    assert isinstance(body, Revolve)
    assert (body.axis, body.at, body.angle, body.mode) == ("Y", 9, 360, "a")
