"""A mesh as a shaded drawing: soft light, dark lines at sharp edges and outlines, smooth pixels.

In go a `Surface` and a parallel camera, out comes a `Drawing` at several times the final size,
which `finish` colours and averages down. The public functions are in `pictures`; perspective
and the published look are in `mesh_to_views`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.rasterise import (
    Camera,
    Visible,
    compiled,
    cross_rows,
    face_normals,
    mesh_to_visible,
)
from cadwright.types import FloatArray, IntArray, Mesh

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

INK: Colour = (40, 48, 62)
SUPERSAMPLE = 3
_CREASE_COS = np.cos(np.radians(30.0))  # faces that meet at a larger angle get a line between
_HIDDEN_STEP = 0.02  # jump in depth that is an outline, as a share of half a picture's side
# Lights in camera axes (right, up, back) with their powers.
_LIGHTS = (((-0.45, 0.65, 0.61), 0.48), ((0.75, 0.15, 0.64), 0.20))
_AMBIENT, _SKY = 0.50, 0.04


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A mesh with what a drawing needs to know about its edges.

    Attributes:
        mesh: as given.
        patch: (F,) int64, one number for faces joined without a sharp edge.
        normals: (F, 3, 3) float64, unit normals of face corners, averaged over their patch.
    """

    mesh: Mesh
    patch: NDArray[np.int64]
    normals: FloatArray

    @classmethod
    def of(cls, mesh: Mesh) -> Surface:
        """Find sharp edges (30 degrees) and corner normals; the mesh may be in any frame."""
        flat = face_normals(mesh.triangles)
        faces = _merged_faces(mesh)
        patch = _patches(faces, flat)
        return cls(mesh, patch, _corner_normals(mesh, faces, patch, flat))


def _merged_faces(mesh: Mesh) -> NDArray[np.int64]:
    """Renumber (F, 3) corners so that corners at one place share a number."""
    low, high = mesh.bounds
    steps = (2**20) / max(float((high - low).max()), 1e-300)
    grid = np.floor((mesh.vertices - low) * steps + 0.5).astype(np.int64)
    key = (grid[:, 0] << 42) | (grid[:, 1] << 21) | grid[:, 2]
    numbers = np.unique(key, return_inverse=True)[1].reshape(-1)
    return numbers[mesh.faces].astype(np.int64)


def _patches(faces: NDArray[np.int64], flat: FloatArray) -> NDArray[np.int64]:
    """Number faces so that two share a number when a path without sharp edges joins them."""
    num_faces = faces.shape[0]
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    edge = ends[:, 0] * (int(faces.max()) + 1) + ends[:, 1]
    order = np.argsort(edge, kind="stable")
    same = edge[order][1:] == edge[order][:-1]
    a, b = order[:-1][same] // 3, order[1:][same] // 3
    smooth = (flat[a] * flat[b]).sum(axis=1) >= _CREASE_COS
    a, b = a[smooth], b[smooth]
    label = np.arange(num_faces)
    while True:  # pass the smallest number on, then jump to that face's own: ends in log steps
        lowest = np.minimum(label[a], label[b])
        following = label.copy()
        np.minimum.at(following, label[a], lowest)
        np.minimum.at(following, label[b], lowest)
        following = following[following]
        if np.array_equal(following, label):
            return label
        label = following


def _corner_normals(
    mesh: Mesh, faces: NDArray[np.int64], patch: NDArray[np.int64], flat: FloatArray
) -> FloatArray:
    """Average normals by area over the faces of a patch that meet in a point."""
    t = mesh.triangles
    weighted = cross_rows(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
    key = faces * np.int64(faces.shape[0]) + patch[:, None]
    numbers = np.unique(key, return_inverse=True)[1].reshape(-1)
    spread = np.repeat(weighted, 3, axis=0)
    sums = np.stack([np.bincount(numbers, weights=spread[:, k]) for k in range(3)], axis=1)
    length = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    normals = (sums / np.where(length > 0.0, length, 1.0))[numbers].reshape(-1, 3, 3)
    # where a patch closes on itself the average may vanish or turn: the face's own is right then
    bent = (normals * flat[:, None]).sum(axis=2, keepdims=True) < 0.5
    return np.where(bent, flat[:, None], normals)


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One mesh seen by one camera, at the supersampled size.

    Attributes:
        visible: what the camera sees.
        light: (H, W) float64, brightness, 0 where there is no part.
        lines: (H, W) bool, sharp edges and outlines.
    """

    visible: Visible
    light: FloatArray
    lines: NDArray[np.bool_]


def draw(surface: Surface, camera: Camera, size: int) -> Drawing:
    """Draw a surface for a parallel camera, at ``SUPERSAMPLE * size`` pixels a side."""
    size *= SUPERSAMPLE
    visible = mesh_to_visible(surface.mesh, camera, size=size)
    light = np.zeros((size, size))
    planes, limits = _brightness_planes(surface, visible, camera)
    compiled(_spread_over_pixels)(visible.face, planes, limits, light)
    lines = np.zeros((size, size), dtype=bool)
    jump = _HIDDEN_STEP * camera.scale
    compiled(_mark_lines)(visible.face, surface.patch, visible.nearness, jump, lines)
    return Drawing(visible, light, lines)


def _brightness(normals: FloatArray) -> FloatArray:
    """Light (..., 3) normals in camera axes softly; (...), about 0.5 to 1.2."""
    total = _AMBIENT + _SKY * (normals[..., 1] + 1.0) * 0.5
    for direction, power in _LIGHTS:
        unit = np.array(direction) / np.linalg.norm(direction)
        # wrapped a little around the edge, so that a round side does not end in black
        total = total + power * np.maximum((normals @ unit + 0.25) / 1.25, 0.0)
    return total


def _brightness_planes(
    surface: Surface, visible: Visible, camera: Camera
) -> tuple[FloatArray, FloatArray]:
    """Brightness over each face as ``a * column + b * row + c``, and its range."""
    axes = np.array([camera.right, camera.up, camera.back])
    values = _brightness(surface.normals @ axes.T)
    start = visible.corners[:, 0]
    p, q = visible.corners[:, 1] - start, visible.corners[:, 2] - start
    area = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    area = np.where(area == 0.0, 1.0, area)
    dp, dq = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    slope_x = (dp * q[:, 1] - dq * p[:, 1]) / area
    slope_y = (dq * p[:, 0] - dp * q[:, 0]) / area
    step = 2.0 * camera.scale / visible.face.shape[0]
    edge = camera.scale - 0.5 * step
    constant = values[:, 0] - slope_x * (edge + start[:, 0]) + slope_y * (edge - start[:, 1])
    planes = np.stack([slope_x * step, -slope_y * step, constant], axis=1)
    return planes, np.stack([values.min(axis=1), values.max(axis=1)], axis=1)


def _spread_over_pixels(
    face: IntArray, planes: FloatArray, limits: FloatArray, out: FloatArray
) -> None:
    """Evaluate the plane of the face seen at each pixel (numba)."""
    for row in range(face.shape[0]):
        for column in range(face.shape[1]):
            f = face[row, column]
            if f >= 0:
                value = planes[f, 0] * column + planes[f, 1] * row + planes[f, 2]
                out[row, column] = min(max(value, limits[f, 0]), limits[f, 1])


def _mark_lines(
    face: IntArray,
    patch: NDArray[np.int64],
    nearness: FloatArray,
    jump: float,
    lines: NDArray[np.bool_],
) -> None:
    """Mark both sides where neighbours show two patches, or one stands far behind (numba)."""
    rows, columns = face.shape
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            here = face[row, column]
            for down, right in ((0, 1), (1, 0)):
                there = face[row + down, column + right]
                if here < 0 and there < 0:
                    continue
                changes = here < 0 or there < 0
                if not changes and here != there:
                    changes = patch[here] != patch[there]
                    before = face[row - down, column - right]
                    if not changes and before >= 0:
                        step = nearness[row + down, column + right] - nearness[row, column]
                        even = nearness[row, column] - nearness[row - down, column - right]
                        # a steep but even slope is no outline
                        changes = abs(step) > jump and abs(step - even) > 0.8 * jump
                if changes:
                    lines[row, column] = True
                    lines[row + down, column + right] = True


def finish(
    tint: Picture, light: FloatArray, lines: NDArray[np.bool_], palette: tuple[Colour, ...]
) -> Picture:
    """Light the tints, draw the lines, and average blocks of pixels into one.

    Args:
        tint: (H, W) uint8, index into ``palette``; 0 is the background, which is not lit.
        light: (H, W) float64, factor on the palette's colour.
        lines: (H, W) bool, where ink goes.
        palette: RGB colours.
    Returns:
        (H / SUPERSAMPLE, W / SUPERSAMPLE, 3) uint8.
    """
    size = tint.shape[0] // SUPERSAMPLE
    out = np.zeros((size, size, 3), dtype=np.uint8)
    colours = np.array(palette, dtype=np.float64)
    compiled(_average_blocks)(tint, light, lines, colours, np.array(INK, dtype=np.float64), out)
    return out


def _average_blocks(
    tint: Picture,
    light: FloatArray,
    lines: NDArray[np.bool_],
    palette: FloatArray,
    ink: FloatArray,
    out: Picture,
) -> None:
    """Average what `finish` describes; tint 0 is the background and is not lit (numba)."""
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            for c in range(3):
                total = 0.0
                for y in range(row * SUPERSAMPLE, (row + 1) * SUPERSAMPLE):
                    for x in range(column * SUPERSAMPLE, (column + 1) * SUPERSAMPLE):
                        power = light[y, x] if tint[y, x] > 0 else 1.0
                        value = min(palette[tint[y, x], c] * power, 255.0)
                        if lines[y, x] or lines[max(y - 1, 0), x] or lines[y, max(x - 1, 0)]:
                            value = 0.15 * value + 0.85 * ink[c]
                        total += value
                out[row, column, c] = int(total / (SUPERSAMPLE * SUPERSAMPLE) + 0.5)
