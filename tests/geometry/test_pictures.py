"""Pictures for people: size, frame, lines at edges, honest differences, files, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.drawing import Surface
from cadwright.geometry.pictures import comparison_picture, render_mesh, save_png
from cadwright.types import Mesh

image = pytest.importorskip("PIL.Image")
pytest.importorskip("numba")
trimesh = pytest.importorskip("trimesh")


def as_mesh(shape: object) -> Mesh:
    return Mesh(np.array(shape.vertices), np.array(shape.faces, dtype=np.int32))  # type: ignore[attr-defined]


def box(x: float, y: float, z: float) -> Mesh:
    return as_mesh(trimesh.creation.box(extents=(x, y, z)))


def red(picture: np.ndarray) -> np.ndarray:
    p = picture.astype(int)
    return p[..., 0] > p[..., 2] + 60


def blue(picture: np.ndarray) -> np.ndarray:
    p = picture.astype(int)
    return p[..., 2] > p[..., 0] + 60


@pytest.mark.parametrize(("views", "shape"), [(1, (96, 96)), (2, (96, 192)), (4, (192, 192))])
def test_views_have_the_size_asked_for(views: int, shape: tuple[int, int]) -> None:
    picture = render_mesh(box(1, 2, 3), size=96, views=views)
    assert picture.shape == (*shape, 3)
    assert picture.dtype == np.uint8


def test_part_fills_the_picture_and_the_rim_is_background() -> None:
    picture = render_mesh(box(3, 2, 1), size=128, background=(10, 20, 30))
    part = (picture != (10, 20, 30)).any(axis=-1)
    rows, columns = np.nonzero(part)
    assert max(np.ptp(rows), np.ptp(columns)) > 0.8 * 128
    assert not (part[:2].any() or part[-2:].any() or part[:, :2].any() or part[:, -2:].any())


def test_picture_does_not_depend_on_unit_or_origin() -> None:
    part = as_mesh(trimesh.creation.cylinder(radius=1.0, height=3.0, sections=48))
    moved = Mesh(part.vertices * 25.4 + [500.0, -80.0, 3.0], part.faces)
    difference = np.abs(render_mesh(part, size=128).astype(int) - render_mesh(moved, size=128))
    assert difference.mean() < 0.1


def test_same_mesh_same_bytes() -> None:
    part = as_mesh(trimesh.creation.annulus(0.3, 1.0, 0.5))
    assert np.array_equal(
        render_mesh(part, size=100, views=4), render_mesh(part, size=100, views=4)
    )


def test_box_shows_three_tones_and_dark_edges_between() -> None:
    picture = render_mesh(box(1, 1, 1), size=256)
    tones, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    faces = tones[counts > 4000]
    assert len(faces) == 4  # three sides and the background
    edge = picture[140:192, 124:132].sum(axis=-1)
    assert (edge.min(axis=1) < 0.7 * np.minimum(edge[:, 0], edge[:, -1])).all()


def test_smooth_surfaces_get_no_lines_inside_and_boxes_one_patch_a_side() -> None:
    sphere = render_mesh(as_mesh(trimesh.creation.icosphere(subdivisions=3)), size=200)
    y, x = np.mgrid[0:200, 0:200]
    inside = np.hypot(x - 99.5, y - 99.5) < 80
    assert sphere[inside].min() > 70
    assert len(np.unique(Surface.of(box(1, 2, 3)).patch)) == 6
    cylinder = trimesh.creation.cylinder(radius=1.0, height=3.0, sections=48)
    loose = Mesh(np.array(cylinder.triangles).reshape(-1, 3), np.arange(192 * 3).reshape(-1, 3))
    assert len(np.unique(Surface.of(loose).patch)) == 3


def test_corner_normals_of_a_cylinder_point_away_from_its_axis() -> None:
    part = as_mesh(trimesh.creation.cylinder(radius=1.0, height=3.0, sections=48))
    surface = Surface.of(part)
    side = np.abs(surface.normals[:, 0, 2]) < 0.5
    radial = part.triangles[side] * [1, 1, 0]
    assert side.sum() == 96
    assert np.abs(surface.normals[side] - radial).max() < 0.05


def test_a_part_compared_with_itself_shows_no_difference() -> None:
    part = as_mesh(trimesh.creation.annulus(0.4, 1.0, 0.7))
    panel = comparison_picture(part, part, size=160)[:200, 320:]
    assert not red(panel[20:190]).any()
    assert not blue(panel[20:190]).any()


def test_missing_material_is_red_and_additional_material_blue() -> None:
    small, large = box(1, 1, 1), box(1, 1, 1.5)
    bar = (comparison_picture(small, small, size=160).shape[0] - 160) // 2
    lacking = comparison_picture(large, small, size=160)[bar : bar + 160, 320:]
    surplus = comparison_picture(small, large, size=160)[bar : bar + 160, 320:]
    assert red(lacking).sum() > 500 and not blue(lacking).any()
    assert blue(surplus).sum() > 500 and not red(surplus).any()


def test_panels_show_both_parts_from_one_camera() -> None:
    picture = comparison_picture(box(1, 1, 1), box(2, 1, 1), size=160, titles=("A", "B", "C"))
    assert picture.shape[1:] == (480, 3)
    widths = []
    for k in range(2):
        panel = picture[40:-40, 160 * k + 4 : 160 * k + 156].astype(int)
        columns = np.nonzero((panel.sum(axis=-1) < 600).any(axis=0))[0]
        widths.append(np.ptp(columns))
    assert widths[1] > 1.3 * widths[0]


def test_png_holds_the_same_pixels(tmp_path: Path) -> None:
    picture = render_mesh(box(1, 2, 3), size=80)
    save_png(picture, tmp_path / "part.png")
    assert np.array_equal(np.asarray(image.open(tmp_path / "part.png")), picture)


def test_what_is_not_a_picture_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an RGB"):
        save_png(np.zeros((4, 4, 3)), tmp_path / "x.png")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="missing"):
        save_png(np.zeros((4, 4, 3), np.uint8), tmp_path / "missing" / "x.png")


@pytest.mark.parametrize("options", [{"views": 0}, {"views": 3}, {"size": 10}, {"size": 10000}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError):
        render_mesh(box(1, 1, 1), **options)


def test_meshes_without_anything_to_see_are_refused() -> None:
    part = box(1, 1, 1)
    with pytest.raises(GeometryError, match="no faces"):
        render_mesh(Mesh(part.vertices, part.faces[:0]))
    with pytest.raises(GeometryError, match="one place"):
        render_mesh(Mesh(part.vertices * 0.0, part.faces))
    with pytest.raises(GeometryError, match="finite"):
        render_mesh(Mesh(part.vertices * np.inf, part.faces))
