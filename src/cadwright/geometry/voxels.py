"""Solids as bits on a regular grid: what search compares thousands of times a second.

A grid of n^3 cells fills the PROGRAM frame with a margin; a cell is set where its centre is
inside. Bits run along z, 64 to a word, so union, intersection and volume are a
handful of operations on a (n, n, words) uint64 array. In: areas as polygons,
meshes. Not covered: programs (``program.program_to_voxels``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.types import FloatArray

Bits = NDArray[np.uint64]
Mask = NDArray[np.bool_]
HALF_SIDE = 104.0  # PROGRAM frame and a margin, so that what sticks out of the frame costs


@dataclass(frozen=True)
class Grid:
    """n cells a side over [-104, 104]^3, PROGRAM frame; n=208 puts cell walls on the integers."""

    n: int

    @property
    def cell(self) -> float:
        """Side of a cell, PROGRAM units."""
        return 2 * HALF_SIDE / self.n

    @property
    def words(self) -> int:
        """Words of 64 bits along z; the bits past n stay 0."""
        return -(-self.n // 64)

    @cached_property
    def centers(self) -> FloatArray:
        """(n,) cell centres along each axis."""
        centers = np.arange(self.n, dtype=np.float64) + 0.5
        return np.asarray(centers * self.cell - HALF_SIDE, dtype=np.float64)

    def empty(self) -> Bits:
        """(n, n, words) no cell set."""
        return np.zeros((self.n, self.n, self.words), dtype=np.uint64)

    def span(self, low: float, high: float) -> slice:
        """Indices of the cells whose centres lie between two coordinates."""
        first = int(np.ceil((low + HALF_SIDE) / self.cell - 0.5))
        last = int(np.ceil((high + HALF_SIDE) / self.cell - 0.5))
        return slice(max(first, 0), max(min(last, self.n), 0))

    def pack(self, mask: Mask) -> Bits:
        """(..., n) bool -> (..., words) bits along the last axis."""
        packed = np.packbits(mask, axis=-1, bitorder="little")
        missing = self.words * 8 - packed.shape[-1]
        if missing:
            packed = np.concatenate([packed, np.zeros((*packed.shape[:-1], missing), np.uint8)], -1)
        return np.ascontiguousarray(packed).view(np.uint64)

    def unpack(self, bits: Bits) -> Mask:
        """(n, n, words) bits -> (n, n, n) bool."""
        return np.unpackbits(bits.view(np.uint8), axis=-1, bitorder="little", count=self.n).astype(
            bool
        )

    def polygons_to_mask(self, polygons: Iterable[Sequence[Sequence[float]] | FloatArray]) -> Mask:
        """(n, n) bool: cells whose centres lie inside an odd number of polygons."""
        corners = [np.asarray(polygon, dtype=np.float64) for polygon in polygons]
        if not corners:
            return np.zeros((self.n, self.n), dtype=bool)
        start = np.concatenate(corners)
        end = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in corners])
        return self._edges_to_mask(start, end)

    def _edges_to_mask(self, start: FloatArray, end: FloatArray) -> Mask:
        """Scan lines: along each line x = const, every edge crossed flips what lies above it."""
        x = self.centers
        first, last = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
        low = np.searchsorted(x, first)
        count = np.searchsorted(x, last) - low
        edge = np.repeat(np.arange(len(start)), count)
        line = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + low[edge]
        run = end[:, 0] - start[:, 0]
        slope = (end[:, 1] - start[:, 1]) / np.where(run == 0, 1.0, run)
        y = start[edge, 1] + (x[line] - start[edge, 0]) * slope[edge]
        above = np.ceil((y + HALF_SIDE) / self.cell - 0.5).clip(0, self.n).astype(np.int64)
        flips = np.bincount(line * (self.n + 1) + above, minlength=self.n * (self.n + 1))
        parity = np.cumsum(flips.reshape(self.n, self.n + 1), axis=1) & 1
        return parity[:, : self.n].astype(bool)


def count(bits: Bits) -> int:
    """Number of cells set."""
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def iou(a: Bits, b: Bits) -> float:
    """Intersection over union of two sets of cells; 0 if both are empty."""
    both = count(a & b)
    either = count(a) + count(b) - both
    return both / either if either else 0.0


def manifold_to_voxels(solid: m3.Manifold, grid: Grid) -> Bits:
    """A solid in the PROGRAM frame as (n, n, words) bits, cut slice by slice along z."""
    dense = np.zeros((grid.n, grid.n, grid.n), dtype=bool)
    for k, height in enumerate(grid.centers):
        area = solid.slice(float(height))
        if not area.is_empty():
            dense[:, :, k] = grid.polygons_to_mask(area.to_polygons())
    return grid.pack(dense)
