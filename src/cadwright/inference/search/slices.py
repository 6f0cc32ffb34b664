"""A target's slices -> bodies that fit inside it: search's own proposals.

Parts made by extrusion show their sketches in their cross sections. Planar
faces across an axis give the levels where sketches may begin and end; between
two levels, what all slices have in common is the largest area that can be
extruded inside the target. In: a solid, PROGRAM frame. Out: bodies on planes,
numbers as fine as ``outline_on_grid`` has them. Not covered: choosing among them (``cover``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import manifold3d as m3
import numpy as np

from cadwright.inference.search.corners import with_cut_corners
from cadwright.inference.search.outline_on_grid import FINE, WHOLE, on_step, outline_on_grid
from cadwright.inference.search.polygon_to_loop import polygon_to_outline
from cadwright.program.grammar import PLANE_AXES, Axes, Body, Number, Plane, tidy
from cadwright.program.outline import LoopError
from cadwright.program.outline_to_body import outlines_to_body
from cadwright.program.program_to_mesh import AXES, InvalidShape
from cadwright.types import FloatArray

SMALLEST_AREA = 30.0  # PROGRAM units squared: faces, slices and holes below are left out
THINNEST = 2.0  # PROGRAM units between two levels
THICK = 30.0  # PROGRAM units from which on an interval is sliced more often
MOST_LEVELS = 9  # an axis; the largest faces are kept
MARGIN = 0.02  # share of an interval left out at both ends when it is sliced


@dataclass(frozen=True, slots=True)
class Proposal:
    """A body that lies inside the target, with the plane it stands on."""

    plane: Plane
    body: Body  # its plane index is 0


def propose_bodies(target: m3.Manifold, *, uniform_levels: int = 0) -> Iterator[Proposal]:
    """All bodies that the slices along the three axes suggest, thick ones first.

    Args:
        target: a solid, PROGRAM frame.
        uniform_levels: 0 takes levels from planar faces; else so many equal steps an axis,
            for targets that are not made of extrusions.
    """
    surface = target.to_mesh64()
    vertices = np.asarray(surface.vert_properties)[:, :3]
    triangles = vertices[np.asarray(surface.tri_verts).astype(np.int64)]
    for axes in PLANE_AXES:
        order = AXES[axes]
        turned = target.transform(axis_to_z(order))
        heights = triangles[:, :, order[2]]
        if uniform_levels:
            steps = np.linspace(heights.min(), heights.max(), uniform_levels + 1)
            levels = [float(round(step)) for step in steps]
        else:
            levels = exact_levels(heights, triangles)
        yield from _along_axis(turned, axes, levels)


def axis_to_z(order: tuple[int, int, int]) -> FloatArray:
    """(3, 4) rotation that puts a plane's x, y and normal on the world's X, Y and Z."""
    matrix = np.zeros((3, 4))
    for row, axis in enumerate(order):
        matrix[row, axis] = 1.0
    return matrix


def face_levels(heights: FloatArray, triangles: FloatArray) -> list[float]:
    """Heights of the planar faces across an axis, and of the target's two ends, sorted.

    Args:
        heights: (F, 3) each triangle's corner coordinates along the axis.
        triangles: (F, 3, 3) the triangles themselves, PROGRAM frame.
    """
    flat = np.ptp(heights, axis=1) < 0.05
    edges = triangles[flat]
    areas = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1)
    bins = np.round(heights[flat].mean(axis=1)).astype(int)
    totals: dict[int, float] = {}
    for level, area in zip(bins.tolist(), (areas / 2).tolist(), strict=True):
        totals[level] = totals.get(level, 0.0) + area
    large = sorted((level for level in totals if totals[level] >= SMALLEST_AREA), key=totals.get)  # type: ignore[arg-type]
    levels = {float(level) for level in large[-MOST_LEVELS:]}
    return sorted(levels | {float(round(heights.min())), float(round(heights.max()))})


def exact_levels(heights: FloatArray, triangles: FloatArray) -> list[float]:
    """As ``face_levels``, but where the faces really are; those that are one level given once.

    Args:
        heights: (F, 3) each triangle's corner coordinates along the axis.
        triangles: (F, 3, 3) the triangles themselves, PROGRAM frame.
    """
    flat = np.ptp(heights, axis=1) < 0.05
    edges, places = triangles[flat], heights[flat].mean(axis=1)
    areas = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1)
    exact: list[float] = []
    for level in face_levels(heights, triangles):
        near = np.abs(places - level) <= 0.5 + 1e-6
        if areas[near].sum() > 0:
            level = float(np.average(places[near], weights=areas[near]))
        if not exact or level - exact[-1] > 0.3:
            exact.append(level)
    return exact


def _along_axis(solid: m3.Manifold, axes: Axes, levels: list[float]) -> Iterator[Proposal]:
    """Bodies between every two levels along z of the turned target."""
    steps = [_common_area(solid, low, high) for low, high in zip(levels, levels[1:], strict=False)]
    yield from steps_to_proposals(steps, levels, axes, thinnest=THINNEST)


def steps_to_proposals(
    steps: list[m3.CrossSection],
    levels: list[float],
    axes: Axes,
    *,
    thinnest: float,
    tolerance: float = 0.0,
) -> Iterator[Proposal]:
    """Bodies between every two levels, as wide as all steps between them share; thick ones first.

    Args:
        steps: one area from each level to the next, coordinates of the plane.
        levels: one more than steps, PROGRAM units along the plane's normal, ascending.
        axes: of the plane.
        thinnest: PROGRAM units; levels nearer than this are skipped.
        tolerance: how far noise moves the areas' edges.
    """
    for count in range(len(steps), 0, -1):
        for first in range(len(steps) - count + 1):
            low, high = levels[first], levels[first + count]
            if high - low < thinnest:
                continue
            area = steps[first]
            for other in steps[first + 1 : first + count]:
                area = area ^ other
            yield from area_to_proposals(area, axes, low, high, tolerance=tolerance)


def _common_area(solid: m3.Manifold, low: float, high: float) -> m3.CrossSection:
    """What the slices of an interval share, two of them near its ends; thick ones have more."""
    area = solid.slice((low + high) / 2)
    if high - low >= THINNEST:
        count = 3 if high - low < THICK else 7
        parts = [MARGIN, *(k / (count + 1) for k in range(1, count + 1)), 1 - MARGIN]
        for part in parts:
            if part != 0.5:
                area = area ^ solid.slice(low + part * (high - low))
    return area


def area_to_proposals(
    area: m3.CrossSection, axes: Axes, low: float, high: float, *, tolerance: float = 0.0
) -> Iterator[Proposal]:
    """The whole area as one sketch, and each of its pieces alone.

    Args:
        area: coordinates of the plane, PROGRAM units.
        axes: the plane's.
        low: where the bodies begin along its normal.
        high: where they end.
        tolerance: how far noise moves the area's edges.
    """
    step = WHOLE if tolerance > 0 else FINE
    outlines = []
    for piece in area.decompose():
        if piece.area() < SMALLEST_AREA:
            continue
        try:
            outline = polygon_to_outline(piece, SMALLEST_AREA, tolerance=tolerance)
            outlines.append(outline_on_grid(outline, step))
        except (LoopError, InvalidShape):
            continue  # too small or too crooked for the grid: no proposal
    groups = [outlines] if len(outlines) > 1 else []
    groups += [[outline] for outline in outlines]
    origin: list[Number] = [0, 0, 0]
    base = on_step(low, step)
    origin[AXES[axes][2]] = base
    plane = Plane(axes, (origin[0], origin[1], origin[2]))
    height = tidy(on_step(high, step) - base)
    for group in groups:
        yield Proposal(plane, outlines_to_body(group, height))
        cut = with_cut_corners(group[0], height, step) if len(group) == 1 else None
        if cut is not None:
            yield Proposal(plane, cut)
