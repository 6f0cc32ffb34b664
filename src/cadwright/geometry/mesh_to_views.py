"""A mesh in the UNIT frame becomes the published picture of four fixed diagonal views.

Out comes one uint8 mosaic (268x268 for four views of 128 pixels and a black border of 3), the
same bytes on every machine, without X, OpenGL, GPU or Open3D. It repeats what cadrille
(arXiv 2505.22914) feeds its model: Open3D 0.19's legacy window at 500 pixels, reduced with
scikit-image's quadratic spline. Not covered: other cameras and colours (see `pictures`).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.rasterise import (
    Camera,
    camera_towards,
    compiled,
    face_normals,
    mesh_to_visible,
    points_to_camera,
)
from cadwright.types import FloatArray, Mesh

Picture = NDArray[np.uint8]

FRONTS = ((1, 1, 1), (-1, -1, -1), (-1, 1, -1), (1, -1, 1))  # the camera looks along each
RENDER_SIZE = 500  # pixels a view is drawn at before it is reduced

# The camera stands 0.9 * front before the middle of the unit cube, head down: the published
# matrix gives Open3D, whose image rows run downwards, an up vector that points up.
_EYE_DISTANCE = 0.9 * math.sqrt(3.0)
_TAN_HALF_FIELD = 1.0 / math.sqrt(3.0)  # field of view 60 degrees
_COLOUR = (1.0, 1.0, 136.0 / 255.0)
# Two of Open3D's four default lights stand on the camera's side and two behind the part, each
# at twice its longest side times the front vector, which the published matrix leaves at length
# sqrt(3). All are white; shading is by face, since a window opened from code is left at flat.
_LIGHT_DISTANCES = (2.0 * math.sqrt(3.0), -2.0 * math.sqrt(3.0))
_DIFFUSE, _SPECULAR = 2 * 0.66, 2 * 0.2  # power of a pair of lights; shininess is 100
_MARGIN = 0.05  # how far a part may stick out of the unit cube
_WEIGHT_BITS = 22  # 255 * 2**22 and what a spline overshoots still fit in int32


def mesh_to_views(mesh: Mesh, *, num_views: int = 4, size: int = 128, border: int = 3) -> Picture:
    """Draw the published views of a part as one picture.

    Args:
        mesh: UNIT frame, faces wound outwards (faces turned away are not drawn).
        num_views: 1, 2 (side by side) or 4 (two by two).
        size: side of a view in pixels, without its border.
        border: width of the black frame around each view, in pixels.
    Returns:
        (H, W, 3) uint8 RGB; white background (254, as the published reduction leaves it), H and
        W are one or two times ``size + 2 * border``.
    Raises:
        InputError: ``num_views`` is not 1, 2 or 4, or a size is out of range.
        GeometryError: the mesh is empty, not finite, or not in the UNIT frame.
        MissingDependencyError: numba is not installed.
    """
    if num_views not in (1, 2, 4):
        raise InputError(f"the number of views must be 1, 2 or 4, not {num_views}")
    if not 8 <= size <= RENDER_SIZE:
        raise InputError(f"a view must be 8 to {RENDER_SIZE} pixels wide, not {size}")
    if border < 0:
        raise InputError(f"the border must not be negative, and it is {border}")
    _check_unit_frame(mesh)
    views = [
        np.zeros((size + 2 * border, size + 2 * border, 3), np.uint8) for _ in range(num_views)
    ]
    for view, front in zip(views, FRONTS, strict=False):
        drawn = reduce_picture(_draw_view(mesh, front), size=size)
        view[border : border + size, border : border + size] = drawn
    return views_to_mosaic(views)


def views_to_mosaic(views: list[Picture]) -> Picture:
    """Put 1, 2 or 4 equal pictures into one: single, side by side, or two by two."""
    if len(views) == 4:
        return np.vstack([np.hstack(views[:2]), np.hstack(views[2:])])
    return np.hstack(views)


def reduce_picture(picture: Picture, *, size: int) -> Picture:
    """Shrink a square uint8 picture as scikit-image's ``resize(order=2, anti_aliasing=True)``.

    The filter's weights are rounded to integers once, so that its sums are exact and the same
    everywhere; the result is within 1 of scikit-image's, cut down to whole numbers as published.

    Args:
        picture: (N, N, 3) uint8.
        size: side of the result in pixels, at most N.
    Returns:
        (size, size, 3) uint8.
    Raises:
        InputError: the picture is not square, not RGB, or smaller than ``size``.
    """
    if picture.shape != (picture.shape[0], picture.shape[0], 3) or not 1 <= size <= len(picture):
        raise InputError(f"cannot reduce a picture of shape {picture.shape} to {size} pixels")
    first, weights = _reduction(picture.shape[0], size)
    low, high = int(picture.min()), int(picture.max())
    out = np.zeros((size, size, 3), dtype=np.uint8)
    flat = np.ascontiguousarray(picture).reshape(picture.shape[0], -1)
    compiled(_apply_reduction)(flat, first, weights, low, high, out)
    return out


def _check_unit_frame(mesh: Mesh) -> None:
    if mesh.faces.shape[0] == 0 or mesh.vertices.shape[0] == 0:
        raise GeometryError("the mesh has no faces, so there is nothing to draw")
    low, high = mesh.bounds
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise GeometryError("the mesh has a vertex that is not a finite number")
    if low.min() < -_MARGIN or high.max() > 1.0 + _MARGIN:
        raise GeometryError(
            "pictures are drawn in the unit cube, and this mesh reaches from "
            f"{low.round(3).tolist()} to {high.round(3).tolist()}"
        )


def _draw_view(mesh: Mesh, front: tuple[int, int, int]) -> Picture:
    """Draw one view at (RENDER_SIZE, RENDER_SIZE, 3) uint8, white background."""
    back = (-float(front[0]), -float(front[1]), -float(front[2]))
    camera = camera_towards(
        (0.5, 0.5, 0.5), back, (0.0, -1.0, 0.0), distance=_EYE_DISTANCE, scale=_TAN_HALF_FIELD
    )
    visible = mesh_to_visible(mesh, camera, size=RENDER_SIZE)
    picture = np.full((RENDER_SIZE, RENDER_SIZE, 3), 255, dtype=np.uint8)
    compiled(_shade)(
        visible.face,
        visible.nearness,
        face_normals(visible.corners),
        _lights(mesh, camera),
        camera.scale,
        picture,
    )
    return picture


def _lights(mesh: Mesh, camera: Camera) -> FloatArray:
    """Give the (2, 3) light positions in camera axes."""
    low, high = mesh.bounds
    centre, extent = (low + high) * 0.5, float((high - low).max())
    back = np.array(camera.back)
    world = np.stack([centre + back * (distance * extent) for distance in _LIGHT_DISTANCES])
    return points_to_camera(world, camera)


def _shade(
    face: NDArray[np.int32],
    nearness: FloatArray,
    normals: FloatArray,
    lights: FloatArray,
    tangent: float,
    picture: Picture,
) -> None:
    """Light each covered pixel after Phong, one normal a face, and write it (numba)."""
    size = face.shape[0]
    for row in range(size):
        v = tangent * (1.0 - (2.0 * row + 1.0) / size)
        for column in range(size):
            f = face[row, column]
            if f < 0:
                continue
            u = tangent * ((2.0 * column + 1.0) / size - 1.0)
            depth = 1.0 / nearness[row, column]
            nx, ny, nz = normals[f, 0], normals[f, 1], normals[f, 2]
            ray = math.sqrt(u * u + v * v + 1.0)
            matt, gloss = 0.0, 0.0
            for k in range(lights.shape[0]):
                lx = lights[k, 0] - u * depth
                ly = lights[k, 1] - v * depth
                lz = lights[k, 2] + depth
                away = math.sqrt(lx * lx + ly * ly + lz * lz)
                facing = (nx * lx + ny * ly + nz * lz) / away
                matt += max(facing, 0.0)
                # the mirrored light 2 (n.l) n - l, along the way to the eye (-u, -v, 1)
                mirrored = 2.0 * facing * (nz - nx * u - ny * v) - (lz - lx * u - ly * v) / away
                shine = min(max(mirrored / ray, 0.0), 1.0)
                shine4 = (shine * shine) * (shine * shine)
                shine32 = (shine4 * shine4) * (shine4 * shine4)
                shine32 = shine32 * shine32
                gloss += shine32 * shine32 * shine32 * shine4  # to the power of 100
            for channel in range(3):
                light = _DIFFUSE * matt * _COLOUR[channel] + _SPECULAR * gloss
                picture[row, column, channel] = int(min(light, 1.0) * 255.0 + 0.5)


@lru_cache(maxsize=8)
def _reduction(size_in: int, size_out: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Weights that take a row of ``size_in`` pixels to ``size_out``.

    A Gauss filter of sigma ``(factor - 1) / 2`` cut off at 4 sigma, the inverse of the quadratic
    spline's sampling, and the spline itself are each a sum over neighbours, and so is their
    product. Rows are mirrored about the middle of their end pixels.

    Returns:
        first: (size_out,) int64, the first pixel each output pixel draws on.
        weights: (size_out, K) int32, each row summing to 2**22.
    """
    factor = size_in / size_out
    taps, reach = _smooth_spline_taps((factor - 1.0) / 2.0)
    rows = np.zeros((size_out, size_in), dtype=np.int32)
    for j in range(size_out):
        centre = (j + 0.5) * factor - 0.5
        nearest = math.floor(centre + 0.5)
        row = [0.0] * size_in
        for m in (nearest - 1, nearest, nearest + 1):
            for i in range(m - reach, m + reach + 1):
                row[_mirror(i, size_in)] += _spline(centre - m) * taps[abs(i - m)]
        whole = [round(w * 2**_WEIGHT_BITS) for w in row]
        whole[row.index(max(row))] += 2**_WEIGHT_BITS - sum(whole)
        rows[j] = whole
    used = [np.nonzero(row)[0] for row in rows]
    width = max(int(index[-1] - index[0]) + 1 for index in used)
    first = np.array([min(int(index[0]), size_in - width) for index in used], dtype=np.int64)
    return first, np.stack(
        [row[start : start + width] for row, start in zip(rows, first, strict=True)]
    )


def _smooth_spline_taps(sigma: float) -> tuple[list[float], int]:
    """Give the Gauss filter joined with the spline's inverse, as taps[distance], and its reach."""
    radius = int(4.0 * sigma + 0.5)
    gauss = [math.exp(-0.5 * (k / sigma) ** 2) if k else 1.0 for k in range(radius + 1)]
    total = gauss[0] + 2.0 * sum(gauss[1:])
    # 1 / (1/8, 6/8, 1/8) as a filter is sqrt(2) * pole**|k|; below 2**-40 after 16 pixels.
    pole, tail = 2.0 * math.sqrt(2.0) - 3.0, 16
    taps = [
        sum(
            gauss[abs(k)] / total * math.sqrt(2.0) * pole ** abs(distance - k)
            for k in range(-radius, radius + 1)
        )
        for distance in range(radius + tail + 1)
    ]
    return taps, radius + tail


def _spline(x: float) -> float:
    """Evaluate the centred quadratic B-spline."""
    x = abs(x)
    if x <= 0.5:
        return 0.75 - x * x
    return 0.5 * (1.5 - x) * (1.5 - x) if x < 1.5 else 0.0


def _mirror(index: int, length: int) -> int:
    period = 2 * (length - 1)
    index %= period
    return index if index < length else period - index


def _apply_reduction(
    flat: Picture,
    first: NDArray[np.int64],
    weights: NDArray[np.int32],
    low: int,
    high: int,
    out: Picture,
) -> None:
    """Reduce (N, 3 * N) ``flat`` in integers and clip to [low, high] (numba)."""
    size, width = weights.shape
    one = np.int64(1) << (2 * _WEIGHT_BITS)
    sums = np.zeros(flat.shape[1], np.int32)
    for j in range(size):
        sums[:] = 0
        for k in range(width):
            weight, row = weights[j, k], flat[first[j] + k]
            for i in range(sums.shape[0]):
                sums[i] += weight * np.int32(row[i])
        for i in range(size):
            red, green, blue = np.int64(0), np.int64(0), np.int64(0)
            for k in range(width):
                weight64, at = np.int64(weights[i, k]), 3 * (first[i] + k)
                red += weight64 * sums[at]
                green += weight64 * sums[at + 1]
                blue += weight64 * sums[at + 2]
            for channel in range(3):
                value = (red, green, blue)[channel]
                # Published sums over an even area fall short by their rounding, so white comes
                # out as 254. Taking off the smallest step before cutting down repeats that.
                whole = int((value - 1) // one) if value <= high * one else high
                out[j, i, channel] = max(whole, low)
