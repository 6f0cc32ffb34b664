"""F-score of two surfaces: how much of each lies near the other.

In: two meshes of one frame. Out: precision, recall and their harmonic mean at a threshold.
Distances are to 65 536 samples of the other surface, which are about 1/150 of a part apart, so
that thresholds below 1/100 of a part would need more. Not covered: volumes (metrics.volume_iou).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cadwright.errors import InputError
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.types import FloatArray, Mesh

NUM_ASKED, NUM_NEAR = 8192, 65536


@dataclass(frozen=True, slots=True)
class FScore:
    """Shares of surface within the threshold.

    Attributes:
        precision: of the prediction, near the target.
        recall: of the target, near the prediction.
    """

    precision: float
    recall: float

    @property
    def value(self) -> float:
        """Harmonic mean; 0 where both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def f_score(target: Mesh, prediction: Mesh, *, threshold: float, seed: int) -> FScore:
    """Compare two surfaces, open or closed.

    Args:
        target: any frame.
        prediction: the same frame.
        threshold: a distance in that frame.
        seed: of the samples.
    Raises:
        InputError: the threshold is not a positive number.
        GeometryError: a mesh has no area.
    """
    if not 0 < threshold < float("inf"):
        raise InputError(f"the threshold of an F-score must be positive, not {threshold:g}")
    rng = np.random.default_rng(seed)
    clouds = [sample_surface(mesh, NUM_NEAR, rng) for mesh in (target, prediction)]
    return FScore(
        _share_near(_some(clouds[1], rng), clouds[0], threshold),
        _share_near(_some(clouds[0], rng), clouds[1], threshold),
    )


def _some(points: FloatArray, rng: np.random.Generator) -> FloatArray:
    """An even draw: the rows of a sampled surface stand in the order of its faces."""
    return points[rng.choice(len(points), NUM_ASKED, replace=False)]


def _share_near(points: FloatArray, cloud: FloatArray, threshold: float) -> float:
    from scipy.spatial import cKDTree

    tree = cKDTree(cloud, compact_nodes=False, balanced_tree=False)
    away = tree.query(points, distance_upper_bound=threshold)[0]
    return float(np.isfinite(away).mean())
