"""Prisms -> points drawn evenly over the surface of their union, and how the pieces hang together.

Every prism's surface is sampled by area; points that lie inside another prism, or on a face
it shares with one, are dropped, and more are drawn until enough are left. What is dropped
also tells which pieces touch. In: prisms and a random generator. Out: points, PROGRAM frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cadwright.program.arcs import InvalidShape
from cadwright.program.grammar import AXES
from cadwright.synth.prisms import Column, Prism, doubled_areas
from cadwright.types import FloatArray

# Points are put this far outside, PROGRAM units, so that they lie in what touches them there;
# a hundred-thousandth of the MODEL frame.
STEP = 1e-3
FIRST, MORE = 1.2, 1.03  # points drawn per point wanted, where some may be hidden
FEWEST = 4  # hidden points from which on two prisms are said to touch
ROUNDS = 40

PointArray = NDArray[np.float32]
Faces = set[tuple[int, float, float]]
"""Flat faces along the axes: world axis, sign of the outward normal, where it lies."""


def sample_union(
    prisms: list[Prism], num: int, rng: np.random.Generator, *, most_pieces: int | None = None
) -> PointArray:
    """Draw points evenly over the surface of the union of prisms.

    Args:
        prisms: of one program.
        num: number of points.
        rng: moved on by the draw.
        most_pieces: of the union. Pieces are counted as the points see them: a contact that
            hardly any of them fell into does not join two pieces.

    Returns:
        (num, 3) float32, PROGRAM frame, STEP outside of the surface. Rows stand in no even
        order, so that a part of them is not an even draw of the whole surface.

    Raises:
        InvalidShape: the union falls into more pieces, or next to nothing of it shows.
    """
    sampler = _Sampler(prisms)
    if len(prisms) == 1:
        return sampler.draw(num, rng)
    parts: list[PointArray] = []
    kept = drawn = 0
    wanted = int(num * FIRST)
    for _ in range(ROUNDS):
        parts.append(sampler.draw(wanted, rng))
        if not drawn and most_pieces is not None:
            if _num_pieces(len(prisms), sampler.links) > most_pieces:
                raise InvalidShape("bodies that lie apart")
        kept += len(parts[-1])
        drawn += wanted
        if kept >= num:
            chosen = ((np.arange(num) + rng.random()) * (kept / num)).astype(np.intp)
            return np.concatenate(parts).take(chosen, axis=0)
        wanted = min(8 * num, int((num - kept) * drawn / max(kept, 1) * MORE) + 32)
    raise InvalidShape("bodies that leave no surface")


def sample_volume(prism: Prism, num: int, rng: np.random.Generator) -> list[Column]:
    """Draw points evenly inside one prism, as three columns in world axes."""
    triangles = prism.area.slices.triangles
    cumulative = np.cumsum(doubled_areas(triangles))
    chosen = triangles[np.searchsorted(cumulative, rng.random(num) * cumulative[-1])]
    one, two, up = rng.random((3, num))
    low, high = np.minimum(one, two), np.maximum(one, two)
    weights = np.stack([low, high - low, 1 - high], axis=1)
    x, y = np.einsum("nc,ncd->dn", weights, chosen)
    return _in_world(prism, x, y, prism.low + prism.height * up)


class _Sampler:
    """Draws the surface of all prisms at once, cell by cell, and drops what is hidden.

    Attributes:
        cells: (C, 8) of walls, then lower caps, then upper caps, prism after prism. A point of
            a cell has x, y, z = o + a s + b t with s, t in [0, 1] (folded into the triangle on
            caps); columns: o_x, o_y, o_z, a_x, a_y, b_x, b_y, b_z in the prism's own axes.
        ends: where each prism's cells end.
        links: pairs of prisms seen to touch.
    """

    def __init__(self, prisms: list[Prism]) -> None:
        self.prisms = prisms
        tables, areas = zip(*[_cells(prism) for prism in prisms], strict=True)
        self.cells = np.concatenate(tables).astype(np.float32)
        self.is_cap = self.cells[:, 7] == 0
        self.cumulative = np.cumsum(np.concatenate(areas))
        self.ends = np.cumsum([len(table) for table in tables]).tolist()
        self.links: set[tuple[int, int]] = set()
        self._shares: dict[tuple[int, int], bool] = {}
        self._faces: list[Faces] = []

    def draw(self, num: int, rng: np.random.Generator) -> PointArray:
        """Those of ``num`` points on the prisms that are on the union's surface."""
        gaps = np.cumsum(rng.standard_exponential(num + 1))
        ordered = gaps[:-1] * (self.cumulative[-1] / gaps[-1])  # sorted even draws, no sorting
        stops = np.searchsorted(ordered, self.cumulative)
        stops[-1] = num
        counts = np.diff(stops, prepend=0)
        columns = self._place(counts, rng.random((2, num), dtype=np.float32))
        points = np.zeros((num, 3), dtype=np.float32)
        visible = np.ones(num, dtype=np.bool_)
        start = 0
        for k, (prism, end) in enumerate(zip(self.prisms, self.ends, strict=True)):
            stop = int(stops[end - 1])
            x, y, z = (column[start:stop] for column in columns)
            own = _in_world(prism, x, y, z)
            for axis in range(3):
                points[start:stop, axis] = own[axis]
            visible[start:stop][self._hidden(k, own, counts)] = False
            start = stop
        return points if visible.all() else points.take(np.flatnonzero(visible), axis=0)

    def _place(self, counts: NDArray[np.intp], shares: PointArray) -> list[Column]:
        """Columns x, y, z of the points in their prisms' own axes."""
        rows = np.repeat(self.cells, counts, axis=0)
        one, two = shares
        fold = np.repeat(self.is_cap, counts)
        fold &= one + two > 1
        one, two = np.where(fold, 1 - one, one), np.where(fold, 1 - two, two)
        x = rows[:, 0] + one * rows[:, 3] + two * rows[:, 5]
        y = rows[:, 1] + one * rows[:, 4] + two * rows[:, 6]
        return [x, y, rows[:, 2] + two * rows[:, 7]]

    def _hidden(self, own: int, points: list[Column], counts: NDArray[np.intp]) -> NDArray[np.intp]:
        """Rows of a prism's points that lie in another body, noting which.

        A face that two prisms share the same way round belongs to the one that comes first;
        what they share the opposite way round lies inside the union.
        """
        hidden: list[NDArray[np.intp]] = []
        for other, prism in enumerate(self.prisms):
            if prism.body == self.prisms[own].body or _apart(prism, self.prisms[own]):
                continue
            found = [prism.contains(points)]
            if other < own and self._share_faces(own, other):
                found.append(prism.contains(self._inwards(own, points, counts)))
            if sum(map(len, found)) >= FEWEST:
                self.links.add((own, other))
            hidden += found
        return np.concatenate(hidden) if hidden else np.zeros(0, dtype=np.intp)

    def _inwards(self, own: int, points: list[Column], counts: NDArray[np.intp]) -> list[Column]:
        """The same points, as far inside as they are outside."""
        prism = self.prisms[own]
        begin = self.ends[own - 1] if own else 0
        normals = _normals(prism)
        steps = np.repeat(normals * (2 * STEP), counts[begin : self.ends[own]], axis=0)
        return [
            point - step for point, step in zip(points, _in_world(prism, *steps.T), strict=True)
        ]

    def _share_faces(self, own: int, other: int) -> bool:
        """Whether a face of one prism may lie on one of the other, the same way round."""
        if not self._faces:
            self._faces = [_flat_faces(prism) for prism in self.prisms]
        key = (own, other)
        if key not in self._shares:
            one, two = self.prisms[own], self.prisms[other]
            shares = not self._faces[own].isdisjoint(self._faces[other])
            if not shares and one.axes == two.axes:
                corners = map(tuple, one.area.starts.tolist())
                shares = not set(corners).isdisjoint(map(tuple, two.area.starts.tolist()))
            self._shares[key] = shares
        return self._shares[key]


def _normals(prism: Prism) -> FloatArray:
    """(C, 3) outward normals of a prism's cells, its own axes."""
    edges, num = prism.area.edges, len(prism.area.slices.triangles)
    length = np.maximum(np.hypot(edges[:, 0], edges[:, 1]), 1e-9)
    normals = np.zeros((len(edges) + 2 * num, 3))
    normals[: len(edges), 0] = edges[:, 1] / length
    normals[: len(edges), 1] = -edges[:, 0] / length
    normals[len(edges) : len(edges) + num, 2] = -1
    normals[len(edges) + num :, 2] = 1
    return normals


def _cells(prism: Prism) -> tuple[FloatArray, FloatArray]:
    """(C, 8) a prism's cells (see ``_Sampler``), and (C,) their areas."""
    starts, edges, slices, _ = prism.area
    first, second, third = (slices.triangles[:, corner] for corner in range(3))
    walls, num = len(edges), len(first)
    table = np.zeros((walls + 2 * num, 8))
    table[:walls, 0:2] = starts
    table[:walls, 3:5] = edges
    table[:walls, 2], table[:walls, 7] = prism.low, prism.height
    lower, upper = slice(walls, walls + num), slice(walls + num, None)
    for caps, level in ((lower, prism.low - STEP), (upper, prism.high + STEP)):
        table[caps, 0:2], table[caps, 2] = first, level
        table[caps, 3:5], table[caps, 5:7] = second - first, third - first
    length = np.hypot(edges[:, 0], edges[:, 1])
    out = STEP / np.maximum(length, 1e-9)
    table[:walls, 0] += edges[:, 1] * out
    table[:walls, 1] -= edges[:, 0] * out
    caps_area = doubled_areas(slices.triangles) / 2
    return table, np.concatenate([length * prism.height, caps_area, caps_area])


def _flat_faces(prism: Prism) -> Faces:
    x_axis, y_axis, normal = AXES[prism.axes]
    faces: Faces = {(normal, 1.0, prism.high), (normal, -1.0, prism.low)}
    for (x, y), (along_x, along_y) in zip(
        prism.area.starts.tolist(), prism.area.edges.tolist(), strict=True
    ):
        if along_x == 0:
            faces.add((x_axis, 1.0 if along_y > 0 else -1.0, x))
        elif along_y == 0:
            faces.add((y_axis, 1.0 if along_x < 0 else -1.0, y))
    return faces


def _in_world(prism: Prism, x: Column, y: Column, z: Column) -> list[Column]:
    """Columns along the prism's own axes as columns along the world's."""
    columns = [x, x, x]
    for axis, column in zip(AXES[prism.axes], (x, y, z), strict=True):
        columns[axis] = column
    return columns


def _apart(one: Prism, two: Prism) -> bool:
    """Whether the boxes of two prisms do not even touch."""
    return any(
        low_one > high_two + 2 * STEP or low_two > high_one + 2 * STEP
        for low_one, high_one, low_two, high_two in zip(*one.bounds, *two.bounds, strict=True)
    )


def _num_pieces(num: int, links: set[tuple[int, int]]) -> int:
    """Connected parts of a graph of ``num`` nodes."""
    part = list(range(num))
    for one, two in links:
        old, new = part[one], part[two]
        part = [new if name == old else name for name in part]
    return len(set(part))
