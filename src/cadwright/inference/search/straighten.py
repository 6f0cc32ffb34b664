"""Noisy polygons -> polygons with straight runs along the axes and whole corners.

In: the corners of a simplified outline. Out: the same outline with edges nearly along x or y put
exactly along it, and corners that smoothing cut off made whole again. Not covered: arcs, whose
short edges are left alone where they turn by little.
"""

from __future__ import annotations

import numpy as np

from cadwright.types import FloatArray

SLANT = 0.12  # tangent below which an edge counts as along an axis
LONG = 6.0  # tolerances: edges longer than this have a direction that can be trusted


def straightened(polygon: FloatArray, tolerance: float) -> FloatArray:
    """Make the long edges straight and meet.

    Args:
        polygon: (N, 2) corners in order.
        tolerance: how far noise moves them, the polygon's own unit.

    Returns:
        (M, 2), or ``polygon`` itself where too few edges are long.
    """
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.linalg.norm(edges, axis=1)
    is_long = lengths > max(LONG * tolerance, 4.0)
    if is_long.sum() < 3:
        return polygon
    first = int(np.flatnonzero(is_long)[0])
    polygon, edges, is_long = (np.roll(part, -first, axis=0) for part in (polygon, edges, is_long))
    corners: list[FloatArray] = []
    k, count = 0, len(polygon)
    longs = [*np.flatnonzero(is_long).tolist(), count]
    for k, after in zip(longs, longs[1:], strict=False):
        between = polygon[[index % count for index in range(k + 1, after + 1)]]
        here, there = _line(polygon, edges, k), _line(polygon, edges, after % count)
        corners.extend(_joined(here, there, between, tolerance))
    return _along_axes(np.array(corners), tolerance)


def _line(polygon: FloatArray, edges: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    """Middle and direction of an edge, along an axis where it nearly is."""
    along = edges[k].copy()
    small = int(np.argmin(np.abs(along)))
    if abs(along[small]) <= SLANT * abs(along[1 - small]):
        along[small] = 0.0
    return polygon[k] + edges[k] / 2, along


def _joined(
    here: tuple[FloatArray, FloatArray],
    there: tuple[FloatArray, FloatArray],
    between: FloatArray,
    tolerance: float,
) -> list[FloatArray]:
    """What stands for the corners between two long edges: where their lines meet, if near."""
    (p, a), (q, b) = here, there
    cross = a[0] * b[1] - a[1] * b[0]
    if abs(cross) > 0.17 * float(np.linalg.norm(a) * np.linalg.norm(b)):
        offset = q - p
        meet = p + a * ((offset[0] * b[1] - offset[1] * b[0]) / cross)
        reach = 2.0 * tolerance + (4.0 * tolerance if len(between) > 1 else 0.0)
        if np.linalg.norm(between - meet, axis=1).max() <= reach:
            return [meet]
    return list(between)


def _along_axes(polygon: FloatArray, tolerance: float) -> FloatArray:
    """Give both ends of every edge that is nearly along an axis one coordinate."""
    result = polygon.copy()
    count = len(result)
    for axis in (0, 1):
        for k in range(count):
            after = (k + 1) % count
            off = abs(result[after, axis] - result[k, axis])
            run = abs(result[after, 1 - axis] - result[k, 1 - axis])
            if off <= max(SLANT * run, 1e-9) and run > 2 * tolerance:
                result[[k, after], axis] = (result[k, axis] + result[after, axis]) / 2
    return result
