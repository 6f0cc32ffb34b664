"""Program in the PROGRAM frame -> the same program with the user's lengths and position.

In: a program and the way to the USER frame. Out: a program that is still of the dialect, and
its text, plain CadQuery. Scale and shift are snapped to short decimals, so that numbers stay
readable and faces that met still meet exactly. Lengths that the dialect cannot hold (parts
smaller than 2 units, or far from the origin) keep a rest, which the text carries as one line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from cadwright.errors import InputError
from cadwright.geometry.frames import PROGRAM_SIDE, Placement
from cadwright.program.grammar import Program, numbers, tidy, with_numbers
from cadwright.program.program_to_text import program_to_text
from cadwright.program.round_numbers import roundest, with_round_numbers
from cadwright.program.script_to_text import script_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.types import FloatArray

# What a program's numbers may be multiples of. Halves occur, and six decimals are printed.
GRIDS = tuple(Decimal(1).scaleb(-digits) for digits in range(6)) + (Decimal("0.000002"),)
TOLERANCE = 1e-5  # largest move of a point by snapping, as a share of the part's longest side
LEAST_SIZE, LARGEST_SIZE, LARGEST_SHIFT = 2.0, 1e5, 5e5

_NUMBER = r"(-?[\d.]+(?:e[-+]?\d+)?)"
_REST = re.compile(
    rf"r=cq\.Workplane\(r\.val\(\)\.scale\({_NUMBER}\)"
    rf"(?:\.rotate\(\(0,0,0\),\({_NUMBER},{_NUMBER},{_NUMBER}\),{_NUMBER}\))?"
    rf"\.translate\(\({_NUMBER},{_NUMBER},{_NUMBER}\)\)\)"
)


@dataclass(frozen=True, slots=True, eq=False)
class UserProgram:
    """A program in the user's lengths.

    Attributes:
        program: of the dialect, numbers with at most six decimals.
        rest: from the program's numbers to the USER frame where they are not there already
            (a power of 1000 and a shift); None for nearly every part.
        rounded_by: the largest move of a face that made numbers round, USER frame.
    """

    program: Program
    rest: Placement | None = None
    rounded_by: float = 0.0


def program_to_user(
    program: Program,
    placement: Placement,
    *,
    tolerance: float = 0.0,
    factors: Mapping[float, float] | None = None,
) -> UserProgram:
    """Scale all lengths of a program and move its planes.

    Args:
        program: PROGRAM frame.
        placement: from the PROGRAM to the USER frame.
        tolerance: by how much faces may move so that numbers become round in the user's unit,
            as a share of the longest side; 0 keeps them where they are.
        factors: see ``with_round_numbers``.
    Returns:
        The program in the USER frame. Without a tolerance, where the numbers of ``program`` are
        whole or halves, its points lie within 5e-5 of the longest side (200 PROGRAM units) of
        where the placement puts them, and bodies that touched still touch exactly.
    """
    unit = _size_to_unit(placement.scale * PROGRAM_SIDE)
    shift = placement.offset / unit
    # A part that stands askew is written in its own axes, about its own middle.
    far = bool(np.abs(shift).max() > LARGEST_SHIFT) or placement.rotation is not None
    inner = Placement(placement.scale / unit, np.zeros(3) if far else shift)
    moved, by = _moved(program, inner), 0.0
    if tolerance > 0:
        moved, by = _rounded(program, inner, tolerance * inner.scale * PROGRAM_SIDE, factors)
    if unit == 1.0 and not far:
        return UserProgram(moved, rounded_by=by)
    rest = Placement(unit, placement.offset if far else np.zeros(3), placement.rotation)
    return UserProgram(moved, rest, by * unit)


def user_program_to_text(user: UserProgram, *, comments: Sequence[str] = ()) -> str:
    """Print it: comment lines, the canonical text, and one more line where there is a rest."""
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    lines.append(program_to_text(user.program))
    if user.rest is not None:
        lines.append(rest_to_text(user.rest))
    return "\n".join(lines) + "\n"


def rest_to_text(rest: Placement) -> str:
    """The line that brings ``r`` from the program's numbers to the USER frame."""
    x, y, z = (repr(float(value)) for value in rest.offset)
    turn = ""
    if rest.rotation is not None:
        axis, angle = _rotation_to_axis(rest.rotation)
        a, b, c = (repr(round(float(value), 12)) for value in axis)
        turn = f".rotate((0,0,0),({a},{b},{c}),{round(math.degrees(angle), 10)!r})"
    return f"r=cq.Workplane(r.val().scale({rest.scale!r}){turn}.translate(({x},{y},{z})))"


def _rotation_to_axis(rotation: FloatArray) -> tuple[FloatArray, float]:
    """Unit axis and angle of a rotation."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(rotation).as_rotvec()
    angle = float(np.linalg.norm(turn))
    return (turn / angle if angle > 0 else np.array([0.0, 0.0, 1.0])), angle


def _axis_to_rotation(axis: FloatArray, angle: float) -> FloatArray:
    from scipy.spatial.transform import Rotation

    length = float(np.linalg.norm(axis))
    if not 0 < length < math.inf:
        raise InputError("the last line turns about an axis that has no direction")
    return np.asarray(Rotation.from_rotvec(axis / length * angle).as_matrix())


def text_to_user_program(text: str) -> UserProgram:
    """Read what ``user_program_to_text`` printed, a script, or any other program text.

    Raises:
        ProgramError: the text is not a program of the dialect.
        InputError: the line of the rest has no usable numbers.
    """
    text = script_to_text(text)
    head, _, last = text.rstrip().rpartition("\n")
    found = _REST.fullmatch(last)
    if found is None:
        return UserProgram(text_to_program(text))
    try:
        scale, *turn, x, y, z = (float(word) if word else 0.0 for word in found.groups())
    except ValueError as error:
        raise InputError(f"the last line has a number that cannot be read ({error})") from error
    rotation = None
    if found.group(5) is not None:
        rotation = _axis_to_rotation(np.array(turn[:3]), math.radians(turn[3]))
    return UserProgram(text_to_program(head), Placement(scale, np.array([x, y, z]), rotation))


def _rounded(
    program: Program, placement: Placement, tolerance: float, factors: Mapping[float, float] | None
) -> tuple[Program, float]:
    """Round about the middle of the part, then moved to its place; the largest move."""
    whole, by = with_round_numbers(
        program, tolerance=tolerance, scale=placement.scale, factors=factors
    )
    # The middle of the part goes to a round place too, where one is near enough.
    shift = [
        roundest(float(value), TOLERANCE * placement.scale * PROGRAM_SIDE)
        for value in placement.offset
    ]
    values = [
        tidy(value + shift[index % 3]) if index < 3 * len(whole.planes) else value
        for index, value in enumerate(numbers(whole))
    ]
    return with_numbers(whole, values), by


def _size_to_unit(size: float) -> float:
    """The power of 1000 in which a length has a size that the dialect's numbers can hold."""
    power = 0
    while size * 1000.0**-power < LEAST_SIZE:
        power -= 1
    while size * 1000.0**-power > LARGEST_SIZE:
        power += 1
    return 1000.0**power


def _moved(program: Program, placement: Placement) -> Program:
    """The program with exact decimal products; only the planes' origins are shifted."""
    tolerance = TOLERANCE * placement.scale * PROGRAM_SIDE
    # No point of a part lies farther than half its longest side from the middle.
    scale = _snap(placement.scale, tolerance / (PROGRAM_SIDE / 2))
    shift = [_snap(float(value), tolerance) for value in placement.offset]
    values = []
    for index, value in enumerate(numbers(program)):
        length = Decimal(repr(value)) * scale
        if index < 3 * len(program.planes):  # the origins come first, x, y, z of each
            length += shift[index % 3]
        values.append(float(length))
    return with_numbers(program, values)


def _snap(value: float, tolerance: float) -> Decimal:
    """The nearest multiple of the coarsest grid that is near enough, or of the finest."""
    exact = Decimal(value)
    for grid in GRIDS:
        snapped = (exact / grid).to_integral_value() * grid
        if math.isclose(snapped, value, rel_tol=0.0, abs_tol=tolerance):
            return snapped
    return snapped
