"""A script with named dimensions -> the same text with numbers in their places.

In: the text of a part.py, perhaps changed by hand. Out: text that ``text_to_program`` reads.
Dimensions may be made of numbers, earlier dimensions and + - * /. Nothing is executed. Not
covered: everything else that Python can do, which stays as it is and is refused later.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable

from cadwright.errors import ProgramError

MAX_CHARACTERS = 100_000
LARGEST = 1e15  # of a number in a dimension
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def script_to_text(text: str) -> str:
    """Put the dimensions' values where their names stand; a text without any stays as it is.

    Raises:
        ProgramError: a dimension is not made of numbers and earlier dimensions.
    """
    if len(text) > MAX_CHARACTERS:
        return text  # refused by whoever reads it as a program
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a text's odd literals are not our user's concern
            module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text  # the reader of programs says what is wrong, and where
    try:
        return _filled(module, text)
    except RecursionError as error:
        raise ProgramError("the text is nested too deeply") from error


def _filled(module: ast.Module, text: str) -> str:
    values: dict[str, float] = {}
    rest: list[ast.stmt] = []
    for statement in module.body:
        name = _dimension_name(statement)
        if name is None:
            rest.append(statement)
            continue
        assert isinstance(statement, ast.Assign)
        value = _value(statement.value, values)
        if value is None:
            raise ProgramError(
                f"the dimension '{name}' is not made of numbers and earlier dimensions",
                statement.lineno,
                statement.col_offset + 1,
            )
        values[name] = value
    if not values:
        return text
    filled = [ast.fix_missing_locations(_Fill(values).visit(statement)) for statement in rest]
    return "\n".join(_unparsed(statement) for statement in filled)


def _dimension_name(statement: ast.stmt) -> str | None:
    """The name that a statement gives to a number; None for planes, ``r`` and the rest."""
    if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
        return None
    target = statement.targets[0]
    if not isinstance(target, ast.Name) or target.id == "r":
        return None
    is_plane = any(isinstance(node, ast.Call) for node in ast.walk(statement.value))
    return None if is_plane else target.id


def _value(node: ast.expr, values: dict[str, float]) -> float | None:
    """What an expression of numbers and dimensions is worth; None where it is something else."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number = node.value
        assert isinstance(number, (int, float))
        return float(number) if abs(number) < LARGEST else None
    if isinstance(node, ast.Name):
        return values.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _value(node.operand, values)
        return None if inner is None else -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, values), _value(node.right, values)
        if left is None or right is None or (isinstance(node.op, ast.Div) and right == 0):
            return None
        value = _OPERATORS[type(node.op)](left, right)
        return value if math.isfinite(value) else None
    return None


class _Fill(ast.NodeTransformer):
    """Puts numbers where expressions of dimensions stand."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values

    def visit(self, node: ast.AST) -> ast.AST:
        """Replace one expression, or go on into it."""
        if isinstance(node, (ast.Name, ast.BinOp, ast.UnaryOp)):
            value = _value(node, self.values)
            if value is not None:
                return ast.Constant(int(value) if value == int(value) else round(value, 9))
        return self.generic_visit(node)


def _unparsed(statement: ast.AST) -> str:
    """One line without the spaces that ``ast`` puts around '=', as the line of the rest needs."""
    text = ast.unparse(statement)
    if isinstance(statement, ast.Assign) and "r.val()" in text:
        return text.replace(" ", "")
    return text
