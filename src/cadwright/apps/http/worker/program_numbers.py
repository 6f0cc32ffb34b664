"""The numbers of a script that a person may move: where each stands, how far and in what steps.

In: the text of a part.py, also after somebody edited it. Out: its named dimensions and its plain
numbers, each with a range; and the text with other values in their places. The text is parsed,
never executed. Not covered: whether it is a program (``program.text_to_program``).
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cadwright.errors import InputError, ProgramError
from cadwright.program.script_to_text import MAX_CHARACTERS

STEPS = 200  # of a slider from end to end, about
MOST_NUMBERS = 300
LARGEST = 1e9
_AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a text.

    Attributes:
        id: its name, or ``L<line>:<column>`` of a plain number.
        name: what a person reads.
        kind: 'size', 'position', 'angle' or 'number'.
        named: whether it is a dimension with a name.
        value: as it stands, the text's own unit (degrees for an angle).
        min: lower end of a sensible range.
        max: its upper end.
        step: of a slider; ``min`` and ``value`` are whole steps apart.
        line: 1-based.
    """

    id: str
    name: str
    kind: str
    named: bool
    value: float
    min: float
    max: float
    step: float
    line: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a number stands: 0-based line, byte columns."""

    line: int
    start: int
    end: int
    name: str
    kind: str
    named: bool
    value: float

    @property
    def id(self) -> str:
        return self.name if self.named else f"L{self.line + 1}:{self.start}"


def text_to_numbers(text: str, *, size: float) -> list[dict[str, Any]]:
    """The numbers of a text with their ranges; none where it cannot be read.

    Args:
        text: of a program.
        size: longest side of the part, the text's unit: how far positions may move.
    """
    try:
        places = _places(text)
    except ProgramError:
        return []
    return [asdict(_with_range(place, size)) for place in places]


def with_values(text: str, values: Mapping[str, float]) -> str:
    """The text with other values in the places of some numbers.

    Raises:
        ProgramError: the text cannot be read.
        InputError: it has no such number, or a value is out of all range.
    """
    if not values:
        return text
    places = {place.id: place for place in _places(text)}
    lines = [line.encode() for line in text.split("\n")]
    wanted = []
    for name, value in values.items():
        if name not in places:
            raise InputError(f"the program has no number '{name[:80]}'")
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise InputError(f"{name[:80]} cannot be {value:g}")
        wanted.append((places[name], value))
    for place, value in sorted(wanted, key=lambda one: (-one[0].line, -one[0].start)):
        line = lines[place.line]
        lines[place.line] = line[: place.start] + _print(value) + line[place.end :]
    return b"\n".join(lines).decode()


def _print(value: float) -> bytes:
    whole = round(value, 6)
    return (str(int(whole)) if whole == int(whole) else repr(whole)).encode()


def _places(text: str) -> list[_Place]:
    """All numbers of a text that may be moved, from top to bottom.

    Raises:
        ProgramError: it is not Python, or too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise ProgramError(f"the text has {len(text)} characters, more than {MAX_CHARACTERS}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text)
        found = list(_found(module))
    except SyntaxError as error:
        raise ProgramError(error.msg, error.lineno or 0, error.offset or 0) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ProgramError(f"the text cannot be read: {error}") from error
    unique = {(place.line, place.start): place for place in found}
    named = {place.name: place for place in unique.values() if place.named}  # the last one counts
    kept = [one for one in unique.values() if not one.named or named[one.name] is one]
    return sorted(kept, key=lambda place: (place.line, place.start))[:MOST_NUMBERS]


def _found(module: ast.Module) -> Iterator[_Place]:
    for statement in module.body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target = statement.targets[0]
        if not isinstance(target, ast.Name):
            continue
        value = _number(statement.value)
        if value is not None and target.id != "r":
            yield _place(statement.value, target.id, _kind_of(target.id), True, value)
        elif any(isinstance(node, ast.Call) for node in ast.walk(statement.value)):
            yield from _inside(statement.value, target.id)


def _inside(expression: ast.expr, owner: str) -> Iterator[_Place]:
    """The plain numbers of a plane or of the expression ``r``."""
    for node in ast.walk(expression):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        call = node.func.attr
        if call in ("val", "rotate", "translate", "scale"):  # the line of the rest
            continue
        given = [(None, one) for one in node.args] + [(k.arg, k.value) for k in node.keywords]
        for word, argument in given:
            kind = "position" if word == "origin" or _is_place(argument) else _kind_of(call)
            for index, number in enumerate(_numbers(argument)):
                value = _number(number)
                assert value is not None
                axis = _AXES[index % 3] if kind == "position" and index < 3 else ""
                label = f"{owner} {word or call} {axis}" if word else f"{call} {axis}"
                yield _place(number, label.strip(), kind, False, value)


def _is_place(argument: ast.expr) -> bool:
    return isinstance(argument, (ast.Tuple, ast.List))


def _numbers(node: ast.expr) -> Iterator[ast.expr]:
    """Numbers in tuples, lists and sums; what divides is not one of them."""
    if _number(node) is not None:
        yield node
    elif isinstance(node, (ast.Tuple, ast.List)):
        for one in node.elts:
            yield from _numbers(one)
    elif isinstance(node, ast.BinOp):
        yield from _numbers(node.left)
        if not isinstance(node.op, ast.Div):
            yield from _numbers(node.right)


def _number(node: ast.expr) -> float | None:
    """The value of a plain number with or without a sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _number(node.operand)
        return None if inner is None else -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number = node.value
        assert isinstance(number, (int, float))
        return float(number) if abs(number) <= LARGEST else None
    return None


def _kind_of(name: str) -> str:
    if name == "revolve":
        return "angle"
    if name.rstrip("_0123456789").endswith(("_x", "_y", "_axis", "moveTo")):
        return "position"
    if name in ("segment", "arc", "push", "workplane"):
        return "position"
    return "size"


def _place(node: ast.expr, name: str, kind: str, named: bool, value: float) -> _Place:
    assert node.end_col_offset is not None
    if node.end_lineno != node.lineno:
        raise ValueError("a number runs over two lines")
    return _Place(node.lineno - 1, node.col_offset, node.end_col_offset, name, kind, named, value)


def _with_range(place: _Place, size: float) -> Number:
    value = place.value
    if place.kind == "angle":
        low, high, step = 1.0, 360.0, 1.0
    elif place.kind == "size" and value > 0:
        low, high = value / 4, max(2 * value, value + size / 10)
        step = _nice((high - low) / STEPS)
    else:
        reach = max(size / 2, abs(value) / 2) or 1.0
        low, high, step = value - reach, value + reach, _nice(2 * reach / STEPS)
    below = math.floor((value - low) / step + 1e-9)
    above = math.floor((high - value) / step + 1e-9)
    low, high = value - max(0, below) * step, value + max(1, above) * step
    if place.kind == "size" and value > 0 and low <= 0:
        low = value - (math.ceil(value / step) - 1) * step
    return Number(
        place.id, place.name, place.kind, place.named, value,
        round(low, 9), round(high, 9), step, place.line + 1,
    )  # fmt: skip


def _nice(step: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above a step."""
    power = 10.0 ** math.floor(math.log10(step))
    best = max(factor for factor in (1, 2, 5) if factor * power <= step * (1 + 1e-9))
    return float(f"{best * power:.6g}")
