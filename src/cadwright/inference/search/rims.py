"""Chamfers and fillets around the ends of a solid's bodies -> proposals of bodies with rims.

In: a solid and the levels of its planar faces along one axis. Near an end whose rim is cut its
slices grow: by as much in depth as in width for a chamfer, along a quarter circle for a fillet.
Out: extruded bodies that lie inside, rims cut. Not covered: targets without exact slices, and
cut corners of sketches (``corners``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import manifold3d as m3
import numpy as np

from cadwright.inference.search.outline_on_grid import FINE, on_step
from cadwright.inference.search.slices import SMALLEST_AREA, Proposal, area_to_proposals
from cadwright.program.grammar import Axes, Cut, End, Number, Revolve, Rim
from cadwright.types import FloatArray

DEPTHS = (0.2, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18)  # below an end, where it is sliced
SMALLEST_RIM = 1.5  # PROGRAM units
GROWTH = 0.002  # share of a slice by which it may still grow below its rim
LEFT = 0.33  # of a rim's width half way down: a fillet's is 0.13, a chamfer's 0.5
ENDS: tuple[End, ...] = (">", "<")


def slants_along(axis: int, normals: FloatArray, areas: FloatArray) -> bool:
    """Whether there may be rims about an axis: some area slants to it, a 200th at least."""
    along = np.abs(normals[:, axis])
    return float(areas[(along > 0.05) & (along < 0.995)].sum()) >= 0.005 * float(areas.sum())


def propose_rimmed(solid: m3.Manifold, axes: Axes, levels: Sequence[float]) -> Iterator[Proposal]:
    """Bodies with cut rims between every two levels.

    Args:
        solid: turned so that the plane's normal is z, PROGRAM units.
        axes: the plane's.
        levels: heights of planar faces, not rounded, ascending.
    """
    rims: dict[tuple[float, End], tuple[Cut, Number]] = {}
    for level in levels:
        for end in ENDS:
            found = _rim_at(solid, level, end)
            if found is not None:
                rims[level, end] = found
    for k, low in enumerate(levels):
        for high in levels[k + 1 :]:
            ends: tuple[tuple[float, End], ...] = ((low, "<"), (high, ">"))
            cut = [(end, rims.get((level, end))) for level, end in ends]
            own = tuple(Rim(end, one[0], one[1]) for end, one in cut if one is not None)
            lengths = {rim.end: rim.size for rim in own}
            first, last = low + lengths.get("<", 0) + 0.3, high - lengths.get(">", 0) - 0.3
            if not own or last - first < 1.0:
                continue
            area = solid.slice(first) ^ solid.slice(last)
            for share in (0.3, 0.7):
                area = area ^ solid.slice(first + share * (last - first))
            for proposal in area_to_proposals(area, axes, low, high):
                body = proposal.body
                if not isinstance(body, Revolve):
                    yield Proposal(proposal.plane, replace(body, rims=own))


def _rim_at(solid: m3.Manifold, level: float, end: End) -> tuple[Cut, Number] | None:
    """Kind and size of the rim that ends at a level; None where it is sharp."""
    inwards = -1.0 if end == ">" else 1.0
    first = solid.slice(level + inwards * DEPTHS[0])
    if first.area() < SMALLEST_AREA:
        return None
    sizes = [first.area()]
    for depth, before in zip(DEPTHS[1:], DEPTHS[:-1], strict=True):
        sizes.append(solid.slice(level + inwards * depth).area())
        if len(sizes) == 3 and sizes[2] - sizes[0] < GROWTH * sizes[2]:
            return None  # sharp, as most are
        if sizes[-1] < SMALLEST_AREA:
            return None
        if sizes[-1] - sizes[-2] < GROWTH * sizes[-1] * (depth - before):
            break
    else:
        return None
    last = solid.slice(level + inwards * DEPTHS[len(sizes) - 1])
    middle = float(np.interp(DEPTHS[len(sizes) - 1] / 2, DEPTHS[: len(sizes)], sizes))
    left = (sizes[-1] - middle) / max(sizes[-1] - sizes[0], 1e-9)
    kind: Cut = "chamfer" if left > LEFT else "fillet"
    depth = DEPTHS[1]
    near = solid.slice(level + inwards * depth)
    width = 2 * (sizes[-1] - sizes[1]) / (_length(near) + _length(last))  # cut there
    if width <= 0:
        return None  # the solid grows thinner below
    # On a quarter circle of radius r it is r - sqrt(2 r depth - depth^2).
    size = width + depth + (0.0 if kind == "chamfer" else math.sqrt(2 * width * depth))
    if not SMALLEST_RIM <= size <= DEPTHS[len(sizes) - 2] + 2.0:
        return None  # something else ends here
    return kind, on_step(size, FINE)


def _length(area: m3.CrossSection) -> float:
    """Of all its outlines."""
    polygons = [np.asarray(polygon) for polygon in area.to_polygons()]
    edges = [np.roll(polygon, -1, axis=0) - polygon for polygon in polygons]
    return sum(float(np.linalg.norm(edge, axis=1).sum()) for edge in edges)
