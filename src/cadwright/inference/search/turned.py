"""A turned part -> the profile that was turned, read off its half sections or off its cells.

In: a target and an axis (``turning``). Out: proposals of revolved bodies. What the half planes
around an axis all share is the largest profile that can be turned inside the target. Small
numbers of a profile are those of the grid; refinement follows. Not covered: angles under 360
degrees, and choosing among bodies (``cover``).
"""

from __future__ import annotations

from collections.abc import Iterator

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.contours import values_to_area
from cadwright.geometry.voxels import HALF_SIDE, Grid
from cadwright.inference.search.outline_on_grid import FINE, WHOLE, on_step, outline_on_grid
from cadwright.inference.search.polygon_to_loop import polygon_to_outline
from cadwright.inference.search.slices import SMALLEST_AREA, Proposal
from cadwright.inference.search.turning import TurningAxis
from cadwright.program.grammar import AXES, Axes, Number, Plane, Revolve
from cadwright.program.outline import (
    CircleLoop,
    EdgeLoop,
    Loop,
    LoopError,
    Outline,
    RectLoop,
    moved,
)
from cadwright.program.outline_to_body import outlines_to_sketch
from cadwright.program.program_to_mesh import InvalidShape
from cadwright.types import FloatArray

NUM_PLANES = 6  # through the axis; each shows two half sections
NUM_TURNS = 24  # directions in which cells are looked up
FAR = 400.0
TO_AXIS = 2.0  # PROGRAM units: edges nearer to the axis lie on it
UPRIGHT: dict[int, Axes] = {1: "XY", 2: "YZ", 0: "ZX"}  # the plane whose y is a world axis


def turn_solid(solid: m3.Manifold, axis: TurningAxis) -> Iterator[Proposal]:
    """Revolved bodies inside a solid, PROGRAM frame, about an axis."""
    across, along, up = _order(axis)
    half = m3.CrossSection([[(0, -FAR), (FAR, -FAR), (FAR, FAR), (0, FAR)]])
    profile = half
    for k in range(NUM_PLANES):
        angle = np.pi * (k + 0.37) / NUM_PLANES
        matrix = np.zeros((3, 4))
        matrix[0, across], matrix[0, up] = np.cos(angle), np.sin(angle)
        matrix[1, along] = 1.0
        matrix[2] = [*np.cross(matrix[0, :3], matrix[1, :3]), 0.0]
        foot = np.zeros(3)
        foot[across], foot[up] = _place(axis)
        matrix[:, 3] = -matrix[:, :3] @ foot
        section = solid.transform(matrix).slice(0.0)
        profile = profile ^ section ^ section.mirror((1, 0))
    yield from profile_to_proposals(profile, axis)


def turn_field(field: NDArray[np.floating], grid: Grid, axis: TurningAxis) -> m3.CrossSection:
    """The profile of cells about an axis: inside where half of all directions are.

    Args:
        field: (n, n, n) about 1 inside, 0 outside.
        grid: the cells.
        axis: PROGRAM frame.
    """
    return values_to_area(mean_profile(field, grid, axis), 0.5, grid) ^ m3.CrossSection(
        [[(0, -FAR), (FAR, -FAR), (FAR, FAR), (0, FAR)]]
    )


def mean_profile(field: NDArray[np.floating], grid: Grid, axis: TurningAxis) -> FloatArray:
    """(n, n) medians about an axis, by distance (of either sign) and place along it."""
    from scipy.ndimage import map_coordinates

    across, along, up = _order(axis)
    turned = np.transpose(field, (across, up, along))
    angles = (np.arange(NUM_TURNS) + 0.5) / NUM_TURNS * 2 * np.pi
    distance = np.abs(grid.centers)
    x, y = (
        place + distance[:, None] * turn(angles)
        for place, turn in zip(_place(axis), (np.cos, np.sin), strict=True)
    )
    at = (np.stack([x, y]) + HALF_SIDE) / grid.cell - 0.5
    layers = [
        map_coordinates(turned[:, :, k].astype(np.float32), at, order=1) for k in range(grid.n)
    ]
    return np.asarray(np.median(np.stack(layers, axis=2), axis=1), dtype=np.float64)


def profile_to_proposals(
    profile: m3.CrossSection, axis: TurningAxis, *, tolerance: float = 0.0
) -> Iterator[Proposal]:
    """The whole profile turned, and each of its pieces alone; plain cylinders are left out.

    Args:
        profile: (distance from the axis, place along it), PROGRAM units.
        axis: about which it is turned.
        tolerance: how far noise moves its edges.
    """
    step = WHOLE if tolerance > 0 else FINE
    outlines: list[Outline] = []
    for piece in profile.decompose():
        if piece.area() < SMALLEST_AREA:
            continue
        try:
            outline = polygon_to_outline(piece, SMALLEST_AREA, tolerance=tolerance)
            outlines.append(outline_on_grid(_touching(outline), step))
        except (LoopError, InvalidShape):
            continue
    groups = [outlines] if len(outlines) > 1 else []
    groups += [[one] for one in outlines if not isinstance(one.outer, RectLoop)]
    across, along, up = _order(axis)
    place = [on_step(value, step) for value in _place(axis)]
    origin: list[Number] = [0, 0, 0]
    origin[up] = place[1]
    plane = Plane(UPRIGHT[along], (origin[0], origin[1], origin[2]))
    for group in groups:
        shifted = [_on_axis(outline, place[0]) for outline in group]
        yield Proposal(plane, Revolve(0, outlines_to_sketch(shifted), "Y", place[0]))


def _order(axis: TurningAxis) -> tuple[int, int, int]:
    """World axes across, along and up from the plane in which the profile is drawn."""
    return AXES[UPRIGHT[axis.axis]]


def _place(axis: TurningAxis) -> tuple[float, float]:
    """Where the axis stands, along ``across`` and ``up``."""
    return axis.at[1], axis.at[0]


def _on_axis(outline: Outline, at: Number) -> Outline:
    """The outline drawn beside an axis that does not run through the sketch's origin."""
    holes = tuple(moved(hole, (-at, 0), 1) for hole in outline.holes)
    return Outline(moved(outline.outer, (-at, 0), 1), holes)


def _touching(outline: Outline) -> Outline:
    """What nearly touches the axis lies on it."""
    return Outline(_to_axis(outline.outer), outline.holes)


def _to_axis(loop: Loop) -> Loop:
    if isinstance(loop, CircleLoop):
        return loop
    if isinstance(loop, RectLoop):
        low, high = loop.center[0] - loop.size[0] / 2, loop.center[0] + loop.size[0] / 2
        low = 0.0 if low < TO_AXIS else low
        return RectLoop(((low + high) / 2, loop.center[1]), (high - low, loop.size[1]))
    points = tuple((0, y) if x < TO_AXIS else (x, y) for x, y in loop.points)
    middles = tuple(
        None if middle is None or (a[0] == 0 and b[0] == 0) else middle
        for middle, a, b in zip(loop.middles, points, (*points[1:], points[0]), strict=True)
    )
    return EdgeLoop(points, middles)
