"""The nouns that cross folders: Mesh, Outcome, BuildResult, Frame names.

A length without a frame is a defect, so every docstring that takes or returns
coordinates names one of the four frames:

* PROGRAM  the box [-100, 100]^3: centred, longest side 200, mostly integers.
* MODEL    [-1, 1]^3: centred, longest side 2. What point encoders see.
* UNIT     [0, 1]^3: centred on 0.5, longest side 1. Metrics and pictures.
* USER     whatever scale, origin and unit the user's file has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]


class Outcome(str, Enum):
    """Why a program gave, or did not give, a solid. Never a silent None."""

    OK = "ok"
    SYNTAX = "syntax"  # the text is not a program of the dialect's grammar
    UNSUPPORTED = "unsupported"  # valid Python, but a call outside the dialect
    EMPTY = "empty"  # built, but nothing is left (no volume)
    INVALID = "invalid"  # the kernel refused it or gave a broken solid
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"  # the worker process died


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: (V, 3) float64; the frame is named by whoever hands it on.
        faces: (F, 3) int32 indices into ``vertices``, counter-clockwise from outside.
    """

    vertices: FloatArray
    faces: IntArray

    @property
    def bounds(self) -> FloatArray:
        """(2, 3) float64: lower and upper corner, same frame as the vertices."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    @property
    def triangles(self) -> FloatArray:
        """(F, 3, 3) float64: the corner coordinates of every face."""
        return self.vertices[self.faces]

    @property
    def signed_volume(self) -> float:
        """Volume by the divergence theorem; meaningful for closed meshes only."""
        a, b, c = np.moveaxis(self.triangles, 1, 0)
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)


@dataclass(frozen=True, slots=True, eq=False)
class BuildResult:
    """What a kernel answers.

    Attributes:
        outcome: OK exactly when ``mesh`` is not None.
        mesh: the solid's surface in the PROGRAM frame (or the program's own unit).
        message: one sentence for a person; empty when OK.
        volume: enclosed volume in the program's unit cubed, exact where the kernel is.
        seconds: time spent building.
    """

    outcome: Outcome
    mesh: Mesh | None = None
    message: str = ""
    volume: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Input and target of one training step.

    Attributes:
        index: which draw of the generator's stream this is.
        text: the program, canonical CadQuery source.
        points: (P, 3) float32, MODEL frame, in farthest-point order.
    """

    index: int
    text: str
    points: NDArray[np.float32]
