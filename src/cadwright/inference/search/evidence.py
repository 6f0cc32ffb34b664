"""What is known of a target, in the forms that search works with: a solid, or an estimate.

In: a solid, or points of its surface. Out: cells to compare with, bodies that its slices
suggest, and the objective of the last steps. Search asks the same of both kinds. Not covered: how
estimates are made (``estimate``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import manifold3d as m3
import numpy as np

from cadwright.geometry.manifolds import mesh_to_manifold, unite_parts
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.mesh_to_points import sample_surface, sample_surface_faces
from cadwright.inference.search.cells import Cells, estimate_to_cells, solid_to_cells
from cadwright.inference.search.cover import PRICE_OF_A_NUMBER
from cadwright.inference.search.estimate import MOST_POINTS, Estimate, points_to_estimate
from cadwright.inference.search.estimate_slices import propose_from_estimate, propose_from_faces
from cadwright.inference.search.objective import (
    CellObjective,
    ExactObjective,
    MeanObjective,
    Objective,
    PointsObjective,
)
from cadwright.inference.search.rims import propose_rimmed, slants_along
from cadwright.inference.search.slices import Proposal, axis_to_z, exact_levels, propose_bodies
from cadwright.inference.search.turned import profile_to_proposals, turn_field, turn_solid
from cadwright.inference.search.turning import turning_axes
from cadwright.program.grammar import AXES, PLANE_AXES, Program
from cadwright.types import FloatArray

COARSE, MIDDLE, FINE = 64, 104, 208  # cells a side, for solids
COARSE_ESTIMATE, FINE_ESTIMATE = 52, 104
UNIFORM_LEVELS = 8  # slices across targets whose planar faces say too little
MANY_FACES = 20_000  # larger targets are simplified before they are sliced
SIMPLIFY = 0.05  # PROGRAM units
MOST_TURNED = 4  # axes of revolution that are followed
LEAST_TURNED = 0.1  # share of a scan's area, below which noise passes for cones


@dataclass(frozen=True, slots=True)
class SearchTarget:
    """What is searched for, PROGRAM frame; ``solid`` is None for surfaces and clouds.

    Attributes:
        solid: the target as a solid.
        points: (N, 3) float64 points on it.
        normals: (N, 3) of an open surface's points; None for clouds and solids.
        surface_area: of that surface, PROGRAM units squared; None as above.
    """

    solid: m3.Manifold | None
    points: FloatArray
    normals: FloatArray | None = None
    surface_area: float | None = None

    @classmethod
    def from_shape(cls, shape: Shape, *, seed: int = 0) -> SearchTarget:
        """Prepare a shape that is already in the PROGRAM frame."""
        if shape.mesh is None:
            assert shape.points is not None
            return cls(None, np.asarray(shape.points, dtype=np.float64))
        rng = np.random.default_rng(seed)
        if shape.kind != "solid":
            points, face = sample_surface_faces(shape.mesh, MOST_POINTS, rng)
            corners = shape.mesh.triangles[face]
            normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            a, b, c = np.moveaxis(shape.mesh.triangles, 1, 0)
            area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
            return cls(None, points, normals, area)
        points = sample_surface(shape.mesh, 8192, rng)
        solid = unite_parts(mesh_to_manifold(shape.mesh))
        return cls(solid.simplify(SIMPLIFY) if solid.num_tri() > MANY_FACES else solid, points)


class Evidence(Protocol):
    """One target, ready for search, PROGRAM frame."""

    sharp: bool  # whether numbers are read off it more finely than cells can tell
    price: float  # share of the fit that one more number of a program must bring

    @property
    def coarse(self) -> Cells:
        """Cells for the many tries."""

    @property
    def middle(self) -> Cells:
        """Cells in which to look for what is missing or too much."""

    @property
    def fine(self) -> Cells:
        """Cells for the last ones."""

    def proposals(self, *, more: bool) -> Iterator[Proposal]:
        """Bodies that lie inside; ``more`` of them where the first did not do."""

    def superset(self) -> Iterator[Proposal]:
        """More bodies: what the published dialect cannot say, and what slices do not show."""

    @property
    def last(self) -> Objective:
        """What moves below the size of a cell are judged by."""

    def fit(self, program: Program, cells: float) -> float:
        """How well a program fits, where its cells fit so well: to compare one with another."""


class SolidEvidence:
    """A target with an inside."""

    sharp = True
    price = PRICE_OF_A_NUMBER

    def __init__(self, solid: m3.Manifold) -> None:
        self.solid = solid

    @cached_property
    def coarse(self) -> Cells:
        """64 cells a side."""
        return solid_to_cells(self.solid, n=COARSE)

    @cached_property
    def middle(self) -> Cells:
        """104 cells a side."""
        return solid_to_cells(self.solid, n=MIDDLE)

    @cached_property
    def fine(self) -> Cells:
        """208 cells a side."""
        return solid_to_cells(self.solid, n=FINE)

    def proposals(self, *, more: bool) -> Iterator[Proposal]:
        """Read off planar faces, or off equal steps along the axes."""
        return propose_bodies(self.solid, uniform_levels=UNIFORM_LEVELS if more else 0)

    def superset(self) -> Iterator[Proposal]:
        """Turned about axes that its faces lie about, and rims near its planar faces."""
        surface = self.solid.to_mesh64()
        corners = np.asarray(surface.vert_properties)[:, :3]
        triangles = corners[np.asarray(surface.tri_verts).astype(np.int64)]
        a, b, c = np.moveaxis(triangles, 1, 0)
        normals = np.cross(b - a, c - a)
        areas = np.linalg.norm(normals, axis=1)
        normals = normals / np.maximum(areas, 1e-12)[:, None]
        for axis in turning_axes(triangles.mean(axis=1), normals, areas)[:MOST_TURNED]:
            yield from turn_solid(self.solid, axis)
        for axes in PLANE_AXES:
            if slants_along(AXES[axes][2], normals, areas):
                levels = exact_levels(triangles[:, :, AXES[axes][2]], triangles)
                yield from propose_rimmed(self.solid.transform(axis_to_z(AXES[axes])), axes, levels)

    @cached_property
    def last(self) -> Objective:
        """Compares the solids themselves."""
        return ExactObjective(self.solid)

    def fit(self, program: Program, cells: float) -> float:
        """As its cells do."""
        return cells


class ScanEvidence:
    """A target of which only points of the surface are known, and perhaps not all sides."""

    sharp = False
    price = 1.5 * PRICE_OF_A_NUMBER  # noise is fitted too, by more numbers

    def __init__(self, target: SearchTarget, *, seed: int) -> None:
        self.seed = seed
        self.estimate: Estimate = points_to_estimate(
            target.points, normals=target.normals, surface_area=target.surface_area, seed=seed
        )

    @cached_property
    def coarse(self) -> Cells:
        """52 cells a side."""
        return estimate_to_cells(self.estimate, n=COARSE_ESTIMATE)

    @property
    def middle(self) -> Cells:
        """The fine ones."""
        return self.fine

    @cached_property
    def fine(self) -> Cells:
        """104 cells a side."""
        return estimate_to_cells(self.estimate, n=FINE_ESTIMATE)

    def proposals(self, *, more: bool) -> Iterator[Proposal]:
        """Read off the estimate; there are no more than the first."""
        return iter(()) if more else propose_from_estimate(self.estimate)

    def superset(self) -> Iterator[Proposal]:
        """Bodies as the flat faces show them, and turned ones."""
        one = self.estimate
        yield from propose_from_faces(one)
        slack = 2.0 * one.noise
        for axis in turning_axes(one.points, one.normals, one.areas, slack=slack, seed=self.seed):
            if axis.share < LEAST_TURNED:
                break
            profile = turn_field(one.field, one.grid, axis)
            yield from profile_to_proposals(profile, axis, tolerance=0.5 + 3.0 * one.noise)

    @cached_property
    def points(self) -> PointsObjective:
        """Compares surfaces with the points themselves."""
        return PointsObjective(self.estimate, seed=self.seed)

    @cached_property
    def last(self) -> Objective:
        """By the points, and by cells how far walls reach where a side is missing."""
        return MeanObjective(CellObjective(self.fine), self.points)

    def fit(self, program: Program, cells: float) -> float:
        """Half by the points: cells are an estimate, which misses thin walls."""
        return 0.5 * (cells + self.points.score(program))
