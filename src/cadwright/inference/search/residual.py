"""What a program misses or has too much, cell by cell -> edits that mend it.

In: a program and the cells of its target. Out: programs with one body more, one cut more or one
body less. Each connected lump of missing cells is read as a body along each axis, each lump of
extra cells as a cut. Numbers come off the grid, so refinement must follow. Not covered: which
edits are worth their length (``search``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import manifold3d as m3
import numpy as np

from cadwright.geometry.contours import values_to_area
from cadwright.geometry.voxels import Bits, Grid, Mask
from cadwright.inference.search.cells import Cells
from cadwright.inference.search.cover import with_bodies, without_body
from cadwright.inference.search.polygon_to_loop import polygon_to_outline
from cadwright.inference.search.slices import Proposal
from cadwright.program.grammar import AXES, PLANE_AXES, Box, Cylinder, Extrude, Plane, Program
from cadwright.program.outline import CircleLoop, LoopError, Outline, RectLoop, rounded
from cadwright.program.outline_to_body import outlines_to_body
from cadwright.program.program_to_mesh import InvalidShape
from cadwright.program.program_to_voxels import program_to_voxels

MOST_LUMPS = 5  # of either kind, largest first
SMALLEST_LUMP = 0.0015  # share of the target
SMALLEST_AREA = 25.0  # PROGRAM units squared
SNAP = 3.0  # PROGRAM units: a lump's ends go to levels of the program this near


def residual_edits(program: Program, cells: Cells) -> Iterator[Program]:
    """Programs that differ from this one by one body.

    Args:
        program: PROGRAM frame.
        cells: of the target.
    """
    try:
        bits = program_to_voxels(program, cells.grid)
    except InvalidShape:
        return
    levels = [_levels(program, axis) for axis in range(3)]
    for lump in _lumps(cells.inside & ~bits, cells):
        for proposal in _lump_to_proposals(lump, cells.grid, levels):
            yield with_bodies(program, [proposal])
    for lump in _lumps(bits & ~cells.inside, cells):
        for proposal in _lump_to_proposals(lump, cells.grid, levels):
            cut = Proposal(proposal.plane, replace(proposal.body, mode="s"))
            yield with_bodies(program, [cut])
    if len(program.bodies) > 1:
        for index in range(len(program.bodies)):
            shorter = without_body(program, index)
            if shorter.bodies[0].mode == "a":
                yield shorter


def _lumps(bits: Bits, cells: Cells) -> list[Mask]:
    """Connected lumps of cells, what counts most first; thin skins fall away."""
    from scipy.ndimage import label

    opened = _opened(cells.grid.unpack(bits))
    labels, count = label(opened)
    if not count:
        return []
    places = np.flatnonzero(opened)
    weights = np.zeros(len(places))
    for weight, mask in cells.classes or ((1.0, bits),):
        weights += weight * cells.grid.unpack(mask).ravel()[places]
    sizes = np.bincount(labels.ravel()[places], weights, minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")[:MOST_LUMPS]
    least = SMALLEST_LUMP * cells.total
    return [labels == index + 1 for index in order.tolist() if sizes[index] >= least]


def _opened(dense: Mask) -> Mask:
    """Only the cells that lie in cubes of two cells a side that are full."""
    corners = [
        tuple(slice(k >> axis & 1, len(dense) - 1 + (k >> axis & 1)) for axis in range(3))
        for k in range(8)
    ]
    full = np.ones_like(dense[1:, 1:, 1:])
    for corner in corners:
        full &= dense[corner]
    opened = np.zeros_like(dense)
    for corner in corners:
        opened[corner] |= full
    return opened


def _levels(program: Program, axis: int) -> list[float]:
    """Heights along a world axis at which the program's bodies begin or end."""
    found: set[float] = set()
    for body in program.bodies:
        plane = program.planes[body.plane]
        if AXES[plane.axes][2] != axis:
            continue
        base = float(plane.origin[axis])
        if isinstance(body, Extrude):
            found |= {base, base + body.height}
        elif isinstance(body, (Box, Cylinder)):
            height = body.size[2] if isinstance(body, Box) else body.height
            middle = base + body.twice_offset / 2
            found |= {middle - height / 2, middle + height / 2}
    return sorted(found)


def _lump_to_proposals(lump: Mask, grid: Grid, levels: list[list[float]]) -> Iterator[Proposal]:
    """Bodies like a lump, one or more for each axis."""
    for axes in PLANE_AXES:
        x_axis, y_axis, normal = AXES[axes]
        turned = np.transpose(lump, (normal, x_axis, y_axis))
        filled = np.flatnonzero(turned.any(axis=(1, 2)))
        first, last = int(filled[0]), int(filled[-1]) + 1
        half = grid.cell / 2
        low = _snapped(float(grid.centers[first]) - half, levels[normal])
        high = _snapped(float(grid.centers[last - 1]) + half, levels[normal])
        if high - low < 2:
            continue
        section = values_to_area(turned[first:last].mean(axis=0), 0.5, grid)
        yield from _section_to_proposals(section, axes, low, high, grid.cell)


def _section_to_proposals(
    section: m3.CrossSection, axes: str, low: float, high: float, cell: float
) -> Iterator[Proposal]:
    pieces = sorted(section.decompose(), key=lambda piece: -piece.area())
    for piece in pieces[:2]:
        if piece.area() < SMALLEST_AREA:
            continue
        for outline in _outlines(piece, cell):
            try:
                whole = Outline(rounded(outline.outer))
            except LoopError:
                continue
            origin: list[int] = [0, 0, 0]
            origin[AXES[axes][2]] = round(low)
            plane = Plane(axes, (origin[0], origin[1], origin[2]))  # type: ignore[arg-type]
            yield Proposal(plane, outlines_to_body([whole], round(high) - round(low)))


def _outlines(piece: m3.CrossSection, cell: float) -> Iterator[Outline]:
    """A rectangle, a circle of the same area, and what the corners say."""
    left, bottom, right, top = piece.bounds()
    width, height, area = right - left, top - bottom, piece.area()
    middle = ((left + right) / 2, (bottom + top) / 2)
    if area > 0.6 * width * height:
        yield Outline(RectLoop(middle, (width, height)))
    if 0.6 < width / height < 1.7 and area > 0.55 * width * height:
        yield Outline(CircleLoop(middle, float(np.sqrt(area / np.pi))))
    try:
        yield polygon_to_outline(piece, SMALLEST_AREA, tolerance=0.5 * cell)
    except (LoopError, InvalidShape):
        return


def _snapped(height: float, levels: list[float]) -> float:
    near = [level for level in levels if abs(level - height) <= SNAP]
    return min(near, key=lambda level: abs(level - height)) if near else height
