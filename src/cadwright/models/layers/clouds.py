"""Point clouds as people hand them in -> float32 arrays that the models read, checked.

In: arrays, tensors or lists of them, MODEL frame. Out: (P, 3) float32. Not covered: drawing
points of a mesh (see ``geometry.mesh_to_points``) and augmenting them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cadwright.errors import InputError

MODEL_LIMIT = 1.5
"""Points beyond this are not in the MODEL frame, even with noise added."""


def as_clouds(points: Any) -> list[Any]:
    """One array per cloud.

    Args:
        points: one cloud (P, 3), a stack (B, P, 3), or a sequence of clouds.
    """
    if hasattr(points, "detach"):
        points = points.detach().cpu().numpy()
    if isinstance(points, np.ndarray) and points.ndim == 2:
        return [points]
    return list(points)


def check_points(points: ArrayLike, num_points: int) -> NDArray[np.float32]:
    """One cloud, after checking count, finiteness and frame.

    Args:
        points: (P, 3), MODEL frame.
        num_points: P.

    Returns:
        (P, 3) float32, MODEL frame.

    Raises:
        InputError: the shape is another one, or the points are not in the MODEL frame.
    """
    if hasattr(points, "detach"):
        points = points.detach().cpu().numpy()
    cloud = np.asarray(points, dtype=np.float32)
    if cloud.shape != (num_points, 3):
        raise InputError(f"a point cloud must be ({num_points}, 3), not {cloud.shape}")
    extent = float(np.abs(cloud).max())
    if not extent <= MODEL_LIMIT:  # also catches NaN
        raise InputError(
            f"points must be finite and in the MODEL frame [-1, 1], but reach {extent:.4g}"
        )
    return cloud
