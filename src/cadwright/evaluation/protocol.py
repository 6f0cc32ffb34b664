"""How one prediction is scored against one target: the published protocol and ours beside it.

In: a target and predictions as meshes. Out: a ``Score`` each, with the numbers that
``geometry.metrics`` gives (a test says so), sooner: the target is sampled, sorted and made a solid
once, and two placements that are the same are scored once. Not covered: means (``summary``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cadwright.errors import GeometryError
from cadwright.evaluation.layers import LayeredSolid, shared_volume
from cadwright.evaluation.nearest import SortedCloud, chamfer, share_within, sort_cloud
from cadwright.geometry.frames import PROGRAM_TO_UNIT, Placement, normalise, placement_to_unit
from cadwright.geometry.manifolds import mesh_to_manifold, unite_parts
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.metrics import NUM_POINTS
from cadwright.types import FloatArray, Mesh

if TYPE_CHECKING:
    from manifold3d import Manifold

Protocol = Literal["published", "direct"]
PredictionFrame = Literal["program", "target"]
PROTOCOLS: tuple[Protocol, ...] = ("published", "direct")

SURFACE_POINTS = 10_000  # CADBench's number
SURFACE_NEAR = 0.01  # UNIT frame; CADBench's 0.02 where the longest side is 2
LEAST_FACES = 3  # the published evaluation drops meshes of two triangles or fewer
SAME = 1e-9  # UNIT lengths: placements nearer than this are one
_STREAMS = {"target": 0, "prediction": 1, "target_surface": 2, "prediction_surface": 3}

DEFINITIONS = {
    "published": (
        "cadrille's evaluate.py (arXiv 2505.22914, section 5.1): target and prediction each "
        "fill the unit cube by their own bounding box, so scale and offset are forgiven. Chamfer: "
        f"mean squared distance to the nearest of {NUM_POINTS} points, both ways added, UNIT "
        "frame, times 1000. IoU: shared over united volume. Of K candidates a part counts the "
        "least chamfer distance and, independently, the largest IoU; invalid parts are left out "
        "of the means and counted in IR. Unlike there, programs are interpreted, not executed, "
        "and a solid that is broken or not closed is refused."
    ),
    "direct": (
        "nothing is forgiven: the prediction stays where it is, PROGRAM frame or the target's "
        "own, and both go the way that puts the target in the unit cube. Chamfer and IoU as "
        "above. Of K candidates a part counts one, that with the largest IoU; an invalid part "
        "counts as IoU 0."
    ),
    "surface_iou": (
        f"CADBench (arXiv 2605.10873): share of {SURFACE_POINTS} + {SURFACE_POINTS} surface "
        f"points with one of the other surface nearer than {SURFACE_NEAR} of the unit cube. Two "
        "draws of one surface stay below 1 where it is large, since the points are sparse."
    ),
}


@dataclass(frozen=True, slots=True)
class Score:
    """One prediction by one protocol.

    Attributes:
        chamfer: squared UNIT lengths, not times 1000.
        iou: 0 to 1; None where target or prediction encloses no volume.
        surface_iou: 0 to 1; None where it was not asked for.
    """

    chamfer: float
    iou: float | None
    surface_iou: float | None


@dataclass(frozen=True, slots=True, eq=False)
class _Clouds:
    """Points for the chamfer distance, and those for surface IoU if asked for."""

    chamfer: SortedCloud
    surface: SortedCloud | None


class ScoredTarget:
    """A target made ready to score any number of predictions.

    Attributes:
        placement: the way from the target's own frame to the UNIT frame.
        no_iou: why the target has no volume; empty where it has.
    """

    def __init__(self, shape: Shape, *, seed: int, surface_iou: bool = True) -> None:
        """Place the target in the UNIT frame, draw its points and make it a solid.

        Raises:
            GeometryError: it has no extent.
            MissingDependencyError: numba is not installed.
        """
        self.placement = placement_to_unit(shape.bounds)
        self._seed, self._with_surface = seed, surface_iou
        self._layered: LayeredSolid | None = None
        self.no_iou = ""
        if shape.mesh is None:
            self.no_iou = "a point cloud encloses no volume"
            points = self.placement.apply(np.asarray(shape.points))
            self._clouds = _Clouds(sort_cloud(points), sort_cloud(points) if surface_iou else None)
            return
        inner = normalise(shape.mesh, self.placement)
        self._clouds = self._draw(inner, "target")
        if shape.kind != "solid":
            self.no_iou = "the mesh is not closed or encloses no volume"
            return
        try:
            self._layered = _to_layered(inner)
        except GeometryError as error:
            self.no_iou = str(error)

    @property
    def solid(self) -> Manifold | None:
        """The target as a solid, UNIT frame; None where it has no volume."""
        return None if self._layered is None else self._layered.solid

    def score(
        self, prediction: Mesh, *, protocols: tuple[Protocol, ...], frame: PredictionFrame
    ) -> dict[Protocol, Score]:
        """Score a prediction.

        Args:
            prediction: welded, not closed if need be.
            protocols: which to score by.
            frame: what the prediction's coordinates are in; matters to "direct" alone.
        Raises:
            GeometryError: it has fewer than three faces, no area, no extent.
        """
        if len(prediction.faces) < LEAST_FACES:
            raise GeometryError(f"a mesh of {len(prediction.faces)} triangles is no solid")
        ways: dict[Protocol, Placement] = {
            "published": placement_to_unit(prediction.bounds),
            "direct": PROGRAM_TO_UNIT if frame == "program" else self.placement,
        }
        solid = self._prediction_solid(prediction)
        scores: dict[Protocol, Score] = {}
        for protocol in protocols:
            done = next((p for p in scores if _same(ways[p], ways[protocol], prediction)), None)
            if done is None:
                scores[protocol] = self._score(prediction, solid, ways[protocol])
            else:
                scores[protocol] = scores[done]
        return scores

    def _score(self, prediction: Mesh, solid: LayeredSolid | None, way: Placement) -> Score:
        iou = None
        if solid is not None and self._layered is not None:
            shared = _shared(self._layered, solid, way)
            volume = solid.solid.volume() * way.scale**3
            iou = min(1.0, shared / (self._layered.solid.volume() + volume - shared))
        mine, theirs = self._clouds, self._draw(normalise(prediction, way), "prediction")
        surface = None
        if mine.surface is not None and theirs.surface is not None:
            surface = share_within(mine.surface, theirs.surface, SURFACE_NEAR)
        return Score(chamfer(mine.chamfer, theirs.chamfer), iou, surface)

    def _prediction_solid(self, prediction: Mesh) -> LayeredSolid | None:
        """The prediction's solid, its own frame; None where one of the two has no volume."""
        if self._layered is None:
            return None
        try:
            return _to_layered(prediction)
        except GeometryError:  # an open mesh: the chamfer distance alone has a meaning
            return None

    def _draw(self, inner: Mesh, whose: Literal["target", "prediction"]) -> _Clouds:
        """Points of a mesh in the UNIT frame; target and prediction have streams of their own.

        With one for both, a perfect prediction would be drawn at the very same points.
        """
        rng = np.random.default_rng([self._seed, _STREAMS[whose]])
        points = sort_cloud(sample_surface(inner, NUM_POINTS, rng))
        if not self._with_surface:
            return _Clouds(points, None)
        rng = np.random.default_rng([self._seed, _STREAMS[f"{whose}_surface"]])
        return _Clouds(points, sort_cloud(sample_surface(inner, SURFACE_POINTS, rng)))


def _to_layered(mesh: Mesh) -> LayeredSolid:
    return LayeredSolid(unite_parts(mesh_to_manifold(mesh)), mesh)


def _shared(target: LayeredSolid, prediction: LayeredSolid, way: Placement) -> float:
    """Shared volume, target's frame."""
    volume = shared_volume(target, prediction, way)
    if volume is None:
        volume = (target.solid ^ prediction.solid.transform(_matrix(way))).volume()
    return max(0.0, volume)


def _matrix(way: Placement) -> FloatArray:
    """(3, 4) of a placement, as manifold3d takes it."""
    matrix = np.zeros((3, 4))
    matrix[:, :3] = np.eye(3) * way.scale
    matrix[:, 3] = way.offset
    return matrix


def _same(a: Placement, b: Placement, mesh: Mesh) -> bool:
    """Whether two placements put a mesh in the same place, but for rounding."""
    return bool(np.abs(a.apply(mesh.bounds) - b.apply(mesh.bounds)).max() < SAME)
