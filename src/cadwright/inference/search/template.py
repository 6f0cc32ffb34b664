"""A program's structure with its numbers taken out, so that they can be changed fast.

In: a program. Out: the same program with some numbers changed; only the planes
and bodies that hold a changed number are made anew. Not covered: which numbers
to change (``handles``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from cadwright.program.grammar import NO_LENGTH, Number, Program, numbers

Values = Sequence[Number]
Make = Callable[[Values], Any]


class Template:
    """The structure of one program.

    Attributes:
        values: the program's numbers, in the order of ``grammar.numbers``.
    """

    def __init__(self, program: Program) -> None:
        self.values: list[Number] = list(numbers(program))
        self._starts: list[int] = []
        self._makers: list[Make] = []
        at = 0
        for part in (*program.planes, *program.bodies):
            self._starts.append(at)
            make, at = _compile(part, at)
            self._makers.append(make)
        self._program = program

    def changed(self, indices: Sequence[int], values: Values) -> Program:
        """The program with ``values`` (all of them), of which only ``indices`` are new."""
        planes, bodies = list(self._program.planes), list(self._program.bodies)
        for part in {bisect_right(self._starts, index) - 1 for index in indices}:
            made = self._makers[part](values)
            if part < len(planes):
                planes[part] = made
            else:
                bodies[part - len(planes)] = made
        return Program(tuple(planes), tuple(bodies))

    def keep(self, program: Program, values: list[Number]) -> None:
        """Go on from a changed program of this structure."""
        self.values, self._program = values, program


def _compile(node: Any, at: int) -> tuple[Make, int]:
    """A function from all values to this node, and the index after the node's last number."""
    if isinstance(node, bool) or not isinstance(node, (int, float, tuple)):
        return (_compile_dataclass if hasattr(node, "__dataclass_fields__") else _constant)(
            node, at
        )
    if isinstance(node, tuple):
        if node and all(isinstance(item, (int, float)) for item in node):
            end = at + len(node)
            return (lambda values: tuple(values[at:end])), end
        makers = []
        for item in node:
            make, at = _compile(item, at)
            makers.append(make)
        return (lambda values: tuple([make(values) for make in makers])), at
    return (lambda values: values[at]), at + 1


def _compile_dataclass(node: Any, at: int) -> tuple[Make, int]:
    cls, makers = type(node), []
    for field in fields(node):
        value = getattr(node, field.name)
        make, at = _constant(value, at) if field.name in NO_LENGTH else _compile(value, at)
        makers.append(make)
    return (lambda values: cls(*[make(values) for make in makers])), at


def _constant(node: Any, at: int) -> tuple[Make, int]:
    return (lambda values: node), at
