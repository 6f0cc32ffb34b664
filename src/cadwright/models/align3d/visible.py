"""What a part's shape alone decides of kind, bodies and holes, so that a look at it can tell.

In: a program of united prisms, its solid, its SDF. Out: ``Said``, with None for what the shape
leaves open: a hole or a wall too narrow for the grid, two bodies that could be one, an outline
between two kinds. ``synth.facts`` counts what a program writes; two programs of one shape may
differ there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.mesh_to_sdf import FILL, SparseSdf
from cadwright.models.align3d.depth_maps import EULER_STEP, euler_shares
from cadwright.models.align3d.pairs import Said
from cadwright.program.arcs import signed_area
from cadwright.program.body_to_manifold import body_to_manifold
from cadwright.program.grammar import AXES, Body, Box, Cylinder, Extrude, Program, Revolve
from cadwright.program.sketch_to_region import sketch_to_region
from cadwright.synth.facts import Kind
from cadwright.synth.prisms import Prism, program_to_prisms
from cadwright.types import FloatArray

MAIN = 1.3  # times the volume of the next largest that a body must have to be the main one
UNCOVERED = 0.6  # share of the main body that lies in no other
SHOWN = 0.02  # share of a part's volume that each body must have for itself
HALF_STEP = 0.5  # that the surface may lie elsewhere without a hole more or less
STEPS = 2.0  # steps of the grid that it must stand out, or its ends differ from another's
FILLED, UNFILLED = 0.99, 0.94  # shares of an outline's rectangle: a box from, a prism up to
ROUND = 0.93  # 4 pi area / perimeter^2 of an outline with arcs, up to which it is no disc
CURVED, STRAIGHT = 0.15, 0.02  # shares of an outline: with arcs from, with straight sides up to
TURN = 30.0  # degrees; less at both ends of an edge make it a piece of an arc


class Slab(NamedTuple):
    """One body of a program: its pieces and its solid, in the program's frame."""

    body: Body
    prisms: list[Prism]
    solid: m3.Manifold
    volume: float


def slabs_to_said(slabs: list[Slab], solid: m3.Manifold, sdf: SparseSdf) -> Said:
    """What can be said of a part by its looks.

    Args:
        slabs: its bodies, largest first.
        solid: their union, the same frame.
        sdf: of its surface; its resolution decides what is visible.
    """
    low, high = np.array(solid.bounding_box()).reshape(2, 3)
    step = float((high - low).max()) / (FILL * (sdf.resolution - 1))
    return Said(
        _kind(slabs),
        len(slabs) if _stand_out(slabs, solid.volume(), STEPS * step) else None,
        visible_holes(solid, sdf),
    )


def visible_holes(solid: m3.Manifold, sdf: SparseSdf) -> int | None:
    """Those of the solid, if its samples have as many wherever the surface is within a step.

    Half a step out and half a step in: a hole or wall narrower than a step is gone in one of them.
    """
    holes = solid_to_holes(solid)
    shift = HALF_STEP / sdf.band
    is_clear = all(count == holes for count in _holes_at(sdf, (0.0, -shift, shift)))
    return holes if is_clear else None


def solid_to_holes(solid: m3.Manifold) -> int:
    """Handles of all pieces together: holes that go through."""
    return int(sum(piece.genus() for piece in solid.decompose()))


def sdf_to_holes(sdf: SparseSdf) -> int:
    """Handles of the samples inside, each taken as a closed cube; hollows do not count."""
    return next(_holes_at(sdf, (0.0,)))


def _holes_at(sdf: SparseSdf, levels: Sequence[float]) -> Iterator[int]:
    """The same with the surface at each of these distances, in bands."""
    from scipy import ndimage

    inside, places = _fill(sdf), tuple(sdf.index.T + 1)
    for level in levels:
        inside[places] = sdf.values < level
        pieces = int(ndimage.label(inside, np.ones((3, 3, 3)))[1])
        hollows = int(ndimage.label(~inside)[1]) - 1
        yield pieces + hollows - int(euler_shares(inside).sum() / EULER_STEP)


def _fill(sdf: SparseSdf) -> NDArray[np.bool_]:
    """(R + 2)^3 samples inside, with an empty rim; between samples of the band the sign stays."""
    side = sdf.resolution + 2
    signs = np.zeros((side, side, side), dtype=np.int8)
    signs[tuple(sdf.index.T + 1)] = np.where(sdf.values < 0, 1, -1)
    last = np.maximum.accumulate(np.where(signs != 0, np.arange(side), 0), axis=2)
    filled: NDArray[np.bool_] = np.take_along_axis(signs, last, axis=2) == 1
    return filled


def program_to_slabs(program: Program) -> list[Slab]:
    """The bodies of a program of united prisms, largest first.

    Raises:
        InvalidShape: a body is no prism, or has no meaning.
    """
    prisms = program_to_prisms(program)
    slabs = []
    for number, body in enumerate(program.bodies):
        solid = body_to_manifold(body, program.planes[body.plane])
        own = [prism for prism in prisms if prism.body == number]
        slabs.append(Slab(body, own, solid, float(solid.volume())))
    return sorted(slabs, key=lambda slab: -slab.volume)


def _rest(slabs: list[Slab], number: int) -> m3.Manifold:
    """What a body has for itself."""
    others = [slab.solid for k, slab in enumerate(slabs) if k != number]
    return slabs[number].solid - m3.Manifold.batch_boolean(others, m3.OpType.Add)


def _stand_out(slabs: list[Slab], volume: float, least: float) -> bool:
    """Whether each body is one piece, shows, and does not end where another one does."""
    if any(len(slab.prisms) > 1 for slab in slabs):
        return False
    if len(slabs) == 1:
        return True
    for number in range(len(slabs)):
        rest = _rest(slabs, number)
        if rest.volume() < SHOWN * volume:
            return False
        low, high = np.array(rest.bounding_box()).reshape(2, 3)
        if (high - low).min() < least:
            return False
    return not any(
        _level(one.prisms[0], two.prisms[0], least) for one, two in combinations(slabs, 2)
    )


def _level(one: Prism, two: Prism, least: float) -> bool:
    """Whether two prisms end on both sides where the other does, which may look like one."""
    return AXES[one.axes][2] == AXES[two.axes][2] and bool(
        abs(one.low - two.low) < least and abs(one.high - two.high) < least
    )


def _kind(slabs: list[Slab]) -> Kind | None:
    """Of the largest body, where there is one and most of it is not within others."""
    main = slabs[0]
    if len(main.prisms) > 1:
        return None
    if len(slabs) > 1:
        if main.volume < MAIN * slabs[1].volume:
            return None
        if _rest(slabs, 0).volume() < UNCOVERED * main.volume:
            return None
    return _body_to_kind(main.body)


def _body_to_kind(body: Body) -> Kind | None:
    if isinstance(body, Box):
        return "box"
    if isinstance(body, Cylinder):
        return "cylinder"
    if isinstance(body, Revolve):
        return None
    assert isinstance(body, Extrude)
    polygons = sketch_to_region(body.sketch).to_polygons()
    outer = max(polygons, key=signed_area)
    kind = outline_to_kind(outer)
    holes = [polygon for polygon in polygons if polygon is not outer]
    if kind in ("box", "cylinder") and len(holes) == 1 and outline_to_kind(holes[0]) == kind:
        apart = np.abs(_middle(outer) - _middle(holes[0])).max() / np.ptp(outer, axis=0).max()
        if apart < 0.02:
            return "frame" if kind == "box" else "ring"
    return kind


def outline_to_kind(polygon: FloatArray) -> Kind | None:
    """What a prism over an outline is called; None where it is too near to another kind.

    Args:
        polygon: (N, 2) corners, arcs as chords of at most ``TURN`` degrees.
    """
    sides = np.ptp(polygon, axis=0)
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    edges, lengths = edges[lengths > 1e-9], lengths[lengths > 1e-9]
    angles = np.degrees(np.arctan2(edges[:, 1], edges[:, 0]))
    turns = np.abs((angles - np.roll(angles, 1) + 180) % 360 - 180)  # at the start of each edge
    is_arc = (turns < TURN) & (np.roll(turns, -1) < TURN)
    area, perimeter = abs(signed_area(polygon)), float(lengths.sum())
    curved = float(lengths[is_arc].sum()) / perimeter
    filled = area / float(sides.prod())
    if curved <= STRAIGHT:
        return "box" if filled >= FILLED else "prism" if filled <= UNFILLED else None
    roundness = 4 * np.pi * area / perimeter**2
    if curved > 1 - STRAIGHT and roundness > 0.98 and abs(sides[0] / sides[1] - 1) < 0.02:
        return "cylinder"
    return "rounded prism" if curved >= CURVED and roundness <= ROUND else None


def _middle(polygon: FloatArray) -> FloatArray:
    middle: Any = (polygon.min(axis=0) + polygon.max(axis=0)) / 2
    return middle
