"""What a target says about the cells of a grid: which are inside, and how much each counts.

In: a solid, or an estimate of one. Out: weighted counts of cells and the weighted IoU, which
search maximises. A real solid is sure of all its cells; of a scan, cells that no point speaks
for count little.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import manifold3d as m3
import numpy as np

from cadwright.geometry.voxels import Bits, Grid, count, manifold_to_voxels
from cadwright.inference.search.estimate import Estimate
from cadwright.types import FloatArray

# how far a cell's winding number must be from one half, and what it then counts
CLASSES = ((0.35, 1.0), (0.2, 0.5), (0.0, 0.1))


@dataclass(frozen=True, eq=False)
class Cells:
    """A target as cells.

    Attributes:
        grid: the cells.
        inside: those of the target.
        classes: what cells count and which ones do, disjoint; empty where every cell counts 1.
    """

    grid: Grid
    inside: Bits
    classes: tuple[tuple[float, Bits], ...] = ()
    total: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.weigh(self.inside))

    def weigh(self, bits: Bits) -> float:
        """What some cells count together."""
        if not self.classes:
            return float(count(bits))
        return sum(weight * count(bits & mask) for weight, mask in self.classes)

    def iou(self, bits: Bits) -> float:
        """Weighted intersection over union with the target; 0 if both are empty."""
        both = self.weigh(bits & self.inside)
        either = self.weigh(bits) + self.total - both
        return both / either if either > 0 else 0.0


def solid_to_cells(solid: m3.Manifold, *, n: int) -> Cells:
    """All cells alike. ``solid``: PROGRAM frame."""
    grid = Grid(n)
    return Cells(grid, manifold_to_voxels(solid, grid))


def estimate_to_cells(estimate: Estimate, *, n: int) -> Cells:
    """Cells that count the more the surer the estimate is of them; of its grid or half as many."""
    grid, values = Grid(n), estimate.field
    if n * 2 == estimate.grid.n:
        values = values.reshape(n, 2, n, 2, n, 2).mean(axis=(1, 3, 5))
    elif n != estimate.grid.n:
        raise ValueError(f"an estimate of {estimate.grid.n} cells a side has no {n}")
    sure = np.abs(values - 0.5)
    classes, left = [], np.ones(values.shape, dtype=bool)
    for least, weight in CLASSES:
        chosen = left & (sure >= least)
        left &= ~chosen
        classes.append((weight, grid.pack(chosen)))
    return Cells(grid, grid.pack(values > 0.5), tuple(classes))


def bounds_of(points: FloatArray) -> FloatArray:
    """(2, 3) the box that holds all points but the outermost few of each side."""
    return np.percentile(points, (0.5, 99.5), axis=0)
