"""Triangles in, a picture of "which face is seen where" out: a z-buffer without OpenGL.

Goes in: a mesh and a `Camera`. Comes out: per pixel the index of the nearest front face and its
nearness, and for the published look the lit colours. Coverage is decided in integers and lengths
in float64 whose order is fixed, so the same mesh gives the same bytes on every machine.
Not covered: clipping at the near plane (the camera must stand outside the mesh), textures, lines.
numba is imported at the first call and its code is cached on disk.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError
from cadwright.optional import require
from cadwright.types import FloatArray, IntArray, Mesh

SUBPIXELS = 256  # steps a pixel is divided into; OpenGL's usual 8 bits
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Camera:
    """Where a picture is taken from, in the frame of the mesh.

    Attributes:
        eye: where the camera stands; it looks along ``-back``.
        right, up, back: orthonormal, right-handed axes of the camera.
        scale: half a picture's side, in tangents of the angle seen (perspective) or in the
            mesh's own length (orthographic).
        perspective: False for a parallel projection.
    """

    eye: tuple[float, float, float]
    right: tuple[float, float, float]
    up: tuple[float, float, float]
    back: tuple[float, float, float]
    scale: float
    perspective: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """What a camera sees.

    Attributes:
        face: (H, W) int32, index of the nearest front face, -1 for background.
        nearness: (H, W) float64, larger is nearer: 1/depth in perspective, -depth else.
        corners: (F, 3, 3) float64, face corners in camera axes (right, up, back).
    """

    face: IntArray
    nearness: FloatArray
    corners: FloatArray


def camera_towards(
    target: tuple[float, float, float],
    back: tuple[float, float, float],
    up_hint: tuple[float, float, float],
    *,
    distance: float,
    scale: float,
    perspective: bool = True,
) -> Camera:
    """Place a camera at ``target + distance * back`` that looks at ``target``.

    Args:
        target: the point in the middle of the picture, frame of the mesh.
        back: direction from the target to the camera; any length.
        up_hint: what should point up in the picture; not parallel to ``back``.
        distance: from target to camera, in the frame of the mesh.
        scale: see `Camera`.
        perspective: see `Camera`.
    """
    back = _unit(back)
    right = _unit(_cross(up_hint, back))
    eye = tuple(t + distance * b for t, b in zip(target, back, strict=True))
    return Camera((eye[0], eye[1], eye[2]), right, _cross(back, right), back, scale, perspective)


def mesh_to_visible(mesh: Mesh, camera: Camera, *, size: int) -> Visible:
    """Find the nearest front face behind each pixel of a square picture.

    Args:
        mesh: any frame; back faces are not drawn, so faces must be wound outwards.
        camera: in the frame of the mesh.
        size: side of the picture in pixels.
    Returns:
        `Visible` with ``(size, size)`` arrays, row 0 at the top.
    Raises:
        GeometryError: a vertex is not finite, or at or behind the camera.
        MissingDependencyError: numba is not installed.
    """
    fill = compiled(_fill_faces)
    points = points_to_camera(mesh.vertices, camera)
    if not np.isfinite(points).all():
        raise GeometryError("the mesh has a vertex that is not a finite number")
    if camera.perspective and points.shape[0] and float(points[:, 2].max()) > -1e-3:
        raise GeometryError("part of the mesh is at or behind the camera: is it in the UNIT frame?")
    screen = _points_to_screen(points, camera, size)
    corners = points[mesh.faces]
    face = np.full((size, size), -1, dtype=np.int32)
    nearness = np.full((size, size), -np.inf)
    planes, limits = _nearness_planes(corners, camera, size)
    fill(screen, np.ascontiguousarray(mesh.faces, dtype=np.int32), planes, limits, face, nearness)
    return Visible(face, nearness, corners)


def points_to_camera(points: FloatArray, camera: Camera) -> FloatArray:
    """Turn (N, 3) points of the mesh's frame into camera axes (right, up, back)."""
    # Written out by element: a matrix product may fuse or reorder its sums on some machines.
    x, y, z = (np.asarray(points[:, k], dtype=np.float64) - camera.eye[k] for k in range(3))
    rows = [x * a[0] + y * a[1] + z * a[2] for a in (camera.right, camera.up, camera.back)]
    return np.stack(rows, axis=1)


def face_normals(corners: FloatArray) -> FloatArray:
    """Give (F, 3) unit normals of (F, 3, 3) corners; zero where a face has no area."""
    cross = cross_rows(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.sqrt(cross[:, 0] ** 2 + cross[:, 1] ** 2 + cross[:, 2] ** 2)
    return cross / np.where(length > 0.0, length, 1.0)[:, None]


@cache
def compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel of this package with numba, kept on disk where that is possible.

    Raises:
        MissingDependencyError: numba is not installed.
    """
    numba = require("numba", extra="render")
    try:
        return numba.njit(cache=True)(kernel)
    except RuntimeError as error:  # no folder to write to: a read-only install without a home
        _LOG.warning("compiling %s anew in each process: %s", kernel.__name__, error)
        return numba.njit(kernel)


def _unit(v: tuple[float, float, float]) -> tuple[float, float, float]:
    length = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    return (v[0] / length, v[1] / length, v[2] / length)


def _cross(
    a: tuple[float, float, float], b: tuple[float, float, float]
) -> tuple[float, float, float]:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def cross_rows(a: FloatArray, b: FloatArray) -> FloatArray:
    """Give the (N, 3) cross products of two (N, 3) arrays, row by row."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def _points_to_screen(points: FloatArray, camera: Camera, size: int) -> NDArray[np.int64]:
    """Project and snap to the subpixel grid; x to the right, y down."""
    half = 0.5 * size
    per_unit = half / camera.scale
    shrink = per_unit / -points[:, 2] if camera.perspective else per_unit
    x, y = half + points[:, 0] * shrink, half - points[:, 1] * shrink
    return np.floor(np.stack([x, y], axis=1) * SUBPIXELS + 0.5).astype(np.int64)


def _nearness_planes(
    corners: FloatArray, camera: Camera, size: int
) -> tuple[FloatArray, FloatArray]:
    """Nearness over a face as ``a * column + b * row + c``, and its range over the corners.

    The range keeps faces seen edge-on, whose plane is noise, from covering others.
    """
    step = 2.0 * camera.scale / size  # camera units a pixel, at depth 1 in perspective
    start = camera.scale - 0.5 * step  # from the middle of the picture to the first pixel centre
    n = face_normals(corners)
    offset = n[:, 0] * corners[:, 0, 0] + n[:, 1] * corners[:, 0, 1] + n[:, 2] * corners[:, 0, 2]
    if camera.perspective:  # on the plane n.p = offset, p = depth * (u, v, -1)
        safe = np.where(offset == 0.0, 1.0, offset)
        nx, ny, constant = n[:, 0] / safe, n[:, 1] / safe, -n[:, 2] / safe
        values = -1.0 / corners[:, :, 2]
    else:  # p = (u, v, -depth), nearness is p's third coordinate
        safe = np.where(n[:, 2] == 0.0, 1.0, n[:, 2])
        nx, ny, constant = -n[:, 0] / safe, -n[:, 1] / safe, offset / safe
        values = corners[:, :, 2]
    planes = np.stack([nx * step, -ny * step, constant - nx * start + ny * start], axis=1)
    return planes, np.stack([values.min(axis=1), values.max(axis=1)], axis=1)


def _fill_faces(
    screen: NDArray[np.int64],
    faces: IntArray,
    planes: FloatArray,
    limits: FloatArray,
    face: IntArray,
    nearness: FloatArray,
) -> None:
    """Write each front face into ``face`` and ``nearness`` where it is nearest (numba).

    Longer than a function should be because numba inlines nothing it has not compiled before.
    """
    rows, columns = face.shape
    half = SUBPIXELS // 2
    x, y = np.zeros(4, np.int64), np.zeros(4, np.int64)
    for f in range(faces.shape[0]):
        for k in range(4):  # reversed, since rows run downwards; the first corner again at the end
            corner = faces[f, (3 - k) % 3]
            x[k], y[k] = screen[corner, 0], screen[corner, 1]
        if (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]) <= 0:
            continue  # turned away, or thinner than the grid
        left = max(0, min(x[0], x[1], x[2]) // SUBPIXELS)
        right = min(columns - 1, max(x[0], x[1], x[2]) // SUBPIXELS)
        top = max(0, min(y[0], y[1], y[2]) // SUBPIXELS)
        bottom = min(rows - 1, max(y[0], y[1], y[2]) // SUBPIXELS)
        for row in range(top, bottom + 1):
            first, last = left, right
            centre = row * SUBPIXELS + half
            for k in range(3):  # the edge k cuts the row: keep columns on its inner side
                dx, dy = x[k + 1] - x[k], y[k + 1] - y[k]
                rest = dx * (centre - y[k]) - dy * (half - x[k])
                if not (dy < 0 or (dy == 0 and dx > 0)):
                    rest -= 1  # pixels exactly on the edge belong to the face left or above
                if dy < 0:
                    first = max(first, -(rest // (-dy * SUBPIXELS)))
                elif dy > 0:
                    last = min(last, rest // (dy * SUBPIXELS))
                elif rest < 0:
                    last = -1
            for column in range(first, last + 1):
                value = planes[f, 0] * column + planes[f, 1] * row + planes[f, 2]
                value = min(max(value, limits[f, 0]), limits[f, 1])
                if value > nearness[row, column]:
                    nearness[row, column] = value
                    face[row, column] = f
