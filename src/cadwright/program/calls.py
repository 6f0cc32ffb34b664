"""Python's syntax nodes -> the calls of a chain and their arguments, each checked where it stands.

In: ``ast`` expressions of a program's text. Out: calls, numbers and points, or an error that
names the call and its line and column. Nothing is evaluated. Not covered: which calls make a
program (``text_to_program``) or a sketch (``text_to_sketch``).
"""

from __future__ import annotations

import ast
from typing import NoReturn, cast

from cadwright.errors import UnsupportedError
from cadwright.program.grammar import Mode, Number, Point2, tidy

MAX_DEPTH = 500  # calls in one chain
LARGEST_NUMBER = 1e6


def fail(node: ast.AST | Place, message: str) -> NoReturn:
    """Raise UnsupportedError at a node's line and column."""
    raise UnsupportedError(message, getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1)


class Place:
    """Where a method's name stands: an ``ast.Call`` begins where its whole chain does."""

    def __init__(self, func: ast.Attribute) -> None:
        self.lineno = func.end_lineno or 0
        self.col_offset = (func.end_col_offset or 0) - len(func.attr.encode())


class Call:
    """One link of a chain: ``.name(args, key=value)``."""

    def __init__(self, node: ast.Call, func: ast.Attribute) -> None:
        self.node, self.name, self.args = Place(func), func.attr, node.args
        self.keywords = {keyword.arg or "**": keyword.value for keyword in node.keywords}
        if len(self.keywords) < len(node.keywords):
            fail(self.node, f"'{self.name}' is given the same argument twice")

    def positional(self, count: int, *, mode: bool = False) -> list[ast.expr]:
        """The arguments, which must be this many and (but for mode) not named."""
        strange = set(self.keywords) - ({"mode"} if mode else set())
        if len(self.args) != count or strange:
            fail(self.node, f"'{self.name}' takes {count} arguments in this dialect")
        return self.args

    def mode(self) -> Mode:
        """The argument ``mode``; 'a' where there is none."""
        node = self.keywords.get("mode")
        if node is None:
            return "a"
        if not (isinstance(node, ast.Constant) and node.value in ("a", "s")):
            fail(node, "mode must be 'a' or 's'")
        return cast(Mode, node.value)


def read_chain(node: ast.expr) -> tuple[ast.expr, list[Call]]:
    """Unroll ``root.a().b()`` into its root and its calls, first call first."""
    calls: list[Call] = []
    while isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Attribute):
            fail(node, "only methods of a plane may be called")
        calls.append(Call(node, node.func))
        if len(calls) > MAX_DEPTH:
            fail(node, f"more than {MAX_DEPTH} calls in one chain")
        node = node.func.value
    return node, calls[::-1]


def read_number(node: ast.expr) -> Number:
    """A number as written, signs before it included."""
    sign = 1
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        sign = -sign if isinstance(node.op, ast.USub) else sign
        node = node.operand
    if not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        fail(node, "expected a number")
    value = node.value
    if not isinstance(value, (int, float)) or not abs(value) <= LARGEST_NUMBER:
        fail(node, f"the number is not finite or beyond {LARGEST_NUMBER:g}")
    return tidy(sign * value)


def read_nonzero(node: ast.expr) -> Number:
    """A height of either sign."""
    value = read_number(node)
    if value == 0:
        fail(node, "the height must not be 0")
    return value


def read_positive(node: ast.expr) -> Number:
    """A size."""
    value = read_number(node)
    if value <= 0:
        fail(node, "the size must be greater than 0")
    return value


def read_numbers(node: ast.expr, count: int) -> list[Number]:
    """So many numbers in brackets."""
    if not isinstance(node, ast.Tuple) or len(node.elts) != count:
        fail(node, f"expected {count} numbers in brackets")
    return [read_number(item) for item in node.elts]


def read_point(node: ast.expr) -> Point2:
    """Two numbers in brackets."""
    x, y = read_numbers(node, 2)
    return (x, y)
