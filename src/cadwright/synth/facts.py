"""What can be said of a program for certain: kinds of bodies, how many, how many holes.

In: a program, the superset included. Out: ``Facts``, the same for every wording. Lengths are in
the program's own frame. Holes are the inner boundaries of the bodies' sketches: in this dialect
they go through their body. Not covered: whether another body closes a hole again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cadwright.program.arcs import InvalidShape, signed_area
from cadwright.program.body_to_manifold import body_to_manifold
from cadwright.program.grammar import (
    AXES,
    Axes,
    Body,
    Box,
    Cylinder,
    Number,
    Point2,
    Program,
    Revolve,
    Sketch,
)
from cadwright.program.sketch_to_areas import Block, Disc, Enclosed, Steps, sketch_to_areas
from cadwright.program.sketch_to_region import sketch_to_region
from cadwright.types import FloatArray

Kind = Literal["box", "cylinder", "ring", "frame", "prism", "rounded prism", "profile", "revolved"]
KINDS: tuple[Kind, ...] = (
    "box", "cylinder", "ring", "frame", "prism", "rounded prism", "profile", "revolved",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class BodyFacts:
    """One body.

    Attributes:
        kind: ``box`` and ``cylinder`` may have holes beside their middle; a ``ring`` or
            ``frame`` is one round or rectangular wall about its middle; a ``prism`` has
            straight sides, a ``rounded prism`` arcs too; a ``profile`` is several shapes in one.
        is_cut: it is taken away from the bodies before it.
        holes: where the holes of its sketch are, plane coordinates, and whether they are round.
        size: along the plane's x, its y and its normal.
        middle: of the same, plane coordinates.
        low: (3,) lower corner in world axes.
        high: (3,) upper corner.
        normal: world axis the sketch stands on.
        volume: of this body alone.
    """

    kind: Kind
    is_cut: bool
    holes: tuple[tuple[Point2, bool], ...]
    size: tuple[float, float, float]
    middle: tuple[float, float]
    low: FloatArray
    high: FloatArray
    normal: int
    volume: float


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """A program.

    Attributes:
        kind: of the largest body that is not cut away.
        num_bodies: that are united.
        num_cuts: bodies that are cut away.
        num_holes: in the sketches of the bodies that are united.
        planes: kinds of planes the bodies stand on, in order of first use.
        bodies: one by one, in the program's order.
        main: index of the largest in ``bodies``.
    """

    kind: Kind
    num_bodies: int
    num_cuts: int
    num_holes: int
    planes: tuple[Axes, ...]
    bodies: tuple[BodyFacts, ...]
    main: int


def facts(program: Program) -> Facts:
    """Count and name what a program makes.

    Raises:
        InvalidShape: a sketch or body has no meaning.
    """
    bodies = tuple([_body_facts(body, program) for body in program.bodies])
    added = [k for k, body in enumerate(bodies) if not body.is_cut]
    main = max(added, key=lambda k: bodies[k].volume)
    axes = [program.planes[body.plane].axes for body in program.bodies]
    return Facts(
        kind=bodies[main].kind,
        num_bodies=len(added),
        num_cuts=len(bodies) - len(added),
        num_holes=sum(len(bodies[k].holes) for k in added),
        planes=tuple(dict.fromkeys(axes)),
        bodies=bodies,
        main=main,
    )


def body_kind(body: Body) -> Kind:
    """What a body is called."""
    if isinstance(body, Revolve):
        return "revolved"
    if isinstance(body, (Box, Cylinder)):
        return "box" if isinstance(body, Box) else "cylinder"
    return _sketch_kind(sketch_to_areas(body.sketch))


def _sketch_kind(steps: Steps) -> Kind:
    first = steps[0].area
    if any(mode == "a" for mode, _ in steps[1:]):
        return "profile"
    middle = [area for _, area in steps[1:] if area.at == first.at]
    if isinstance(first, Disc):
        walled = len(steps) == 2 and len(middle) == 1 and isinstance(middle[0], Disc)
        return "ring" if walled else "cylinder"
    if isinstance(first, Block):
        walled = len(steps) == 2 and len(middle) == 1 and isinstance(middle[0], Block)
        return "frame" if walled else "box"
    if isinstance(first, Enclosed) and len(first.outer) == 1:
        arcs = any(edge.middle is not None for edge in first.outer[0])
        return "rounded prism" if arcs else "prism"
    return "profile"


def _body_facts(body: Body, program: Program) -> BodyFacts:
    plane = program.planes[body.plane]
    solid = body_to_manifold(body, plane)
    if solid.is_empty():
        raise InvalidShape("a body without volume")
    low, high = np.array(solid.bounding_box()).reshape(2, 3)
    order = AXES[plane.axes]
    size = [float(high[axis] - low[axis]) for axis in order]
    middle = [float(high[axis] + low[axis]) / 2 - plane.origin[axis] for axis in order[:2]]
    holes = () if isinstance(body, (Box, Cylinder, Revolve)) else sketch_holes(body.sketch)
    return BodyFacts(
        body_kind(body), body.mode == "s", holes, (size[0], size[1], size[2]),
        (middle[0], middle[1]), low, high,
        order[2], float(solid.volume()),
    )  # fmt: skip


def sketch_holes(sketch: Sketch) -> tuple[tuple[Point2, bool], ...]:
    """Centre of each inner boundary of a sketch's area, and whether it is a circle."""
    found: list[tuple[Point2, bool]] = []
    for polygon in sketch_to_region(sketch).to_polygons():
        if signed_area(polygon) >= 0:
            continue
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        x, y = ((low + high) / 2).tolist()
        round_area = 3.14159 / 4 * float((high - low).prod())
        is_square = abs(high[0] - low[0] - high[1] + low[1]) < 0.02 * (high[0] - low[0])
        fills = abs(-signed_area(polygon) - round_area) < 0.02 * round_area
        found.append(((_tidy(x), _tidy(y)), bool(is_square and fills and len(polygon) > 8)))
    return tuple(found)


def _tidy(value: float) -> Number:
    return round(value, 2)
