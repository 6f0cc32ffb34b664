"""A program spelled out in words with all its numbers, so that it can be built again from them.

In: a program of any frame and a source of variety. Out: sentences. Every number stands as it is
in the program, sign included; positions are in the plane's own coordinates, and bodies and the
steps of a sketch come in the program's order. The wording varies, what it says does not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from cadwright.program.grammar import (
    Arc,
    Assemble,
    Body,
    Box,
    Circle,
    Close,
    Corners,
    Cylinder,
    Extrude,
    Face,
    Mode,
    Number,
    Point2,
    Program,
    Push,
    Rect,
    Reset,
    Revolve,
    Segment,
    Sketch,
)
from cadwright.program.program_to_text import number_to_text

FIRST = ("First", "Body 1", "Start")
NEXT = ("Next", "Then", "Also")
ADD = ("add", "join", "unite")
EXTRUDE = ("extrude it by", "pull it by", "give it the height")


def program_to_words(program: Program, rng: random.Random) -> str:
    """All of a program, one sentence a body and one for each plane that none stands on."""
    speaker = _Speaker(rng)
    sentences = []
    for number, body in enumerate(program.bodies):
        lead = speaker.first if number == 0 else speaker.next
        plane = program.planes[body.plane]
        where = f"on plane {plane.axes} at {_point(plane.origin)}"
        verb = "cut away" if body.mode == "s" else ("make" if number == 0 else speaker.add)
        sentences.append(f"{lead}, {where}, {verb} {speaker.body(body)}.")
    used = {body.plane for body in program.bodies}
    for number, plane in enumerate(program.planes):
        if number not in used:
            sentences.append(f"Plane {number} {plane.axes} at {_point(plane.origin)} stays empty.")
    return " ".join(sentences)


class _Speaker:
    """One choice of words, kept through a whole description."""

    def __init__(self, rng: random.Random) -> None:
        self.first, self.next, self.add = rng.choice(FIRST), rng.choice(NEXT), rng.choice(ADD)
        self.extrude = rng.choice(EXTRUDE)
        self.by = rng.choice((" by ", " x "))
        self.at = rng.choice(("centred at", "at"))
        self.line = rng.choice(("line to", "straight to"))
        self.arc = rng.choice(("arc through", "curve through"))
        self.cut = rng.choice(("cut out", "remove"))
        self.rectangle = rng.choice(("rectangle", "rect"))

    def body(self, body: Body) -> str:
        """A body after its verb, without the full stop."""
        if isinstance(body, Extrude):
            text = f"a sketch: {self.sketch(body.sketch)}; {self.extrude} {_number(body.height)}"
        elif isinstance(body, Revolve):
            text = (
                f"a sketch: {self.sketch(body.sketch)}; turn it by {_number(body.angle)} degrees "
                f"about the line parallel to {body.axis} at {_number(body.at)}"
            )
        elif isinstance(body, Box):
            sides = self.by.join(map(_number, body.size))
            text = f"a box {sides} {self.at} {_point(body.center)}{_offset(body)}"
        else:
            text = (
                f"a cylinder of radius {_number(body.radius)} and height {_number(body.height)} "
                f"{self.at} {_point(body.center)}{_offset(body)}"
            )
        if not isinstance(body, Revolve):
            for rim in body.rims:
                end = "upper" if rim.end == ">" else "lower"
                text += f"; {rim.kind} the edges of its {end} end by {_number(rim.size)}"
        return text

    def sketch(self, sketch: Sketch) -> str:
        """The steps of a sketch, separated by commas and semicolons."""
        return "; ".join(self._steps(sketch))

    def _steps(self, sketch: Sketch) -> Iterator[str]:
        at: Point2 = (0, 0)
        edges: list[str] = []
        for op in sketch.ops:
            if isinstance(op, Push):
                at = op.point
            elif isinstance(op, Reset):
                at = (0, 0)
            elif isinstance(op, (Segment, Arc)):
                edges.append(self._edge(op))
            elif isinstance(op, Close):
                edges.append("close")
            elif isinstance(op, Assemble):
                yield self._mode("outline " + ", ".join(edges), op.mode) + _moved(at)
                edges = []
            elif isinstance(op, Corners):
                yield f"{op.kind} its corners by {_number(op.size)}"
            elif isinstance(op, Face):
                inner = self.sketch(op.sketch)
                yield self._mode(f"inner sketch [{inner}]", op.mode) + _moved(at)
            else:
                yield self._mode(self._shape(op), op.mode) + f" {self.at} {_point(at)}"
        if edges:
            yield "loose edges " + ", ".join(edges)

    def _shape(self, op: Circle | Rect) -> str:
        if isinstance(op, Circle):
            return f"circle of radius {_number(op.radius)}"
        return f"{self.rectangle} {_number(op.width)}{self.by}{_number(op.height)}"

    def _mode(self, text: str, mode: Mode) -> str:
        return f"{self.cut} {text}" if mode == "s" else text

    def _edge(self, op: Segment | Arc) -> str:
        start = "" if op.start is None else f"from {_point(op.start)} "
        if isinstance(op, Segment):
            return f"{start}{self.line} {_point(op.end)}"
        return f"{start}{self.arc} {_point(op.middle)} to {_point(op.end)}"


def _offset(body: Box | Cylinder) -> str:
    """Where the centre is along the normal, as the half that the program writes."""
    return f", its middle {_number(body.twice_offset)}/2 along the normal"


def _moved(at: Point2) -> str:
    return "" if at == (0, 0) else f" moved by {_point(at)}"


def _number(value: Number) -> str:
    return number_to_text(value)


def _point(point: tuple[Number, ...]) -> str:
    return "(" + ",".join(map(_number, point)) + ")"
