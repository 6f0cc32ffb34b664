"""Larger pictures of meshes for people: one part from 1, 2 or 4 sides, or target beside result.

In go meshes in any one frame; out come (H, W, 3) uint8 arrays: parallel projection, soft light,
dark lines at sharp edges and outlines, smoothed by drawing at three times the size. Not covered:
the pictures a model is fed (see `mesh_to_views`), transparency, materials.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.drawing import INK, Colour, Drawing, Surface, draw, finish
from cadwright.geometry.rasterise import Camera, camera_towards, points_to_camera
from cadwright.optional import require
from cadwright.types import Mesh

Picture = NDArray[np.uint8]

STEEL: Colour = (170, 184, 202)
GREEN: Colour = (128, 190, 166)
PAPER: Colour = (250, 250, 251)
SAME: Colour = (206, 210, 216)
MISSING: Colour = (228, 96, 80)
EXTRA: Colour = (74, 128, 212)

_SAME_DEPTH = 0.015  # two surfaces count as one within this share of half a picture's side
# The camera stands in this direction from the part, and this points up; z is up as in CadQuery.
_ISOMETRIC = ((1.0, -1.0, 1.0), (0.0, 0.0, 1.0))
_VIEWS = {
    1: (_ISOMETRIC,),
    2: (_ISOMETRIC, ((-1.0, 1.0, -1.0), (0.0, 0.0, 1.0))),
    4: (
        ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),  # top
        _ISOMETRIC,
        ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),  # front
        ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),  # right
    ),
}


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
            4 (as on a drawing sheet: top and isometric; front and right).
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
    surface = Surface.of(mesh)
    cameras = _fitting_cameras([mesh], _VIEWS[views])
    drawings = (draw(surface, camera, size) for camera in cameras)
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
        (H, 3 * size, 3) uint8; H is ``size``, a bar of titles above and one for the colours below.
    Raises:
        InputError, GeometryError, MissingDependencyError: as `render_mesh`.
    """
    _check(target, size)
    _check(result, size)
    (camera,) = _fitting_cameras([target, result], (_ISOMETRIC,))
    first, second = (draw(Surface.of(mesh), camera, size) for mesh in (target, result))
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
    image = _pillow("Image")
    try:
        image.fromarray(np.ascontiguousarray(array)).save(path, format="PNG")
    except OSError as error:
        raise InputError(f"cannot write the picture {path}: {error.strerror or error}") from error


def _pillow(name: str) -> Any:
    require("PIL", extra="render")
    return require(f"PIL.{name}", extra="render")


def _check(mesh: Mesh, size: int) -> None:
    if not 64 <= size <= 4096:
        raise InputError(f"a picture must be 64 to 4096 pixels wide, not {size}")
    if mesh.faces.shape[0] == 0 or mesh.vertices.shape[0] == 0:
        raise GeometryError("the mesh has no faces, so there is nothing to draw")
    if not np.isfinite(mesh.vertices).all():
        raise GeometryError("the mesh has a vertex that is not a finite number")


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


def _paint(drawing: Drawing, colour: Colour, background: Colour) -> Picture:
    tint = (drawing.visible.face >= 0).astype(np.uint8)
    return finish(tint, drawing.light, drawing.lines, (background, colour))


def _paint_difference(target: Drawing, result: Drawing, camera: Camera) -> Picture:
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
    return finish(tint, light, lines, (PAPER, SAME, MISSING, EXTRA))


def _with_titles(panels: Picture, titles: tuple[str, str, str], size: int) -> Picture:
    """Add a bar with the titles above, and the meaning of the colours in the last panel."""
    image, draw_module, fonts = (_pillow(name) for name in ("Image", "ImageDraw", "ImageFont"))
    letter = max(11, round(size / 28))
    bar = round(letter * 2.2)
    canvas = image.new("RGB", (panels.shape[1], size + 2 * bar), PAPER)
    canvas.paste(image.fromarray(panels), (0, bar))
    pen = draw_module.Draw(canvas)
    title_font, small_font = fonts.load_default(letter), fonts.load_default(round(letter * 0.85))
    for k, title in enumerate(titles):
        pen.text(((k + 0.5) * size, bar * 0.55), title, fill=INK, font=title_font, anchor="mm")
    x, y, swatch = 2.0 * size + letter, size + 1.5 * bar, letter * 0.7
    for colour, word in ((SAME, "same"), (MISSING, "missing"), (EXTRA, "too much")):
        pen.rectangle((x, y - swatch / 2, x + swatch, y + swatch / 2), fill=colour, outline=INK)
        pen.text((x + swatch * 1.6, y), word, fill=INK, font=small_font, anchor="lm")
        x += swatch * 3.4 + pen.textlength(word, font=small_font)
    return np.asarray(canvas).copy()
