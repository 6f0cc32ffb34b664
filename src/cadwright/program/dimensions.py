"""The named dimensions of a script: which lengths get a name, and how others refer to them.

In: lengths in the order in which a program is printed. Out: the text that stands for each, and
the lines that define them. A length that occurred before under the same kind of name is shared,
its opposite written with a minus. Not covered: printing programs (``program_to_script``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cadwright.program.grammar import Body, Box, Cylinder, Extrude, Number, Program, Revolve
from cadwright.program.program_to_text import number_to_text

FLAT = 0.34  # a body thinner than this share of its other sides is a plate, or a disc
SLIM = 2.0  # a cylinder longer than this times its diameter is a rod


@dataclass(slots=True)
class Dimensions:
    """Names and values so far.

    Attributes:
        lines: their definitions, in order.
    """

    lines: list[str] = field(default_factory=list)
    _sizes: dict[float, str] = field(default_factory=dict)
    _positions: dict[float, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def size(self, value: Number, name: str) -> str:
        """A length, width, height, diameter: shared where any equal one has a name."""
        return self._text(value, name, self._sizes)

    def position(self, value: Number, name: str) -> str:
        """A coordinate: 0 stays 0, equal and opposite ones share a name."""
        if value == 0:
            return "0"
        return self._text(value, name, self._positions)

    def known(self, value: Number) -> str:
        """A corner's coordinate: a position that has a name, or the number itself."""
        name = self._positions.get(abs(value))
        if name is None:
            return number_to_text(value)
        return f"-{name}" if value < 0 else name

    def _text(self, value: Number, name: str, names: dict[float, str]) -> str:
        known = names.get(abs(value))
        if known is None:
            known = names[abs(value)] = self._new(name)
            self.lines.append(f"{known} = {number_to_text(abs(value))}")
        return f"-{known}" if value < 0 else known

    def _new(self, name: str) -> str:
        """The name, with a number where it is taken."""
        free, count = name, 1
        while free in self._taken:
            count += 1
            free = f"{name}_{count}"
        self._taken.add(free)
        return free


def name_bodies(program: Program) -> list[str]:
    """What an engineer might call each body, from its form and whether it is cut."""
    names: list[str] = []
    for body in program.bodies:
        name, count = _kind(body), 1
        while (f"{name}{count}" if count > 1 else name) in names:
            count += 1
        names.append(f"{name}{count}" if count > 1 else name)
    return names


def _kind(body: Body) -> str:
    cuts = body.mode == "s"
    if isinstance(body, Cylinder):
        if cuts:
            return "hole"
        return "rod" if body.height > SLIM * 2 * body.radius else "disc"
    if isinstance(body, Revolve):
        return "groove" if cuts else "turned"
    if isinstance(body, Box):
        if cuts:
            return "pocket"
        thin, *others = sorted(body.size)
        return "plate" if body.size[2] == thin and thin < FLAT * others[0] else "block"
    assert isinstance(body, Extrude)
    return "cutout" if cuts else "profile"
