"""Larger pictures of meshes for people: one part from 1, 2 or 4 sides, or target beside result.

In go meshes in any one frame; out come (H, W, 3) uint8 arrays: parallel projection, soft light,
dark lines at sharp edges and outlines, smoothed by drawing at three times the size. Not covered:
the pictures a model is fed (see `mesh_to_views`), transparency, materials.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.rasterise import (
    Camera,
    Visible,
    camera_towards,
    compiled,
    cross_rows,
    face_normals,
    mesh_to_visible,
    points_to_camera,
)
from cadwright.optional import require
from cadwright.types import FloatArray, IntArray, Mesh

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

STEEL: Colour = (170, 184, 202)
GREEN: Colour = (128, 190, 166)
PAPER: Colour = (250, 250, 251)
SAME: Colour = (206, 210, 216)
MISSING: Colour = (228, 96, 80)
EXTRA: Colour = (74, 128, 212)

_INK: Colour = (40, 48, 62)
_SUPERSAMPLE = 3
_CREASE_COS = np.cos(np.radians(30.0))  # faces that meet at a larger angle get a line between
_SAME_DEPTH = 0.015  # two surfaces count as one within this share of half a picture's side
_HIDDEN_STEP = 0.02  # jump in depth that is an outline, in the same share
# The camera stands in this direction from the part, and this points up; z is up as in CadQuery.
_ISOMETRIC = ((1.0, -1.0, 1.0), (0.0, 0.0, 1.0))
_VIEWS = {
    1: (_ISOMETRIC,),
    2: (_ISOMETRIC, ((-1.0, 1.0, -1.0), (0.0, 0.0, 1.0))),
    4: (
        _ISOMETRIC,
        ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),  # top
        ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),  # front
        ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),  # right
    ),
}
# Lights in camera axes (right, up, back) with their powers.
_LIGHTS = (((-0.45, 0.65, 0.61), 0.48), ((0.75, 0.15, 0.64), 0.20))
_AMBIENT, _SKY = 0.50, 0.04


@dataclass(frozen=True, slots=True, eq=False)
class _Drawing:
    """One mesh seen by one camera, at the supersampled size.

    Attributes:
        visible: what the camera sees.
        light: (H, W) float64, brightness, 0 where there is no part.
        lines: (H, W) bool, sharp edges and outlines.
    """

    visible: Visible
    light: FloatArray
    lines: NDArray[np.bool_]


def render_mesh(
    mesh: Mesh,
    *,
    size: int = 512,
    views: int = 1,
    colour: Colour = STEEL,
    background: Colour = PAPER,
) -> Picture:
    """Draw a part for people, all views at one scale.

    Args:
        mesh: any frame, z up, faces wound outwards.
        size: side of one view in pixels.
        views: 1 (isometric), 2 (isometric from above and from the opposite corner below) or
            4 (isometric and top; front and right).
        colour: RGB of the part, 0 to 255.
        background: RGB behind it.
    Returns:
        (size, size, 3), (size, 2 * size, 3) or (2 * size, 2 * size, 3) uint8.
    Raises:
        InputError: ``views`` is not 1, 2 or 4, or ``size`` is out of range.
        GeometryError: the mesh is empty or not finite.
        MissingDependencyError: numba is not installed.
    """
    if views not in _VIEWS:
        raise InputError(f"the number of views must be 1, 2 or 4, not {views}")
    _check(mesh, size)
    surface = _Surface.of(mesh)
    cameras = _fitting_cameras([mesh], _VIEWS[views])
    drawings = (_draw(surface, camera, size) for camera in cameras)
    panels = [_paint(drawing, colour, background) for drawing in drawings]
    if views == 4:
        return np.vstack([np.hstack(panels[:2]), np.hstack(panels[2:])])
    return np.hstack(panels)


def comparison_picture(
    target: Mesh,
    result: Mesh,
    *,
    size: int = 480,
    titles: tuple[str, str, str] = ("Target", "Result", "Difference"),
) -> Picture:
    """Draw target and result side by side from one camera, and where they differ.

    The third panel compares the two surfaces that the camera sees: grey where they agree, red
    where the result lacks material that the target has in front, blue where it has too much.

    Args:
        target: any frame, z up.
        result: the same frame as the target.
        size: side of a panel in pixels, at least 64.
        titles: written above the three panels.
    Returns:
        (size + bar, 3 * size, 3) uint8, with a bar of titles on top.
    Raises:
        InputError, GeometryError, MissingDependencyError: as `render_mesh`.
    """
    _check(target, size)
    _check(result, size)
    (camera,) = _fitting_cameras([target, result], (_ISOMETRIC,))
    first, second = (_draw(_Surface.of(mesh), camera, size) for mesh in (target, result))
    panels = [
        _paint(first, STEEL, PAPER),
        _paint(second, GREEN, PAPER),
        _paint_difference(first, second, camera),
    ]
    for panel in panels[1:]:
        panel[:, 0] = (222, 224, 228)
    return _with_titles(np.hstack(panels), titles, size)


def save_png(array: Picture, path: str | Path) -> None:
    """Write an (H, W, 3) or (H, W) uint8 array as a PNG file.

    Raises:
        InputError: the array is not a picture, or the file cannot be written.
        MissingDependencyError: Pillow is not installed.
    """
    shape_ok = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not shape_ok or 0 in array.shape:
        raise InputError(f"not an RGB or grey picture: shape {array.shape}, {array.dtype}")
    image = require("PIL.Image", extra="render")
    try:
        image.fromarray(np.ascontiguousarray(array)).save(path, format="PNG")
    except OSError as error:
        raise InputError(f"cannot write the picture {path}: {error.strerror or error}") from error


def _check(mesh: Mesh, size: int) -> None:
    if not 64 <= size <= 4096:
        raise InputError(f"a picture must be 64 to 4096 pixels wide, not {size}")
    if mesh.faces.shape[0] == 0 or mesh.vertices.shape[0] == 0:
        raise GeometryError("the mesh has no faces, so there is nothing to draw")
    if not np.isfinite(mesh.vertices).all():
        raise GeometryError("the mesh has a vertex that is not a finite number")


@dataclass(frozen=True, slots=True, eq=False)
class _Surface:
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
    def of(cls, mesh: Mesh) -> _Surface:
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


def _fitting_cameras(
    meshes: list[Mesh],
    directions: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...],
) -> list[Camera]:
    """Place parallel cameras of one scale that show all meshes whole, with a margin."""
    points = np.concatenate([mesh.vertices[np.unique(mesh.faces)] for mesh in meshes])
    aimed = []
    for back, up in directions:
        camera = camera_towards(
            (0.0, 0.0, 0.0), back, up, distance=0.0, scale=1.0, perspective=False
        )
        seen = points_to_camera(points, camera)
        aimed.append((camera, seen.min(axis=0), seen.max(axis=0)))
    scale = 0.56 * max(float((high - low)[:2].max()) for _, low, high in aimed)
    if scale <= 0.0:
        raise GeometryError("all points of the mesh lie in one place, so there is nothing to draw")
    cameras = []
    for camera, low, high in aimed:
        middle = (low + high) * 0.5
        x, y, z = (
            float(middle[0] * r + middle[1] * u + middle[2] * b)
            for r, u, b in zip(camera.right, camera.up, camera.back, strict=True)
        )
        cameras.append(Camera((x, y, z), camera.right, camera.up, camera.back, scale, False))
    return cameras


def _draw(surface: _Surface, camera: Camera, size: int) -> _Drawing:
    size *= _SUPERSAMPLE
    visible = mesh_to_visible(surface.mesh, camera, size=size)
    light = np.zeros((size, size))
    planes, limits = _brightness_planes(surface, visible, camera)
    compiled(_spread_over_pixels)(visible.face, planes, limits, light)
    lines = np.zeros((size, size), dtype=bool)
    jump = _HIDDEN_STEP * camera.scale
    compiled(_mark_lines)(visible.face, surface.patch, visible.nearness, jump, lines)
    return _Drawing(visible, light, lines)


def _brightness(normals: FloatArray) -> FloatArray:
    """Light (..., 3) normals in camera axes softly; (...), about 0.5 to 1.2."""
    total = _AMBIENT + _SKY * (normals[..., 1] + 1.0) * 0.5
    for direction, power in _LIGHTS:
        unit = np.array(direction) / np.linalg.norm(direction)
        # wrapped a little around the edge, so that a round side does not end in black
        total = total + power * np.maximum((normals @ unit + 0.25) / 1.25, 0.0)
    return total


def _brightness_planes(
    surface: _Surface, visible: Visible, camera: Camera
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


def _paint(drawing: _Drawing, colour: Colour, background: Colour) -> Picture:
    tint = (drawing.visible.face >= 0).astype(np.uint8)
    return _finish(tint, drawing.light, drawing.lines, (background, colour))


def _paint_difference(target: _Drawing, result: _Drawing, camera: Camera) -> Picture:
    """Colour by which of two surfaces is nearer to the camera."""
    in_target, in_result = target.visible.face >= 0, result.visible.face >= 0
    tolerance = _SAME_DEPTH * camera.scale
    near_target, near_result = target.visible.nearness, result.visible.nearness  # -inf: nothing
    extra = in_result & (near_result > near_target + tolerance)
    missing = in_target & (near_target > near_result + tolerance)
    tint = (in_target | in_result).astype(np.uint8)
    tint[missing], tint[extra] = 2, 3
    light = np.where(extra, result.light, target.light)
    lines = np.where(extra, result.lines, target.lines)
    return _finish(tint, light, lines, (PAPER, SAME, MISSING, EXTRA))


def _finish(
    tint: Picture, light: FloatArray, lines: NDArray[np.bool_], palette: tuple[Colour, ...]
) -> Picture:
    """Light the tints, draw the lines, and average blocks of pixels into one."""
    size = tint.shape[0] // _SUPERSAMPLE
    out = np.zeros((size, size, 3), dtype=np.uint8)
    colours = np.array(palette, dtype=np.float64)
    compiled(_average_blocks)(tint, light, lines, colours, np.array(_INK, dtype=np.float64), out)
    return out


def _average_blocks(
    tint: Picture,
    light: FloatArray,
    lines: NDArray[np.bool_],
    palette: FloatArray,
    ink: FloatArray,
    out: Picture,
) -> None:
    """Average what `_finish` describes; tint 0 is the background and is not lit (numba)."""
    for row in range(tint.shape[0] // _SUPERSAMPLE):
        for column in range(tint.shape[1] // _SUPERSAMPLE):
            total = np.zeros(3)
            for y in range(row * _SUPERSAMPLE, (row + 1) * _SUPERSAMPLE):
                for x in range(column * _SUPERSAMPLE, (column + 1) * _SUPERSAMPLE):
                    power = light[y, x] if tint[y, x] > 0 else 1.0
                    inked = lines[y, x] or lines[max(y - 1, 0), x] or lines[y, max(x - 1, 0)]
                    for c in range(3):
                        value = min(palette[tint[y, x], c] * power, 255.0)
                        total[c] += 0.15 * value + 0.85 * ink[c] if inked else value
            for c in range(3):
                out[row, column, c] = int(total[c] / (_SUPERSAMPLE * _SUPERSAMPLE) + 0.5)


def _with_titles(panels: Picture, titles: tuple[str, str, str], size: int) -> Picture:
    """Add a bar with the titles above, and the meaning of the colours in the last panel."""
    image, draw_module, fonts = (
        require(f"PIL.{name}", extra="render") for name in ("Image", "ImageDraw", "ImageFont")
    )
    letter = max(11, round(size / 28))
    bar = round(letter * 2.2)
    canvas = image.new("RGB", (panels.shape[1], size + bar), PAPER)
    canvas.paste(image.fromarray(panels), (0, bar))
    draw = draw_module.Draw(canvas)
    title_font, small_font = fonts.load_default(letter), fonts.load_default(round(letter * 0.8))
    for k, title in enumerate(titles):
        draw.text(((k + 0.5) * size, bar * 0.55), title, fill=_INK, font=title_font, anchor="mm")
    x, y, swatch = 2.0 * size + letter, size + bar - letter, letter * 0.7
    for colour, word in ((SAME, "same"), (MISSING, "missing"), (EXTRA, "too much")):
        draw.rectangle((x, y - swatch / 2, x + swatch, y + swatch / 2), fill=colour, outline=_INK)
        draw.text((x + swatch * 1.5, y), word, fill=_INK, font=small_font, anchor="lm")
        x += swatch * 3 + draw.textlength(word, font=small_font)
    return np.asarray(canvas).copy()
