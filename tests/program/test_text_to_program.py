"""Text to tree: it gives back what was printed, runs nothing, and says what and where is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadwright.errors import ProgramError, UnsupportedError
from cadwright.program.grammar import Box, Cylinder, Plane, Program, Reset
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "shapes").glob("*.py"))
HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n"
BOX = "w0.workplane(offset=10/2).box(1,2,3)"


def with_op(op: str) -> str:
    return f"{HEAD}r=w0.sketch(){op}.finalize().extrude(1)"


@given(st.from_type(Program))
def test_a_printed_program_reads_back_equal(program: Program) -> None:
    assert text_to_program(program_to_text(program)) == program


@given(st.from_type(Program))
def test_printing_is_canonical(program: Program) -> None:
    text = program_to_text(program)
    assert program_to_text(text_to_program(text)) == text
    assert "e+" not in text
    assert "--" not in text


def test_the_golden_programs_are_there() -> None:
    assert len(GOLDEN) == 12


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_programs_print_as_they_were_but_for_an_idle_move(path: Path) -> None:
    text = path.read_text().strip()
    assert program_to_text(text_to_program(text)) == text.replace(".moveTo(0,0)", "")


def test_numbers_keep_their_value_and_take_one_form() -> None:
    text = f"{HEAD}r=w0.workplane(offset=-85/2).moveTo(+1.50,- 2.0).cylinder(0x10,1_0)"
    assert text_to_program(text).bodies == (Cylinder(0, -85, (1.5, -2), 16, 10),)


@pytest.mark.parametrize(("offset", "twice"), [("5", 10), ("-85/2", -85), ("0.25", 0.5)])
def test_an_offset_may_be_written_with_or_without_half(offset: str, twice: float) -> None:
    body = text_to_program(f"{HEAD}r=w0.workplane(offset={offset}).box(1,2,3)").bodies[0]
    assert isinstance(body, Box)
    assert body.twice_offset == twice


def test_comments_and_line_ends_mean_nothing() -> None:
    plain = text_to_program(f"{HEAD}r={BOX}")
    assert text_to_program(f"# by hand\n\n{HEAD}r={BOX}  # a block\n") == plain
    assert text_to_program(f"{HEAD}r={BOX}".replace("\n", "\r\n")) == plain
    assert text_to_program(f"{HEAD}r=({BOX}\n)") == plain


def test_the_import_may_be_left_out() -> None:
    assert text_to_program(f"w0=cq.Workplane('ZX',origin=(1,2,3))\nr={BOX}").planes == (
        Plane("ZX", (1, 2, 3)),
    )


def test_reset_is_kept_where_it_stands() -> None:
    program = text_to_program(with_op(".push([(1,2)]).reset().circle(3)"))
    assert Reset() in program.bodies[0].sketch.ops  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n\t\n",
        "# only a comment",
        HEAD,
        f"{HEAD}r={BOX}(",
        f"{HEAD}\tr={BOX}",
        "a\0b",
        "\udc80",
        "(" * 10_000,
        f"{HEAD}r={'(' * 10_000}1{')' * 10_000}",
        f"{HEAD}r={'[' * 5_000}{']' * 5_000}",
        f"{HEAD}r={'not ' * 20_000}1",
        f"{HEAD}r=w0{'.a' * 40_000}",
        f"{HEAD}r=w0{'.a()' * 20_000}",
        f"{HEAD}r={BOX}{f'.union({BOX})' * 1_000}",
        f"{HEAD}r={'1+' * 40_000}1",
        f"{HEAD}r=w0.workplane(offset=1/2).box({'-' * 50_000}1,1,1)",
        f"{HEAD}r=w0.workplane(offset=1/2).box({'9' * 5_000},1,1)",
        "#" * 200_000,
    ],
    ids=lambda text: f"{text[:20]!r}..{len(text)}",
)
def test_what_cannot_be_read_is_a_program_error(text: str) -> None:
    with pytest.raises(ProgramError) as caught:
        text_to_program(text)
    assert str(caught.value).strip()


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(ProgramError) as caught:
        text_to_program(f"{HEAD}r=w0.sketch(.circle(3)")
    assert caught.value.line == 3
    assert caught.value.column > 1
    assert str(caught.value).startswith("line 3, column ")


@pytest.mark.parametrize("depth", [50, 150, 195])
def test_faces_within_faces_never_exhaust_the_stack(depth: int) -> None:
    nested = ".face(w0.sketch()" * depth + ".circle(3)" + ")" * depth
    try:
        program = text_to_program(with_op(nested))
    except ProgramError:
        return
    assert text_to_program(program_to_text(program)) == program


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("import os\n", 1, 1, "import"),
        ("from cadquery import *\n", 1, 1, "ImportFrom"),
        ("import cadquery as cq, os\n", 1, 1, "import"),
        (f"{HEAD}import os", 3, 1, "import"),
        (f"{HEAD}exec('1')\nr={BOX}", 3, 1, "Expr"),
        (f"{HEAD}r=eval('1')", 3, 3, "plane"),
        (f"{HEAD}r=__import__('os').system('true')", 3, 3, ""),
        (f"{HEAD}r=w0.__class__", 3, 3, ""),
        (f"{HEAD}for i in range(3): pass\nr={BOX}", 3, 1, "For"),
        (f"{HEAD}while True: pass", 3, 1, "While"),
        (f"{HEAD}def f(): pass", 3, 1, "FunctionDef"),
        (f"{HEAD}r=(lambda: w0)()", 3, 3, ""),
        (f"{HEAD}r=f'{{w0}}'", 3, 3, ""),
        ("w0=cq.Workplane(f'XY',origin=(0,0,0))", 1, 17, "'XY', 'YZ' or 'ZX'"),
        ("w0=cq.Workplane('XZ',origin=(0,0,0))", 1, 17, "'XY', 'YZ' or 'ZX'"),
        ("w0=cq.Workplane('XY',origin=(0,0))", 1, 29, "3 numbers"),
        ("w1=cq.Workplane('XY',origin=(0,0,0))", 1, 1, "w0"),
        (f"{HEAD}r=w5.workplane(offset=1/2).box(1,1,1)", 3, 3, "plane"),
        (f"{HEAD}r={BOX}; import os", 3, 41, "nothing may follow"),
        (f"{HEAD}r={BOX}\nr={BOX}", 4, 1, "nothing may follow"),
        (f"{HEAD}r=s={BOX}", 3, 1, "name"),
        (f"{HEAD}r,s={BOX}", 3, 1, "name"),
        (f"{HEAD}r:int={BOX}", 3, 1, "AnnAssign"),
        (f"{HEAD}r={BOX}[0]", 3, 3, ""),
        (f"{HEAD}r=w0.workplane(offset=1/2).box(1e400,1,1)", 3, 32, "finite"),
        (f"{HEAD}r=w0.workplane(offset=1/2).box(1e7,1,1)", 3, 32, "1e+06"),
        (f"{HEAD}r=w0.workplane(offset=1/2).box(nan,1,1)", 3, 32, "number"),
        (f"{HEAD}r=w0.workplane(offset=1/2).box(True,1,1)", 3, 32, "number"),
        (f"{HEAD}r=w0.workplane(offset=1/2).box(1j,1,1)", 3, 32, "number"),
        (f"{HEAD}r=w0.workplane(offset=1/2).box(0,1,1)", 3, 32, "greater than 0"),
        (f"{HEAD}r=w0.workplane(offset=1/2).box(2*3,1,1)", 3, 32, "number"),
        (f"{HEAD}r=w0.workplane(offset=1/3).box(1,1,1)", 3, 25, "divided by 2"),
        (with_op(".circle(-1)"), 3, 22, "greater than 0"),
        (with_op(".circle(1,mode='x')"), 3, 29, "mode"),
        (with_op(".circle(*(3,))"), 3, 22, "number"),
        (with_op(".push([(1,2),(3,4)])"), 3, 20, "one point"),
        (with_op(".segment([0,0],[1,1]).close().assemble()"), 3, 23, "2 numbers"),
    ],
)
def test_what_is_outside_the_dialect_is_named_with_its_place(
    text: str, line: int, column: int, word: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        text_to_program(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert word in str(caught.value)
    assert str(caught.value).startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (f"{HEAD}r={BOX}.fillet(2)", "fillet"),
        (f"{HEAD}r={BOX}.hole(3)", "hole"),
        (f"{HEAD}r={BOX}.intersect({BOX})", "intersect"),
        (f"{HEAD}r={BOX}.cut()", "cut"),
        (f"{HEAD}r={BOX}.cut({BOX},clean=True)", "cut"),
        (f"{HEAD}r=w0.circle(3).extrude(1)", "circle"),
        (f"{HEAD}r=w0.sketch().circle(3).finalize().extrude(1,taper=3)", "extrude"),
        (f"{HEAD}r=w0.sketch().circle(3).finalize().revolve(90)", "revolve"),
        (f"{HEAD}r=w0.workplane(offset=1/2).moveTo(1,2).moveTo(1,2).box(1,1,1)", "moveTo"),
        (f"{HEAD}r=w0.workplane(offset=1/2).box(1,1,1,centered=False)", "box"),
        (f"{HEAD}r={BOX}.union({BOX},clean=True)", "union"),
        (f"{HEAD}r={BOX}.union()", "union"),
        (with_op(".ellipse(1,2)"), "ellipse"),
        (with_op(".circle(r=3)"), "circle"),
        (with_op(".circle(3,tag='a')"), "circle"),
        (with_op(".circle(3,**{})"), "circle"),
        (with_op(".circle(3,mode='s',mode='s')"), "circle"),
        (with_op(".rect(3)"), "rect"),
        (with_op(".rect(3,4,5)"), "rect"),
        (with_op(".reset(1)"), "reset"),
        (with_op(".__init__()"), "__init__"),
        (with_op(".segment((1,2)).close().assemble()"), "segment"),
        (with_op(".close()"), "close"),
        (with_op(".circle(1).assemble()"), "assemble"),
        (with_op(".segment((0,0),(1,1)).segment((1,0)).close()"), "assemble"),
    ],
    ids=lambda value: value if len(value) < 15 else "",
)
def test_a_call_outside_the_dialect_is_named_where_it_stands(text: str, call: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        text_to_program(text)
    error = caught.value
    assert call in str(error)
    assert error.line == 3
    last_line = text.splitlines()[2]
    starts = [k + 1 for k in range(len(last_line)) if last_line.startswith(call, k)]
    if starts:  # the chain's own place would be column 3 for each of them
        assert error.column in starts


def test_reading_runs_and_imports_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "was_here"
    for code in (f"open({str(trace)!r},'w')", "__import__('antigravity')", "exit()"):
        with pytest.raises(ProgramError):
            text_to_program(f"{HEAD}r={code}")
        with pytest.raises(ProgramError):
            text_to_program(f"{HEAD}r=w0.workplane(offset=1/2).box({code},1,1)")
    assert not trace.exists()
    assert "antigravity" not in sys.modules


def test_reading_warns_nobody(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(ProgramError):
        text_to_program(f"{HEAD}r=w0.box('\\d' is 1)")
    assert not recwarn.list
