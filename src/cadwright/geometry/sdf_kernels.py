"""The compiled loops of ``mesh_to_sdf``: distances near triangles, crossings along z.

In: triangles in GRID units (a step of the grid is 1, sample i lies at i). Out: squared distances
in bricks of 8^3 samples, and where the lines along z leave or enter the mesh. Bricks far from the
surface are never made, so memory follows the surface and not the cube of the resolution.
numba is imported at the first call and its code is cached on disk.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.optional import require
from cadwright.types import FloatArray

BRICK = 8  # samples along the side of a brick
CELLS = BRICK**3
DEPTH = 200  # pieces waiting while one triangle is halved: its edges would be 2^100 steps long
SNAP = 1 << 20  # sign tests are exact in whole numbers of 2^-20 of a step
_LOG = logging.getLogger(__name__)


@cache
def compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel as machine code, compiled at its first call."""
    numba = require("numba", extra="render")
    try:
        return numba.njit(cache=True)(kernel)
    except RuntimeError as error:  # no folder to write to: a read-only install without a home
        _LOG.warning("compiling %s anew in each process: %s", kernel.__name__, error)
        return numba.njit(kernel)


def spread_distances(
    triangles: FloatArray,
    band: float,
    longest: float,
    resolution: int,
    pointer: NDArray[np.int32],
    pool: NDArray[np.float32],
    marking: bool,
) -> int:
    """Go over the samples near each triangle, either to mark bricks or to measure.

    A triangle is halved until its edges are short. Around a piece, for each line of samples
    along the axis nearest to its normal, only the stretch within ``band`` of its plane is
    visited: whatever is nearer than ``band`` to the piece lies in it.

    Args:
        triangles: (F, 3, 3), GRID units.
        band: samples this near are measured.
        longest: edge length of a piece.
        resolution: R, samples along each side of the grid.
        pointer: (B, B, B) number of each brick; -1 for none. Marking sets those touched to 0.
        pool: (bricks, 512) float32 squared distances, lowered in place.
        marking: mark bricks; else measure.
    Returns:
        How many pieces there were.
    """
    stack = np.zeros((DEPTH, 3, 3))
    e = np.zeros((3, 3))
    low = np.zeros(3)
    high = np.zeros(3)
    normal = np.zeros(3)
    p = np.zeros(3)
    span = np.zeros((3, 2), np.int64)
    limit = band * band
    num_pieces = 0
    for face in range(triangles.shape[0]):
        stack[0] = triangles[face]
        depth = 1
        while depth:
            depth -= 1
            t = stack[depth].copy()
            far, side = -1.0, 0
            for k in range(3):
                square = 0.0
                for axis in range(3):
                    e[k, axis] = t[(k + 1) % 3, axis] - t[k, axis]
                    square += e[k, axis] * e[k, axis]
                if square > far:
                    far, side = square, k
            if far > longest * longest and depth + 2 <= DEPTH:
                for axis in range(3):
                    middle = (t[side, axis] + t[(side + 1) % 3, axis]) / 2
                    opposite = t[(side + 2) % 3, axis]
                    stack[depth, 0, axis], stack[depth + 1, 0, axis] = t[side, axis], middle
                    stack[depth, 1, axis] = middle
                    stack[depth + 1, 1, axis] = t[(side + 1) % 3, axis]
                    stack[depth, 2, axis] = stack[depth + 1, 2, axis] = opposite
                depth += 2
                continue
            normal[0] = e[0, 1] * e[1, 2] - e[0, 2] * e[1, 1]
            normal[1] = e[0, 2] * e[1, 0] - e[0, 0] * e[1, 2]
            normal[2] = e[0, 0] * e[1, 1] - e[0, 1] * e[1, 0]
            length = math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
            if length == 0.0:  # no area: its points are those of its edges, which others have too
                continue
            num_pieces += 1
            w = 0
            for axis in range(3):
                normal[axis] /= length
                if abs(normal[axis]) > abs(normal[w]):
                    w = axis
                low[axis] = min(t[0, axis], t[1, axis], t[2, axis]) - band
                high[axis] = max(t[0, axis], t[1, axis], t[2, axis]) + band
                span[axis, 0] = max(0, math.ceil(low[axis]))
                span[axis, 1] = min(resolution - 1, math.floor(high[axis]))
            u, v = (w + 1) % 3, (w + 2) % 3
            plane = normal[0] * t[0, 0] + normal[1] * t[0, 1] + normal[2] * t[0, 2]
            reach = band / abs(normal[w])
            for i in range(span[u, 0], span[u, 1] + 1):
                for j in range(span[v, 0], span[v, 1] + 1):
                    level = (plane - normal[u] * i - normal[v] * j) / normal[w]
                    first = max(span[w, 0], math.ceil(level - reach))
                    last = min(span[w, 1], math.floor(level + reach))
                    for k in range(first, last + 1):
                        p[u], p[v], p[w] = i, j, k
                        x, y, z = int(p[0]), int(p[1]), int(p[2])
                        bx, by, bz = x // BRICK, y // BRICK, z // BRICK
                        if marking:
                            pointer[bx, by, bz] = 0
                            continue
                        height = normal[0] * x + normal[1] * y + normal[2] * z - plane
                        best = height * height
                        inside = True
                        outer = np.inf
                        for c in range(3):
                            gx, gy, gz = x - t[c, 0], y - t[c, 1], z - t[c, 2]
                            ex, ey, ez = e[c, 0], e[c, 1], e[c, 2]
                            turn = (
                                (ey * gz - ez * gy) * normal[0]
                                + (ez * gx - ex * gz) * normal[1]
                                + (ex * gy - ey * gx) * normal[2]
                            )
                            if turn < 0.0:
                                inside = False
                                along = (gx * ex + gy * ey + gz * ez) / (
                                    ex * ex + ey * ey + ez * ez
                                )
                                along = min(max(along, 0.0), 1.0)
                                gx -= along * ex
                                gy -= along * ey
                                gz -= along * ez
                                outer = min(outer, gx * gx + gy * gy + gz * gz)
                        if not inside:
                            best = outer
                        if best <= limit:
                            number = pointer[bx, by, bz]
                            cell = ((x % BRICK) * BRICK + y % BRICK) * BRICK + z % BRICK
                            if best < pool[number, cell]:
                                pool[number, cell] = best
    return num_pieces


def cross_columns(
    corners: NDArray[np.int64],
    resolution: int,
    start: NDArray[np.int64],
    heights: FloatArray,
    signs: NDArray[np.int8],
    counting: bool,
) -> None:
    """Find where every line of samples along z crosses the mesh, and which way.

    Whether a line passes left or right of an edge is decided in whole numbers, ties as if the
    line stood an infinitesimal step aside: along a closed mesh the signs then always add up.

    Args:
        corners: (F, 3, 3) corners in whole numbers of 1/SNAP of a step.
        resolution: R.
        start: (R * R + 1,) counting adds 1 at column + 1; else where each column is written next.
        heights: (crossings,) z of each crossing, GRID units.
        signs: (crossings,) 1 where the mesh is left going up, -1 where it is entered.
        counting: count only.
    """
    side = np.zeros(3, np.int64)
    for face in range(corners.shape[0]):
        t = corners[face]
        x0 = max(0, -((-min(t[0, 0], t[1, 0], t[2, 0])) // SNAP))
        x1 = min(resolution - 1, max(t[0, 0], t[1, 0], t[2, 0]) // SNAP)
        y0 = max(0, -((-min(t[0, 1], t[1, 1], t[2, 1])) // SNAP))
        y1 = min(resolution - 1, max(t[0, 1], t[1, 1], t[2, 1]) // SNAP)
        area = (t[1, 0] - t[0, 0]) * (t[2, 1] - t[0, 1]) - (t[1, 1] - t[0, 1]) * (t[2, 0] - t[0, 0])
        if area == 0:
            continue
        turn = 1 if area > 0 else -1
        for i in range(x0, x1 + 1):
            for j in range(y0, y1 + 1):
                x, y = i * SNAP, j * SNAP
                inside = True
                for c in range(3):
                    ax, ay = t[c, 0], t[c, 1]
                    ex, ey = t[(c + 1) % 3, 0] - ax, t[(c + 1) % 3, 1] - ay
                    side[c] = turn * (ex * (y - ay) - ey * (x - ax))
                    # A tie: moved by (e, e^2) the line lies left if -ey, or then ex, is positive.
                    tie = turn * (-ey if ey != 0 else ex)
                    if side[c] < 0 or (side[c] == 0 and tie < 0):
                        inside = False
                        break
                if not inside:
                    continue
                column = i * resolution + j
                if counting:
                    start[column + 1] += 1
                    continue
                total = float(side[0] + side[1] + side[2])
                a, b, c2 = side[1] / total, side[2] / total, side[0] / total
                heights[start[column]] = (a * t[0, 2] + b * t[1, 2] + c2 * t[2, 2]) / SNAP
                signs[start[column]] = turn
                start[column] += 1


def wind_columns(
    index: NDArray[np.int32],
    resolution: int,
    start: NDArray[np.int64],
    heights: FloatArray,
    signs: NDArray[np.int8],
    winding: NDArray[np.int32],
) -> None:
    """(N,) winding numbers of samples: the sum of the crossings above each, filled in place."""
    for row in range(index.shape[0]):
        column = index[row, 0] * resolution + index[row, 1]
        total = 0
        for k in range(start[column], start[column + 1]):
            if heights[k] > index[row, 2]:
                total += signs[k]
        winding[row] = total


def gather_bricks(
    where: NDArray[np.int64],
    pool: NDArray[np.float32],
    resolution: int,
    limit: float,
    index: NDArray[np.int32],
    values: NDArray[np.float32],
    counting: bool,
) -> int:
    """Count, or list, the samples of all bricks whose squared distance is at most ``limit``."""
    found = 0
    for brick in range(where.shape[0]):
        for cell in range(CELLS):
            if pool[brick, cell] <= limit:
                x = where[brick, 0] * BRICK + cell // (BRICK * BRICK)
                y = where[brick, 1] * BRICK + cell // BRICK % BRICK
                z = where[brick, 2] * BRICK + cell % BRICK
                if x < resolution and y < resolution and z < resolution:
                    if not counting:
                        index[found, 0], index[found, 1], index[found, 2] = x, y, z
                        values[found] = math.sqrt(pool[brick, cell])
                    found += 1
    return found
