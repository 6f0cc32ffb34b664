"""One body -> a manifold3d solid, standing where its plane puts it.

Extrusions, boxes, cylinders and revolved sketches, ends with or without their rims cut. Round
walls have polygons in place of circles, finer where the body is thin (``sketch_to_region``).
Lengths stay in the program's own frame. Not covered: joining bodies (``program_to_mesh``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import manifold3d as m3
import numpy as np

from cadwright.program.arcs import InvalidShape, inner_radius
from cadwright.program.grammar import (
    AXES,
    Body,
    Box,
    Circle,
    Cylinder,
    Extrude,
    Plane,
    Rect,
    Revolve,
    Sketch,
)
from cadwright.program.region_to_manifold import region_to_manifold
from cadwright.program.sketch_to_region import CIRCLE_MISS, MISS, SIDES, sketch_to_region
from cadwright.types import FloatArray


def body_to_manifold(body: Body, plane: Plane, *, miss: float = MISS) -> m3.Manifold:
    """One body, standing where its plane puts it.

    Args:
        body: of a program.
        plane: the one that it names.
        miss: share of its volume by which its polygons may differ from its round walls.

    Raises:
        InvalidShape: the body has no meaning.
    """
    if isinstance(body, Box) and not body.rims:
        solid = m3.Manifold.cube(body.size, True)
        return solid.transform(plane_matrix(plane, *body.center, body.twice_offset / 2))
    if isinstance(body, Revolve):
        return _revolve(body, miss).transform(plane_matrix(plane, 0, 0, 0))
    region = sketch_to_region(footprint(body), miss=miss)
    low, high = heights(body)
    center = (0, 0) if isinstance(body, Extrude) else body.center
    solid = region_to_manifold(region, high - low, body.rims)
    return solid.transform(plane_matrix(plane, *center, low))


def footprint(body: Extrude | Box | Cylinder) -> Sketch:
    """The sketch that a body is swept from; about its centre for a box or cylinder."""
    if isinstance(body, Extrude):
        return body.sketch
    if isinstance(body, Cylinder):
        return Sketch((Circle(body.radius),))
    return Sketch((Rect(body.size[0], body.size[1]),))


def heights(body: Extrude | Box | Cylinder) -> tuple[float, float]:
    """Where a body begins and ends over its plane."""
    if isinstance(body, Extrude):
        return min(body.height, 0), max(body.height, 0)
    height = body.size[2] if isinstance(body, Box) else body.height
    return (body.twice_offset - height) / 2, (body.twice_offset + height) / 2


def plane_matrix(plane: Plane, x: float, y: float, z: float) -> FloatArray:
    """(3, 4) rigid motion from plane coordinates, first moved by (x, y, z), to the world."""
    matrix = np.zeros((3, 4))
    for column, (axis, shift) in enumerate(zip(AXES[plane.axes], (x, y, z), strict=True)):
        matrix[axis, column] = 1.0
        matrix[axis, 3] = plane.origin[axis] + shift
    return matrix


def revolve_profile(body: Revolve, *, miss: float = MISS) -> tuple[m3.CrossSection, float]:
    """The sketch as (distance from the axis, place along it), and the side of the axis it is on.

    Raises:
        InvalidShape: the sketch covers nothing, or the axis runs through it.
    """
    region = sketch_to_region(body.sketch, miss=miss)
    if region.is_empty():
        return region, 1.0
    turn = [[1.0, 0, -body.at], [0, 1, 0]] if body.axis == "Y" else [[0, 1.0, -body.at], [1, 0, 0]]
    profile = region.transform(np.array(turn))
    low, _, high, _ = profile.bounds()
    if low < -1e-6 * (high - low) and high > 1e-6 * (high - low):
        raise InvalidShape("the axis of a revolution runs through its sketch")
    side = 1.0 if high > -low else -1.0
    return (profile if side > 0 else profile.mirror((1, 0))), side


def _revolve(body: Revolve, miss: float) -> m3.Manifold:
    profile, side = revolve_profile(body, miss=miss)
    if profile.is_empty():
        return m3.Manifold()
    sides = _revolve_sides(profile.to_polygons(), miss)
    num = max(2, math.ceil(sides * body.angle / 360))
    solid = profile.revolve(num, body.angle).warp_batch(_bulge(body.angle, num))
    axis = np.eye(3)[0 if body.axis == "X" else 1]
    away = side * np.eye(3)[1 if body.axis == "X" else 0]
    foot = body.at * np.abs(away)
    return solid.transform(np.stack([away, np.cross(axis, away), axis, foot], axis=1))


def _revolve_sides(polygons: list[FloatArray], miss: float) -> int:
    """Sides of a full turn: the walls, each with its radius, against the volume they enclose."""
    walls = volume = 0.0
    for polygon in polygons:
        (x, y), (x2, y2) = polygon.T, np.roll(polygon, -1, axis=0).T
        walls += math.pi * float((((x + x2) / 2) ** 2 * np.abs(y2 - y)).sum())
        volume += math.pi / 3 * float(((x + x2) * (x * y2 - x2 * y)).sum())
    wanted = math.sqrt(CIRCLE_MISS * walls / (miss * volume)) if volume > 0 else math.inf
    return next((sides for sides in SIDES if sides >= 0.9 * wanted), SIDES[-1])


def _bulge(angle: float, num: int) -> Callable[[FloatArray], FloatArray]:
    """Moves the corners between the axes out so far that the polygon has its circle's area."""
    full = angle == 360
    fixed = num // 4 if full else num  # every how many corners stay on the circle
    radius = inner_radius(math.radians(90 if full else angle), fixed)

    def move(points: FloatArray) -> FloatArray:
        turn = np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360
        index = np.round(turn * num / angle).astype(int)
        moved = np.array(points)
        moved[:, :2] *= np.where(index % fixed == 0, 1.0, radius)[:, None]
        return moved

    return move
