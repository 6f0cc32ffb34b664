"""Polygons with every edge moved inwards, corners staying sharp: what chamfers and fillets need.

An edge too short for its neighbours vanishes on the way (those of an arc do, one by one, where a
straight edge meets it); the polygon goes on without it. Corner k of the result still belongs to
corner k of the polygon, so that walls can be drawn between the two. Plane coordinates.
"""

from __future__ import annotations

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.program.arcs import InvalidShape, signed_area
from cadwright.types import FloatArray

SHARPEST = -0.999  # cosine between the normals of two edges that meet


def inset_rings(polygons: list[FloatArray], insets: list[float]) -> list[list[FloatArray]]:
    """The polygons at several distances, corner by corner.

    Args:
        polygons: (N, 2) each, outlines counter-clockwise, holes clockwise.
        insets: distances, in any order, some perhaps more than once.

    Returns:
        For each inset as many polygons with as many corners; corners of an edge that is gone
        coincide exactly.

    Raises:
        InvalidShape: an outline vanishes, or runs into itself or another one.
    """
    rings: dict[float, list[FloatArray]] = {inset: [] for inset in insets}
    for polygon in polygons:
        edges = _Edges(polygon)
        for inset in sorted(rings):
            rings[inset].append(polygon if inset == 0 else edges.moved(inset))
    for inset, moved in rings.items():
        area = sum(map(signed_area, moved))
        union = m3.CrossSection(moved, m3.FillRule.Positive).area()
        if abs(union - area) > 1e-6 * abs(area) + 1e-6:
            raise InvalidShape(f"a rim of {inset:g} does not fit on its end")
    return [rings[inset] for inset in insets]


class _Edges:
    """The lines of a polygon's edges, and which of them are left."""

    def __init__(self, polygon: FloatArray) -> None:
        along = np.roll(polygon, -1, axis=0) - polygon
        self.along = along / np.linalg.norm(along, axis=1, keepdims=True)
        self.normal = np.stack([-self.along[:, 1], self.along[:, 0]], axis=1)  # inwards
        self.start = polygon
        self.base = (self.normal * polygon).sum(axis=1)
        self.left = np.arange(len(polygon))

    def moved(self, inset: float) -> FloatArray:
        """All corners at a distance not below that of the call before."""
        while True:
            corners = self._corners(inset)
            run = np.roll(corners, -1, axis=0) - corners
            length = (run * self.along[self.left]).sum(axis=1)
            gone = int(np.argmin(length))
            if length[gone] > 0:
                return corners[self._owners()]
            self._drop(length, inset)

    def _drop(self, length: FloatArray, inset: float) -> None:
        """Take away the edge that vanished first: lengths shrink in proportion to the distance."""
        before = self._lengths(0.0)
        with np.errstate(divide="ignore"):
            when = np.where(
                length <= 0, inset * before / np.maximum(before - length, 1e-12), np.inf
            )
        self.left = np.delete(self.left, int(np.argmin(when)))
        if len(self.left) < 3:
            raise InvalidShape(f"a rim of {inset:g} does not fit on its end")

    def _lengths(self, inset: float) -> FloatArray:
        corners = self._corners(inset)
        run = np.roll(corners, -1, axis=0) - corners
        return np.asarray((run * self.along[self.left]).sum(axis=1))

    def _corners(self, inset: float) -> FloatArray:
        """Where each edge that is left meets the one before it."""
        normal, base = self.normal[self.left], self.base[self.left] + inset
        before, base_before = np.roll(normal, 1, axis=0), np.roll(base, 1)
        cosine = (normal * before).sum(axis=1)
        if cosine.min() < SHARPEST:
            raise InvalidShape(f"a rim of {inset:g} does not fit on its end")
        cross = before[:, 0] * normal[:, 1] - before[:, 1] * normal[:, 0]
        # p = a (n + m) + b (n - m) with n p = base and m p = base_before, where n m is the cosine
        middle = (normal + before) * ((base + base_before) / (2 + 2 * cosine))[:, None]
        apart = normal - before
        square = (apart * apart).sum(axis=1)
        part = np.where(square > 1e-18, (base - base_before) / np.maximum(square, 1e-18), 0.0)
        in_line = np.abs(cross) < 1e-7
        straight = self.start[self.left] + inset * normal
        return np.asarray(np.where(in_line[:, None], straight, middle + apart * part[:, None]))

    def _owners(self) -> NDArray[np.intp]:
        """For each corner of the polygon, which of those left it has become."""
        num = len(self.along)
        return np.searchsorted(self.left, np.arange(num)) % len(self.left)
