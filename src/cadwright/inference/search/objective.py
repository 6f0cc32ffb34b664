"""How well a program fits its target, cheaply: what search asks thousands of times.

Three answers to one question. ``CellObjective`` compares cells (weighted IoU on a grid), in a
fraction of a millisecond. ``ExactObjective`` compares solids. ``PointsObjective`` compares
surfaces with the points of a scan, parts of which may be missing. Scores lie in [0, 1], larger is
better; a program without meaning scores 0. The choice between finished candidates is made by
``geometry.metrics``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import manifold3d as m3
import numpy as np
from scipy.spatial import cKDTree

from cadwright.geometry.mesh_to_points import sample_surface_faces
from cadwright.inference.search.cells import Cells
from cadwright.inference.search.estimate import Estimate
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import (
    InvalidShape,
    body_to_manifold,
    program_to_manifold,
    program_to_mesh,
)
from cadwright.program.program_to_voxels import program_to_voxels
from cadwright.types import FloatArray

NUM_TARGET_POINTS = 1500  # of a scan; their mean distance is resolved to about 0.05 PROGRAM unit
NUM_RESULT_POINTS = 2500
FARTHEST = 10.0  # PROGRAM units; a point farther away than this is as bad as one this far
EXACT_MISS = 3e-4  # see ``program_to_manifold``
OPEN = 0.06  # share of a scan's area that must be missing on one side to say that a side is missing


class Objective(Protocol):
    """A target to fit, PROGRAM frame.

    Attributes:
        tries: programs scored so far.
        cost_s: about what one try costs on one core: the clock of searches that must not
            depend on the machine.
    """

    cost_s: float

    @property
    def tries(self) -> int:
        """See above."""

    def score(self, program: Program) -> float:
        """Fit in [0, 1]; 0 for a program without meaning."""

    def is_sound(self, program: Program) -> bool:
        """Whether a program with a good score also builds; asked before one is kept."""


built_body = lru_cache(maxsize=256)(body_to_manifold)
"""``body_to_manifold``, remembered: most tries change one body of several."""


class CellObjective:
    """Weighted IoU with the cells of a target."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.tries = 0
        self.cost_s = 0.0003 * (cells.grid.n / 64) ** 2

    def score(self, program: Program) -> float:
        """IoU of the program's cells with the target's."""
        self.tries += 1
        try:
            bits = program_to_voxels(program, self.cells.grid)
        except InvalidShape:
            return 0.0
        return self.cells.iou(bits)

    def is_sound(self, program: Program) -> bool:
        """Cells forgive loops that cross themselves and rims that do not fit; kernels do not."""
        try:
            solids = [built_body(body, program.planes[body.plane]) for body in program.bodies]
        except InvalidShape:
            return False
        return all(solid.status() == m3.Error.NoError for solid in solids)


class ExactObjective:
    """Volume IoU of the solids themselves: ten times slower, blind to nothing.

    Round walls are built finer than elsewhere, so that their sides are not fitted to the target's.
    """

    cost_s = 0.004

    def __init__(self, target: m3.Manifold) -> None:
        self.target, self.volume = target, target.volume()
        self.tries = 0

    def score(self, program: Program) -> float:
        """IoU by boolean intersection."""
        self.tries += 1
        try:
            solid = program_to_manifold(program, miss=EXACT_MISS, build=built_body)
        except InvalidShape:
            return 0.0
        both = (solid ^ self.target).volume()
        either = solid.volume() + self.volume - both
        return max(0.0, both / either) if either > 0 else 0.0

    def is_sound(self, program: Program) -> bool:
        """Always: the score was measured on the built solid."""
        return True


class PointsObjective:
    """Distances between the points of a scan and a program's surface, cut off at 10 units.

    Every point of the scan must lie on the surface. The surface must lie near points of the scan,
    except where it faces the side from which the scan saw nothing. The score is 1 less half the
    two mean distances, in tenths of 10 units.
    """

    cost_s = 0.006

    def __init__(self, estimate: Estimate, *, seed: int) -> None:
        rng = np.random.default_rng([seed, 11])
        keep = rng.permutation(len(estimate.points))[:NUM_TARGET_POINTS]
        self.points, self.normals = estimate.points[keep], estimate.normals[keep]
        self.tree = cKDTree(estimate.points)
        self.slack = 1.5 * float(np.sqrt(np.median(estimate.areas))) + 2.0 * estimate.noise
        self.missing = missing_side(estimate)
        self.seed = seed
        self.tries = 0

    def score(self, program: Program) -> float:
        """Closeness of the surface and the scan."""
        self.tries += 1
        mesh = program_to_mesh(program).mesh
        if mesh is None:
            return 0.0
        rng = np.random.default_rng([self.seed, 12])
        surface, face = sample_surface_faces(mesh, NUM_RESULT_POINTS, rng)
        corners = mesh.triangles[face]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        there = self._to_surface(surface, normals)
        back = np.maximum(self.tree.query(surface, distance_upper_bound=50.0)[0] - self.slack, 0.0)
        back = np.minimum(back, FARTHEST)
        if self.missing is not None:
            back = back * (normals @ self.missing < 0.3)
        return float(1.0 - 0.5 * (there.mean() + back.mean()) / FARTHEST)

    def _to_surface(self, surface: FloatArray, normals: FloatArray) -> FloatArray:
        """Distance of every point to the plane of a sample near it that faces the same way."""
        away, near = cKDTree(surface, compact_nodes=False, balanced_tree=False).query(
            self.points, k=4
        )
        gap = self.points[:, None] - surface[near]
        height = np.abs(np.einsum("nki,nki->nk", gap, normals[near]))
        sideways = np.sqrt(np.maximum(away**2 - height**2, 0.0))
        reach = np.sqrt(np.maximum(sideways - 6.0, 0.0) ** 2 + height**2)
        turned = np.einsum("ni,nki->nk", self.normals, normals[near]) < 0.3
        return np.minimum((reach + 4.0 * turned).min(axis=1), FARTHEST)

    def is_sound(self, program: Program) -> bool:
        """Always: a score above 0 was measured on the built solid."""
        return True


class MeanObjective:
    """The mean of two: points say nothing of how far walls reach towards a missing side."""

    def __init__(self, one: Objective, other: Objective) -> None:
        self.one, self.other = one, other
        self.cost_s = one.cost_s + other.cost_s

    @property
    def tries(self) -> int:
        """As the second, the slower one, counts them."""
        return self.other.tries

    def score(self, program: Program) -> float:
        """Mean of both scores."""
        return 0.5 * (self.one.score(program) + self.other.score(program))

    def is_sound(self, program: Program) -> bool:
        """Whether both say so."""
        return self.one.is_sound(program) and self.other.is_sound(program)


def missing_side(estimate: Estimate) -> FloatArray | None:
    """(3,) unit direction of the side from which a scan saw nothing; None where it is closed.

    The outward areas of a closed surface cancel out, so what is left points away from the gap.
    """
    vectors = estimate.normals * estimate.areas[:, None]
    rest = -vectors.sum(axis=0)
    size = float(np.linalg.norm(rest))
    if size < OPEN * float(estimate.areas.sum()):
        return None
    return np.asarray(rest / size)
