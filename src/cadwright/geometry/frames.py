"""The four frames and the way between them: bounds in, a Placement out.

PROGRAM is [-100, 100]^3, MODEL [-1, 1]^3, UNIT [0, 1]^3 (see ``cadwright.types``);
USER is the frame of the user's file. Every way between two of them is one positive
scale and one shift, and never a mirror, so faces keep their orientation. Only a part that
stands askew in the user's file is rotated as well (``geometry.pose``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cadwright.errors import GeometryError
from cadwright.types import FloatArray, Mesh

MODEL_SIDE, MODEL_CENTRE = 2.0, 0.0
UNIT_SIDE, UNIT_CENTRE = 1.0, 0.5
PROGRAM_SIDE, PROGRAM_CENTRE = 200.0, 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A way from one frame to another: a point p becomes ``p @ rotation.T * scale + offset``.

    Attributes:
        scale: target lengths per source length, finite and positive.
        offset: (3,) float64, where the source origin lies in the target frame.
        rotation: (3, 3) float64, or None, which is nearly always so, for no rotation.
    """

    scale: float
    offset: FloatArray
    rotation: FloatArray | None = None

    def __post_init__(self) -> None:
        offset = np.array(self.offset, dtype=np.float64)
        if offset.shape != (3,) or not np.isfinite(offset).all():
            raise GeometryError(f"a placement needs three finite offsets, not {self.offset!r}.")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise GeometryError(f"a placement needs a positive finite scale, not {self.scale!r}.")
        offset.flags.writeable = False
        object.__setattr__(self, "scale", float(self.scale))
        object.__setattr__(self, "offset", offset)
        if self.rotation is not None:
            object.__setattr__(self, "rotation", _checked_rotation(self.rotation))

    def apply(self, points: ArrayLike) -> FloatArray:
        """Move (..., 3) points of the source frame to float64 points of the target frame."""
        moved = np.asarray(points, dtype=np.float64)
        if self.rotation is not None:
            moved = moved @ self.rotation.T
        return moved * self.scale + self.offset

    def inverse(self) -> Placement:
        """The way back, from the target frame to the source frame."""
        if self.rotation is None:
            return Placement(1.0 / self.scale, -self.offset / self.scale)
        back = self.rotation.T
        return Placement(1.0 / self.scale, -(self.offset @ back.T) / self.scale, back)

    def compose(self, inner: Placement) -> Placement:
        """The way ``inner`` first, then this one: ``self.apply(inner.apply(p))`` in one step."""
        turns = [one.rotation for one in (self, inner) if one.rotation is not None]
        rotation = None if not turns else turns[0] if len(turns) == 1 else turns[0] @ turns[1]
        return Placement(self.scale * inner.scale, self.apply(inner.offset), rotation)


def _checked_rotation(rotation: ArrayLike) -> FloatArray:
    matrix = np.array(rotation, dtype=np.float64)
    if matrix.shape != (3, 3) or not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-9):
        raise GeometryError("a placement's rotation needs three axes at right angles.")
    if np.linalg.det(matrix) < 0:
        raise GeometryError("a placement's rotation must not be a mirror.")
    matrix.flags.writeable = False
    return matrix


PROGRAM_TO_MODEL = Placement(MODEL_SIDE / PROGRAM_SIDE, np.full(3, MODEL_CENTRE))
PROGRAM_TO_UNIT = Placement(UNIT_SIDE / PROGRAM_SIDE, np.full(3, UNIT_CENTRE))


def longest_side(bounds: ArrayLike) -> float:
    """Length of the longest side of (2, 3) bounds, in the bounds' own unit.

    Raises:
        GeometryError: a corner is not finite, or the box has no extent at all.
    """
    corners = np.asarray(bounds, dtype=np.float64)
    if corners.shape != (2, 3):
        raise GeometryError(f"bounds are two corners of three numbers, not shape {corners.shape}.")
    if not np.isfinite(corners).all():
        raise GeometryError("the shape has coordinates that are not finite numbers.")
    # Halved first, because the difference of two huge finite corners may overflow.
    half = float((corners[1] / 2 - corners[0] / 2).max())
    if half <= 0:
        raise GeometryError("the shape has no extent: all its points coincide.")
    return 2 * half


def placement_to_model(bounds: ArrayLike) -> Placement:
    """USER to MODEL frame: centred on 0, longest side 2. ``bounds`` (2, 3), USER frame.

    Raises:
        GeometryError: the bounds are not finite or have no extent.
    """
    return _placement(bounds, MODEL_SIDE, MODEL_CENTRE)


def placement_to_unit(bounds: ArrayLike) -> Placement:
    """USER to UNIT frame: centred on 0.5, longest side 1. ``bounds`` (2, 3), USER frame.

    Raises:
        GeometryError: the bounds are not finite or have no extent.
    """
    return _placement(bounds, UNIT_SIDE, UNIT_CENTRE)


def placement_to_program(bounds: ArrayLike) -> Placement:
    """USER to PROGRAM frame: centred on 0, longest side 200. ``bounds`` (2, 3), USER frame.

    Raises:
        GeometryError: the bounds are not finite or have no extent.
    """
    return _placement(bounds, PROGRAM_SIDE, PROGRAM_CENTRE)


def normalise(mesh: Mesh, placement: Placement) -> Mesh:
    """The same mesh in the placement's target frame; the faces array is shared, not copied."""
    return Mesh(placement.apply(mesh.vertices), mesh.faces)


def _placement(bounds: ArrayLike, side: float, centre: float) -> Placement:
    length = longest_side(bounds)
    scale = side / length
    if not (math.isfinite(length) and math.isfinite(scale) and scale > 0):
        raise GeometryError(f"a shape of size {length:g} is beyond the range of lengths.")
    corners = np.asarray(bounds, dtype=np.float64)
    middle = corners[0] / 2 + corners[1] / 2
    return Placement(scale, centre - middle * scale)
