"""Program -> cells of a grid, in about a tenth of a millisecond.

Every body of the dialect is an area swept along an axis, so its cells are the
product of a 2D mask and an interval: no mesh, no boolean kernel. This is what
search ranks by; what it chooses is then scored on the real solid. Same
meaning as ``program_to_mesh``: a drawing without meaning raises InvalidShape.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cadwright.geometry.voxels import Bits, Grid, Mask
from cadwright.program.grammar import (
    Arc,
    Assemble,
    Body,
    Box,
    Circle,
    Close,
    Cylinder,
    Extrude,
    Face,
    Plane,
    Point2,
    Program,
    Push,
    Rect,
    Reset,
    Segment,
    Sketch,
    SketchOp,
)
from cadwright.program.program_to_mesh import AXES, InvalidShape, arc_points

FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


def program_to_voxels(program: Program, grid: Grid) -> Bits:
    """The union of the bodies as (n, n, words) bits.

    Raises:
        InvalidShape: a sketch has no meaning.
    """
    bits = grid.empty()
    for body in program.bodies:
        add_body(bits, body, program.planes[body.plane], grid)
    return bits


def add_body(bits: Bits, body: Body, plane: Plane, grid: Grid) -> None:
    """Set, in place, the cells of one body."""
    x_axis, y_axis, normal = AXES[plane.axes]
    base = plane.origin[normal]
    if isinstance(body, Extrude):
        low, high = sorted((base, base + body.height))
        sketch = body.sketch
    else:
        middle = base + body.twice_offset / 2
        height = body.size[2] if isinstance(body, Box) else body.height
        low, high = middle - height / 2, middle + height / 2
        sketch = _footprint(body)
    mask = sketch_to_mask(sketch, (plane.origin[x_axis], plane.origin[y_axis]), grid)
    _sweep(bits, mask, plane.axes, grid.span(low, high), grid)


def _footprint(body: Box | Cylinder) -> Sketch:
    if isinstance(body, Cylinder):
        return Sketch((Push(body.center), Circle(body.radius)))
    return Sketch((Push(body.center), Rect(body.size[0], body.size[1])))


def _sweep(bits: Bits, mask: Mask, axes: str, span: slice, grid: Grid) -> None:
    if axes == "XY":
        column = np.zeros(grid.n, dtype=bool)
        column[span] = True
        bits |= np.where(mask[:, :, None], grid.pack(column), np.uint64(0))
    elif axes == "YZ":
        bits[span] |= grid.pack(mask)
    else:
        bits[:, span] |= grid.pack(mask.T)[:, None]


@lru_cache(maxsize=4096)
def sketch_to_mask(sketch: Sketch, origin: Point2, grid: Grid) -> Mask:
    """(n, n) bool over the plane's x and y; read-only, since it is kept for the next call."""
    mask = _MaskBuilder(grid, origin).build(sketch)
    mask.flags.writeable = False
    return mask


class _MaskBuilder:
    """The state CadQuery's Sketch keeps, drawn on a grid; see ``program_to_mesh``."""

    def __init__(self, grid: Grid, origin: Point2) -> None:
        self.grid, self.origin = grid, origin
        self.mask: Mask = np.zeros((grid.n, grid.n), dtype=bool)
        self.at: Point2 = (0, 0)
        self.loops: list[list[Point2]] = []

    def build(self, sketch: Sketch) -> Mask:
        for op in sketch.ops:
            self.apply(op)
        return self.mask

    def apply(self, op: SketchOp) -> None:
        if isinstance(op, Push):
            self.at = op.point
        elif isinstance(op, Reset):
            self.at = (0, 0)
        elif isinstance(op, Segment):
            self._chain(op.start).append(op.end)
        elif isinstance(op, Arc):
            chain = self._chain(op.start)
            chain.extend(arc_points(chain[-1], op.middle, op.end))
        elif isinstance(op, Close):
            self.loops[-1].append(self.loops[0][0])
        elif op.mode == "s":
            self.mask = self.mask & ~self._shape(op)
        else:
            self.mask = self.mask | self._shape(op)

    def _chain(self, start: Point2 | None) -> list[Point2]:
        if start is not None and not (self.loops and self.loops[-1][-1] == start):
            self.loops.append([start])
        return self.loops[-1]

    def _shape(self, op: Circle | Rect | Face | Assemble) -> Mask:
        x, y = self.at[0] + self.origin[0], self.at[1] + self.origin[1]
        grid, mask = self.grid, np.zeros_like(self.mask)
        if isinstance(op, Rect):
            mask[
                grid.span(x - op.width / 2, x + op.width / 2),
                grid.span(y - op.height / 2, y + op.height / 2),
            ] = True
            return mask
        if isinstance(op, Circle):
            dx, dy = grid.centers - x, grid.centers - y
            return (dx * dx)[:, None] + (dy * dy) <= op.radius**2
        if isinstance(op, Face):
            return sketch_to_mask(op.sketch, (x, y), grid)
        return self._assembled(x, y)

    def _assembled(self, x: float, y: float) -> Mask:
        masks = []
        for loop in self.loops:
            if len(loop) < 4 or loop[0] != loop[-1]:
                raise InvalidShape("a loop of edges is not closed")
            masks.append(self.grid.polygons_to_mask([np.array(loop[:-1]) + (x, y)]))
        result = masks[0]
        for hole in masks[1:]:
            result = result & ~hole
        return result
