"""A program -> the same program with its bounds on the target's.

In: a program, the bounds of its solid and those of the target (PROGRAM frame). Out: every
position moved and every length scaled along its own axis by the one map that takes the first
bounds to the second. One closed step, no trying: a decoded part is right in kind before it is
right in size. Not covered: whether the result fits better (the caller scores both), and what
lies between the bounds (``fit_levels``).
"""

from __future__ import annotations

import numpy as np

from cadwright.inference.warp import AxisMap, NotWarpable, warp_program
from cadwright.program.grammar import Program
from cadwright.types import FloatArray

LARGEST_SCALE = 3.0  # beyond it, or below its inverse, the program shows another part


def fit_bounds(program: Program, bounds: FloatArray, target: FloatArray) -> Program | None:
    """Put a program's bounds on the target's.

    Args:
        program: PROGRAM frame.
        bounds: (2, 3) lower and upper corner of its solid.
        target: (2, 3) those wanted.

    Returns:
        The program with integers as numbers; None where the bounds agree within half a unit
        already, or differ by more than ``LARGEST_SCALE`` along some axis, or where a body is
        one that cannot be stretched (``warp``).
    """
    extents, wanted = bounds[1] - bounds[0], target[1] - target[0]
    if extents.min() <= 0 or np.abs(bounds - target).max() <= 0.5:
        return None
    scale = wanted / extents
    if max(scale.max(), 1 / max(scale.min(), 1e-9)) > LARGEST_SCALE:
        return None
    shift = target[0] - bounds[0] * scale
    x, y, z = (_affine(float(s), float(d)) for s, d in zip(scale, shift, strict=True))
    try:
        return warp_program(program, (x, y, z))
    except NotWarpable:
        return None


def _affine(scale: float, shift: float) -> AxisMap:
    return lambda coordinate: coordinate * scale + shift
