"""The one scorer: chamfer distance and volume IoU of meshes, and deviations for reports.

Reward, selection, search and evaluation all call these functions. Which protocol a
number was taken by must stand beside it: "published" forgives scale and offset of
the prediction, "direct" forgives nothing. Chamfer distances are not multiplied by 1000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.manifolds import mesh_to_manifold, unite_parts
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.surface_distance import points_to_surface
from cadwright.types import FloatArray, Mesh

if TYPE_CHECKING:
    from manifold3d import Manifold
    from scipy.spatial import cKDTree

NUM_POINTS = 8192


@dataclass(frozen=True, slots=True)
class Score:
    """How well a prediction fits its target.

    Attributes:
        chamfer: squared UNIT lengths, 0 is perfect; two draws of 8192 points of one
            surface are about 1.5e-4 apart.
        iou: shared volume over united volume, 0 to 1.
    """

    chamfer: float
    iou: float


@dataclass(frozen=True, slots=True)
class Deviation:
    """Distances of target points from a surface, in the unit of the points."""

    mean: float
    p95: float
    max: float


def chamfer_distance(points_a: NDArray[np.floating], points_b: NDArray[np.floating]) -> float:
    """Mean squared distance to the nearest point, from a to b plus from b to a.

    Args:
        points_a: (N, 3) and
        points_b: (M, 3), both in one frame; published figures use the UNIT frame.
    Returns:
        A squared length; not multiplied by 1000.
    Raises:
        GeometryError: a cloud is empty or has values that are not finite.
    """
    return _chamfer(points_a, _tree(points_a), points_b, _tree(points_b))


def volume_iou(mesh_a: Mesh, mesh_b: Mesh) -> float:
    """Shared volume over united volume of two closed meshes in one frame.

    Bodies may be disjoint, hollow, or overlap others of their own mesh.

    Raises:
        GeometryError: a mesh is not closed, or is inside out.
    """
    return _iou(_solid(mesh_a), _solid(mesh_b))


def published_protocol(
    target: Mesh, prediction: Mesh, *, seed: int, num_points: int = NUM_POINTS
) -> Score:
    """Score as cadrille's evaluation does: each mesh first fills the unit cube by itself.

    So a prediction of the wrong size, proportion kept, or in the wrong place loses nothing
    (arXiv 2505.22914, section 5.1). The two meshes may be in different frames.

    Raises:
        GeometryError: a mesh is not closed, is inside out, or has no extent.
    """
    return Target(target, seed=seed, num_points=num_points).published(prediction)


def direct_protocol(
    target: Mesh, prediction: Mesh, *, seed: int, num_points: int = NUM_POINTS
) -> Score:
    """Score without forgiveness: both meshes go the way that puts the target in the unit cube.

    The two meshes must be in one frame, whichever.

    Raises:
        GeometryError: a mesh is not closed, is inside out, or has no extent.
    """
    return Target(target, seed=seed, num_points=num_points).direct(prediction)


class Target:
    """A target made ready once, to score many predictions against: the same numbers, faster.

    Attributes:
        placement: the way from the target's frame to the UNIT frame.
    """

    def __init__(self, mesh: Mesh, *, seed: int, num_points: int = NUM_POINTS) -> None:
        """Place the target in the UNIT frame, sample it and make it a solid.

        Raises:
            GeometryError: the mesh is not closed, is inside out, or has no extent.
        """
        self.placement = placement_to_unit(mesh.bounds)
        self._seed, self._num_points = seed, num_points
        inner = normalise(mesh, self.placement)
        self._solid = _solid(inner)
        # Streams of their own: with one for both, a perfect prediction would be drawn at
        # the very same points, and score better than the published metric can.
        self._points = sample_surface(inner, num_points, np.random.default_rng([seed, 0]))
        self._tree = _tree(self._points)

    def published(self, prediction: Mesh) -> Score:
        """``published_protocol`` of this target and ``prediction``."""
        return self._score(normalise(prediction, placement_to_unit(prediction.bounds)))

    def direct(self, prediction: Mesh) -> Score:
        """``direct_protocol`` of this target and ``prediction``."""
        return self._score(normalise(prediction, self.placement))

    def direct_iou(self, prediction: Mesh) -> float:
        """The ``iou`` of ``direct`` alone, for searches that need no chamfer distance."""
        return _iou(self._solid, _solid(normalise(prediction, self.placement)))

    def _score(self, inner: Mesh) -> Score:
        iou = _iou(self._solid, _solid(inner))
        points = sample_surface(inner, self._num_points, np.random.default_rng([self._seed, 1]))
        return Score(_chamfer(self._points, self._tree, points, _tree(points)), iou)


def deviation(target_points: NDArray[np.floating], mesh: Mesh) -> Deviation:
    """How far target points lie from the surface of a result, for reports.

    Not a score: it does not see what the result has too much. Over target points that
    were sampled, the statistics are sampled too; each distance itself is exact.

    Args:
        target_points: (N, 3), any frame.
        mesh: the result, the same frame; need not be closed.
    Raises:
        GeometryError: there are no points, or the mesh has no faces.
    """
    if not len(target_points):
        raise GeometryError("a deviation needs at least one point.")
    distances = points_to_surface(target_points, mesh)
    p95 = float(np.percentile(distances, 95))
    return Deviation(float(distances.mean()), p95, float(distances.max()))


def _solid(mesh: Mesh) -> Manifold:
    return unite_parts(mesh_to_manifold(mesh))


def _iou(a: Manifold, b: Manifold) -> float:
    shared = max(0.0, (a ^ b).volume())
    united = a.volume() + b.volume() - shared
    return min(1.0, shared / united)


def _tree(points: NDArray[np.floating]) -> cKDTree:
    from scipy.spatial import cKDTree

    if not len(points) or not np.isfinite(points).all():
        raise GeometryError("a chamfer distance needs points, and finite ones.")
    # Without these two passes the tree is built faster and searched as fast.
    return cKDTree(points, compact_nodes=False, balanced_tree=False)


def _chamfer(
    points_a: NDArray[np.floating],
    tree_a: cKDTree,
    points_b: NDArray[np.floating],
    tree_b: cKDTree,
) -> float:
    a_to_b: FloatArray = tree_b.query(points_a)[0]
    b_to_a: FloatArray = tree_a.query(points_b)[0]
    return float(np.mean(a_to_b**2) + np.mean(b_to_a**2))
