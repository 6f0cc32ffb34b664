"""How well a program fits its target, cheaply: what search asks thousands of times.

Two kinds of target, one question. A solid is compared cell by cell (volume
IoU on a grid); an open surface or a raw point cloud by distance between
points. Scores lie in [0, 1], larger is better; a program without meaning
scores 0. The choice between finished candidates is made by ``geometry.metrics``.
"""

from __future__ import annotations

from typing import Protocol

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.voxels import Bits, Grid, count, manifold_to_voxels
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import (
    InvalidShape,
    program_to_manifold,
    program_to_mesh,
)
from cadwright.program.program_to_voxels import program_to_voxels
from cadwright.types import Outcome

# points of a surface target; their mean distance is resolved to about 0.1 PROGRAM unit
NUM_SURFACE_POINTS = 1024


class Objective(Protocol):
    """A target to fit, PROGRAM frame."""

    tries: int

    def score(self, program: Program) -> float:
        """Fit in [0, 1]; 0 for a program without meaning."""

    def is_sound(self, program: Program) -> bool:
        """Whether a program with a good score also builds; asked before one is kept."""


class SolidObjective:
    """Volume IoU against a solid on a grid of n^3 cells."""

    def __init__(self, target: m3.Manifold, *, n: int) -> None:
        self.grid = Grid(n)
        self.target: Bits = manifold_to_voxels(target, self.grid)
        self.num_target = count(self.target)
        self.tries = 0

    def score(self, program: Program) -> float:
        """IoU of the program's cells with the target's."""
        self.tries += 1
        try:
            bits = program_to_voxels(program, self.grid)
        except InvalidShape:
            return 0.0
        both = count(bits & self.target)
        either = count(bits) + self.num_target - both
        return both / either if either else 0.0

    def is_sound(self, program: Program) -> bool:
        """Cells forgive loops that cross themselves; the kernels do not."""
        return program_to_mesh(program).outcome is Outcome.OK


class ExactObjective:
    """Volume IoU of the solids themselves: ten times slower, blind to nothing."""

    def __init__(self, target: m3.Manifold) -> None:
        self.target, self.volume = target, target.volume()
        self.tries = 0

    def score(self, program: Program) -> float:
        """IoU by boolean intersection."""
        self.tries += 1
        try:
            solid = program_to_manifold(program)
        except InvalidShape:
            return 0.0
        both = (solid ^ self.target).volume()
        either = solid.volume() + self.volume - both
        return max(0.0, both / either) if either > 0 else 0.0

    def is_sound(self, program: Program) -> bool:
        """Always: the score was measured on the built solid."""
        return True


class SurfaceObjective:
    """Mean distance both ways between a program's surface and a target's points.

    The score is 1 / (1 + d / 5), d in PROGRAM units: 1 for a perfect fit, 0.5 at 5 units.
    """

    def __init__(self, points: NDArray[np.floating], *, seed: int) -> None:
        rng = np.random.default_rng(seed)
        keep = rng.permutation(len(points))[:NUM_SURFACE_POINTS]
        self.points = np.asarray(points, dtype=np.float64)[keep]
        self.tree = cKDTree(self.points)
        self.seed = seed
        self.tries = 0

    def score(self, program: Program) -> float:
        """Closeness of the two surfaces."""
        self.tries += 1
        built = program_to_mesh(program)
        if built.mesh is None:
            return 0.0
        surface = sample_surface(built.mesh, NUM_SURFACE_POINTS, np.random.default_rng(self.seed))
        there = self.tree.query(surface)[0].mean()
        back = cKDTree(surface).query(self.points)[0].mean()
        return float(1.0 / (1.0 + 0.5 * (there + back) / 5.0))

    def is_sound(self, program: Program) -> bool:
        """Always: a score above 0 was measured on the built solid."""
        return True
