"""Sketches on random planes -> one program on the integer grid.

After CAD-Recode (arXiv 2412.14042), algorithm 2: sketches on randomly moved
canonical planes, random extrusion heights, union; then normalise, quantise,
simplify. In: a random generator. Out: a Program in the PROGRAM frame, or
``LoopError`` where the draw came to nothing (the caller draws again).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cadwright.program.grammar import PLANE_AXES, Axes, Body, Number, Plane, Program
from cadwright.program.outline import LoopError, Outline, loop_bounds, moved, rounded
from cadwright.program.outline_to_body import on_plane, outlines_to_body
from cadwright.program.program_to_mesh import AXES
from cadwright.synth.sketch import draw_outlines
from cadwright.types import FloatArray

BODY_COUNTS = (0.22, 0.52, 0.21, 0.05)  # shares of one, two, three, four bodies
HALF_SIDE = 100.0  # PROGRAM frame


@dataclass(frozen=True, slots=True)
class Slab:
    """An extruded sketch before it is on the grid: drawing frame, floats."""

    axes: Axes
    base: float  # along the plane's normal
    height: float  # signed
    outlines: tuple[Outline, ...]

    def bounds(self) -> FloatArray:
        """(2, 3) lower and upper corner in world axes."""
        boxes = np.array([loop_bounds(outline.outer) for outline in self.outlines])
        z0, z1 = sorted((self.base, self.base + self.height))
        corners = np.zeros((2, 3))
        x_axis, y_axis, normal = AXES[self.axes]
        corners[0, [x_axis, y_axis]] = boxes[:, 0].min(axis=0)
        corners[1, [x_axis, y_axis]] = boxes[:, 1].max(axis=0)
        corners[:, normal] = z0, z1
        return corners


def draw_slabs(rng: np.random.Generator) -> list[Slab]:
    """One to four extruded sketches in the drawing frame.

    Raises:
        LoopError: a sketch came to nothing.
    """
    slabs: list[Slab] = []
    for _ in range(1 + int(rng.choice(len(BODY_COUNTS), p=BODY_COUNTS))):
        height = float(np.exp(rng.uniform(np.log(12), np.log(220))))
        if slabs and rng.random() < 0.62:  # on the same plane as the body before
            before = slabs[-1]
            sign = -np.sign(before.height) if rng.random() < 0.7 else np.sign(before.height)
            axes, base, height = before.axes, before.base, height * float(sign)
        else:
            axes = PLANE_AXES[int(rng.integers(3))]
            base = float(rng.uniform(-80, 60))
        slabs.append(Slab(axes, base, height, tuple(draw_outlines(rng))))
    return slabs


def slabs_to_program(slabs: list[Slab]) -> Program:
    """Normalise to the box +-100, round to integers, simplify, print in canonical order.

    Raises:
        LoopError: something degenerates on the grid.
    """
    bounds = [slab.bounds() for slab in slabs]
    low = np.min([pair[0] for pair in bounds], axis=0)
    high = np.max([pair[1] for pair in bounds], axis=0)
    center, scale = (low + high) / 2, 2 * HALF_SIDE / float((high - low).max())
    planes: list[Plane] = []
    bodies: list[Body] = []
    for slab in slabs:
        plane, body = _slab_to_body(slab, center, scale)
        if plane not in planes:
            planes.append(plane)
        bodies.append(on_plane(body, planes.index(plane)))
    return Program(tuple(planes), tuple(bodies))


def _slab_to_body(slab: Slab, center: FloatArray, scale: float) -> tuple[Plane, Body]:
    x_axis, y_axis, normal = AXES[slab.axes]
    shift = (float(center[x_axis]), float(center[y_axis]))
    base = round((slab.base - center[normal]) * scale)
    height = round(slab.height * scale)
    if abs(height) < 3:
        raise LoopError("a body too thin for the grid")
    origin: list[Number] = [0, 0, 0]
    origin[normal] = base
    outlines = [
        Outline(
            rounded(moved(outline.outer, shift, scale)),
            tuple(rounded(moved(hole, shift, scale)) for hole in outline.holes),
        )
        for outline in slab.outlines
    ]
    plane = Plane(slab.axes, (origin[0], origin[1], origin[2]))
    return plane, outlines_to_body(outlines, height)
