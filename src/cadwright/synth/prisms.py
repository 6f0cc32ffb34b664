"""Prisms: the bodies of a program as areas pulled along an axis, without 3D booleans.

In: a program of the published dialect whose bodies are united. Out: the prisms it is the
union of, and which points lie in each. All in the PROGRAM frame. Not covered: the union's
mesh (``program.program_to_mesh``), bodies that are cut, revolved or have rims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cadwright.program.arcs import InvalidShape
from cadwright.program.body_to_manifold import heights
from cadwright.program.grammar import (
    AXES,
    Axes,
    Body,
    Box,
    Circle,
    Cylinder,
    Extrude,
    Plane,
    Program,
    Sketch,
)
from cadwright.program.sketch_to_region import sketch_to_region
from cadwright.synth.polygon_to_loop import polygon_area
from cadwright.types import FloatArray

Column: TypeAlias = "NDArray[np.floating[Any]]"
"""(N,) one coordinate of many points, in single or double precision."""

DIGITS = 5  # of corners' coordinates; corners closer than this in height share a level


class Slices(NamedTuple):
    """An area cut into trapezoids by horizontal lines through all its corners.

    Attributes:
        levels: (S + 1,) ascending heights of the lines.
        offsets: (S, K) where the edges that cross a slice would meet height 0; inf where
            there are fewer than K.
        slopes: (S, K) of the same edges, as x per y.
        triangles: (T, 3, 2) that the trapezoids fall into.
    """

    levels: FloatArray
    offsets: FloatArray
    slopes: FloatArray
    triangles: FloatArray

    def inside(self, x: Column, y: Column) -> NDArray[np.bool_]:
        """Which points between the first and last level lie in the area; by edges to the left."""
        row = np.searchsorted(self.levels[1:-1], y, side="right")
        odd = np.zeros(len(x), dtype=np.bool_)
        for offsets, slopes in zip(self.offsets.T, self.slopes.T, strict=True):
            odd ^= offsets.take(row) + slopes.take(row) * y < x
        return odd


class Area(NamedTuple):
    """One connected area: its boundary, the inside to the left, and its slices."""

    starts: FloatArray  # (N, 2)
    edges: FloatArray  # (N, 2) from there to the next corner
    slices: Slices
    size: float

    def placed(self, sides: tuple[float, float], shift: FloatArray) -> Area:
        """The same area stretched along x and y, then moved."""
        levels, offsets, slopes, triangles = self.slices
        x, y = shift.tolist()
        slopes = slopes * (sides[0] / sides[1])
        offsets = offsets * sides[0] + (x - slopes * y)
        slices = Slices(levels * sides[1] + y, offsets, slopes, triangles * sides + shift)
        starts, edges = self.starts * sides + shift, self.edges * sides
        return Area(starts, edges, slices, self.size * sides[0] * sides[1])


@dataclass(frozen=True, slots=True, eq=False)
class Prism:
    """One connected piece of one body.

    Attributes:
        body: its number in the program.
        axes: of its plane; the area's x and y are the world axes these name first and second.
        low: lower end along the normal.
        high: upper end.
        area: what is pulled along the normal.
        bounds: lower and upper corner in world axes.
        is_box: whether it fills its bounds.
    """

    body: int
    axes: Axes
    low: float
    high: float
    area: Area
    bounds: tuple[list[float], list[float]]
    is_box: bool

    @property
    def height(self) -> float:
        """Along the normal, positive."""
        return self.high - self.low

    @property
    def volume(self) -> float:
        """Of this piece alone."""
        return self.area.size * self.height

    def contains(self, points: Sequence[Column]) -> NDArray[np.intp]:
        """Indices of the points inside; ``points`` are three columns in world axes."""
        x_axis, y_axis, normal = AXES[self.axes]
        up = points[normal]
        near = ((up > self.low) & (up < self.high)).nonzero()[0]
        if not len(near):
            return near
        (low_x, high_x), (low_y, high_y) = (
            (self.bounds[0][axis], self.bounds[1][axis]) for axis in (x_axis, y_axis)
        )
        x, y = points[x_axis].take(near), points[y_axis].take(near)
        rows = ((x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)).nonzero()[0]
        if self.is_box or not len(rows):
            return near.take(rows)
        inside = self.area.slices.inside(x.take(rows), y.take(rows))
        return near.take(rows[inside])


def program_to_prisms(program: Program) -> list[Prism]:
    """The pieces of all bodies, in the order of the bodies.

    Raises:
        InvalidShape: a sketch or body has no meaning, or is no prism.
    """
    prisms: list[Prism] = []
    for number, body in enumerate(program.bodies):
        plane = program.planes[body.plane]
        if not isinstance(body, (Extrude, Box, Cylinder)) or body.rims or body.mode == "s":
            raise InvalidShape("a body that is not a prism")
        low, high = heights(body)
        base = float(plane.origin[AXES[plane.axes][2]])
        for area in _areas(body, plane):
            prisms.append(_prism(number, plane.axes, base + low, base + high, area, body))
    return prisms


def _prism(number: int, axes: Axes, low: float, high: float, area: Area, body: Body) -> Prism:
    x_axis, y_axis, normal = AXES[axes]
    bounds = ([0.0] * 3, [0.0] * 3)
    bounds[0][normal], bounds[1][normal] = low, high
    for axis, column in ((x_axis, area.starts[:, 0]), (y_axis, area.starts[:, 1])):
        bounds[0][axis], bounds[1][axis] = float(column.min()), float(column.max())
    return Prism(number, axes, low, high, area, bounds, isinstance(body, Box))


def _areas(body: Extrude | Box | Cylinder, plane: Plane) -> list[Area]:
    """The connected pieces of a body's area, world coordinates."""
    x_axis, y_axis, _ = AXES[plane.axes]
    shift = np.array([plane.origin[x_axis], plane.origin[y_axis]], dtype=np.float64)
    if isinstance(body, Box):
        return [_unit_square().placed((body.size[0], body.size[1]), shift + body.center)]
    if isinstance(body, Cylinder):
        return [_unit_disc().placed((body.radius, body.radius), shift + body.center)]
    region = sketch_to_region(body.sketch)
    if region.is_empty():
        raise InvalidShape("a sketch leaves no area")
    polygons = region.to_polygons()
    if len(polygons) == 1 or sum(polygon_area(polygon) > 0 for polygon in polygons) == 1:
        return [polygons_to_area([polygon + shift for polygon in polygons])]
    return [
        polygons_to_area([polygon + shift for polygon in piece.to_polygons()])
        for piece in region.decompose()
    ]


@cache
def _unit_square() -> Area:
    return polygons_to_area([np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])])


@cache
def _unit_disc() -> Area:
    """As the fast kernel draws it; how finely does not depend on the radius."""
    return polygons_to_area(sketch_to_region(Sketch((Circle(1),))).to_polygons(), digits=9)


def polygons_to_area(polygons: list[FloatArray], *, digits: int = DIGITS) -> Area:
    """Slice what polygons enclose: outer ones counter-clockwise, holes clockwise."""
    starts: FloatArray = np.concatenate(polygons).round(digits)
    after = np.arange(1, len(starts) + 1)
    end = 0
    for polygon in polygons:
        after[end + len(polygon) - 1] = end
        end += len(polygon)
    edges: FloatArray = starts[after] - starts
    slices = _slices(starts, edges, after)
    return Area(starts, edges, slices, float(doubled_areas(slices.triangles).sum()) / 2)


def _slices(starts: FloatArray, edges: FloatArray, after: NDArray[np.intp]) -> Slices:
    """Cut the area inside the edges at the height of every corner."""
    levels, level = np.unique(starts[:, 1], return_inverse=True)
    rise = level[after] - level
    count = np.abs(rise)
    edge = np.repeat(np.arange(len(starts)), count)
    first = np.minimum(level, level + rise) - np.cumsum(count) + count
    row = np.arange(len(edge)) + first[edge]
    slope = edges[edge, 0] / edges[edge, 1]
    offset = starts[edge, 0] - slope * starts[edge, 1]
    low, high = levels[row], levels[row + 1]
    order = np.lexsort((offset + slope * (low + high) / 2, row))
    row, slope, offset, low, high = (item[order] for item in (row, slope, offset, low, high))
    per_row = np.bincount(row, minlength=len(levels) - 1)
    column = np.arange(len(row)) - (np.cumsum(per_row) - per_row)[row]
    slopes = np.zeros((len(per_row), int(per_row.max())))
    offsets = np.full(slopes.shape, np.inf)
    slopes[row, column], offsets[row, column] = slope, offset
    return Slices(levels, offsets, slopes, _triangles(offset, slope, low, high))


def _triangles(
    offset: FloatArray, slope: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    """(T, 3, 2) two triangles for each pair of crossings: into the area and out of it."""
    below, above = offset + slope * low, offset + slope * high
    half = len(offset) // 2
    triangles = np.zeros((2 * half, 3, 2))
    left, right = slice(0, None, 2), slice(1, None, 2)
    triangles[:half, 0, 0], triangles[:half, 0, 1] = below[left], low[left]
    triangles[:half, 1, 0], triangles[:half, 1, 1] = below[right], low[right]
    triangles[:half, 2, 0], triangles[:half, 2, 1] = above[right], high[right]
    triangles[half:] = triangles[:half]
    triangles[half:, 1] = triangles[:half, 2]
    triangles[half:, 2, 0], triangles[half:, 2, 1] = above[left], high[left]
    return triangles


def doubled_areas(triangles: FloatArray) -> FloatArray:
    """(T,) twice the area of (T, 3, 2) triangles."""
    x, y = triangles[..., 0], triangles[..., 1]
    cross: FloatArray = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0])
    cross -= (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    return np.abs(cross)
