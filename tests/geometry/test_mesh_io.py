"""load_shape: every format gives the same shape, and every bad file one sentence that names it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import manifold3d
import numpy as np
import pytest
import trimesh

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.manifolds import manifold_to_mesh, mesh_to_manifold
from cadwright.geometry.mesh_io import (
    Shape,
    load_shape,
    save_stl,
    shape_from_mesh,
    shape_from_points,
)
from cadwright.geometry.welding import flipped
from cadwright.types import Mesh

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
SOLID = manifold_to_mesh(
    manifold3d.Manifold.cube((4.0, 3.0, 2.0)).translate((10.0, 0.0, -7.0))
    - manifold3d.Manifold.cylinder(9.0, 0.5, 0.5, 16).translate((11.5, 1.5, -9.0))
)
CLOUD = np.random.default_rng(0).normal(size=(40, 3))


def as_trimesh(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def text_stl(mesh: Mesh, name: str = "part") -> str:
    lines = [f"solid {name}"]
    for triangle in mesh.triangles:
        lines += ["  facet normal 0 0 0", "    outer loop"]
        lines += [f"      vertex {x:.9e} {y:.9e} {z:.9e}" for x, y, z in triangle]
        lines += ["    endloop", "  endfacet"]
    return "\n".join([*lines, f"endsolid {name}", ""])


def refused(path: Path, **options) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(InputError) as caught:
        load_shape(path, **options)
    sentence = str(caught.value)
    assert path.name in sentence and sentence.endswith(".") and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("number", range(12))
def test_the_reference_solids_are_solids_that_the_kernel_takes(number: int) -> None:
    shape = load_shape(SHAPES / f"{number:02}.stl")
    assert shape.kind == "solid" and shape.name == f"{number:02}"
    assert mesh_to_manifold(shape.mesh).volume() == pytest.approx(shape.mesh.signed_volume)
    assert (shape.bounds[1] - shape.bounds[0]).max() == pytest.approx(1)


@pytest.mark.parametrize("suffix", ["stl", "obj", "ply", "off", "glb", "STL", "Obj"])
def test_every_mesh_format_gives_the_same_solid(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"part.{suffix}"
    path.write_bytes(_bytes(as_trimesh(SOLID).export(file_type=suffix.lower())))
    shape = load_shape(path)
    assert (shape.name, shape.kind, shape.points) == ("part", "solid", None)
    assert len(shape.mesh.vertices) == len(SOLID.vertices)
    assert np.allclose(shape.bounds, SOLID.bounds, atol=1e-6)
    assert shape.mesh.signed_volume == pytest.approx(SOLID.signed_volume, rel=1e-5)


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


@pytest.mark.parametrize("change", [str, str.upper, lambda t: "\ufeff\n" + t.replace("\n", "\r\n")])
def test_text_stl_in_its_spellings(tmp_path: Path, change) -> None:
    path = tmp_path / "part.stl"
    path.write_bytes(change(text_stl(SOLID)).encode())
    assert load_shape(path).kind == "solid"


def test_text_stl_larger_than_a_block_loses_nothing(tmp_path, monkeypatch) -> None:
    path = tmp_path / "part.stl"
    path.write_text(text_stl(SOLID))
    monkeypatch.setattr("cadwright.geometry.stl.TEXT_BLOCK", 300)
    assert np.allclose(load_shape(path).mesh.triangles, SOLID.triangles, atol=1e-6)


def test_all_solids_of_a_text_stl_count(tmp_path: Path) -> None:
    path = tmp_path / "two.stl"
    path.write_text(text_stl(SOLID, "a") + text_stl(Mesh(SOLID.vertices + 9, SOLID.faces), "b c"))
    assert load_shape(path).mesh.signed_volume == pytest.approx(2 * SOLID.signed_volume, rel=1e-5)


def test_binary_stl_whose_header_says_solid(tmp_path: Path) -> None:
    path = tmp_path / "part.stl"
    save_stl(SOLID, path)
    path.write_bytes(b"solid facet".ljust(80) + path.read_bytes()[80:])
    assert load_shape(path).kind == "solid"


def test_save_stl_round_trip_is_exact_in_float32(tmp_path: Path) -> None:
    path = tmp_path / "part.stl"
    save_stl(SOLID, path)
    assert path.stat().st_size == 84 + 50 * len(SOLID.faces)
    triangles = load_shape(path).mesh.triangles
    assert np.array_equal(triangles, SOLID.triangles.astype(np.float32))
    assert [p.name for p in tmp_path.iterdir()] == ["part.stl"]
    other = trimesh.load_mesh(path, process=False)  # another reader agrees, normals too
    assert np.allclose(other.triangles, SOLID.triangles, atol=1e-6)
    assert np.allclose(other.face_normals, as_trimesh(SOLID).face_normals, atol=1e-5)


def test_saving_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        save_stl(SOLID, tmp_path / "nowhere" / "part.stl")


def test_an_inside_out_solid_is_turned() -> None:
    shape = shape_from_mesh(flipped(SOLID), "part")
    assert shape.kind == "solid"
    assert shape.mesh.signed_volume == pytest.approx(SOLID.signed_volume)


def test_what_is_open_or_flat_or_of_two_minds_is_a_surface() -> None:
    assert shape_from_mesh(Mesh(SOLID.vertices, SOLID.faces[2:]), "open").kind == "surface"
    turned = np.concatenate([SOLID.faces[:1, ::-1], SOLID.faces[1:]])
    assert shape_from_mesh(Mesh(SOLID.vertices, turned), "turned").kind == "surface"
    sheet = np.array([[0, 1, 2], [0, 2, 1]])  # closed, but nothing inside
    assert shape_from_mesh(Mesh(np.eye(3), sheet), "sheet").kind == "surface"


@pytest.mark.parametrize("scale", [1e-120, 1e-9, 1e9, 1e120])
def test_any_unit_will_do(scale: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        assert shape_from_mesh(Mesh(SOLID.vertices * scale, SOLID.faces), "part").kind == "solid"


def test_vertices_without_a_face_do_not_stretch_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "part.obj"
    path.write_text(
        "v 99 99 99\n" + "".join(f"v {x} {y} {z}\n" for x, y, z in np.eye(3)) + "f 2 3 4"
    )
    assert load_shape(path).bounds.max() == 1


def test_polygons_become_triangles(tmp_path: Path) -> None:
    path = tmp_path / "part.off"
    path.write_text("OFF\n5 1 0\n0 0 0\n2 0 0\n3 1 0\n2 2 0\n0 2 0\n5 0 1 2 3 4\n")
    mesh = load_shape(path).mesh
    assert trimesh.triangles.area(mesh.triangles).sum() == pytest.approx(5)


def test_meshes_of_a_scene_come_where_the_scene_puts_them(tmp_path: Path) -> None:
    scene = trimesh.Scene(as_trimesh(SOLID))
    scene.add_geometry(as_trimesh(SOLID), transform=trimesh.transformations.scale_matrix(2))
    path = tmp_path / "part.glb"
    path.write_bytes(scene.export(file_type="glb"))
    shape = load_shape(path)
    assert shape.kind == "solid"
    assert shape.mesh.signed_volume == pytest.approx(9 * SOLID.signed_volume, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.xyz", "\n".join(f"{x} {y} {z}" for x, y, z in CLOUD)),
        ("c.TXT", "# scan\n\n" + "\n".join(f"{x}\t{y}\t{z}\t0\t0\t1" for x, y, z in CLOUD)),
        ("c.csv", "x,y,z,r\n" + "\n".join(f"{x}, {y}, {z}, 255" for x, y, z in CLOUD)),
        ("c.csv", "\ufeff// scan\r\n" + "\r\n".join(f"{x};{y};{z};red" for x, y, z in CLOUD)),
    ],
)
def test_points_in_text_in_its_spellings(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    shape = load_shape(path)
    assert (shape.name, shape.kind, shape.mesh) == ("c", "points", None)
    assert np.array_equal(shape.points, CLOUD)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int16, np.uint8])
def test_points_as_arrays(tmp_path: Path, dtype) -> None:
    rows = (CLOUD * 20 + 100).astype(dtype)
    for columns in (rows, np.asfortranarray(np.concatenate([rows, rows], axis=1))):
        np.save(tmp_path / "c.npy", columns)
        points = load_shape(tmp_path / "c.npy").points
        assert np.array_equal(points, rows) and points.dtype == np.float64
        assert points.flags.writeable


def test_a_ply_of_points_is_points(tmp_path: Path) -> None:
    path = tmp_path / "c.ply"
    path.write_bytes(trimesh.PointCloud(CLOUD).export(file_type="ply"))
    shape = load_shape(path)
    assert shape.kind == "points" and np.allclose(shape.points, CLOUD, atol=1e-6)


def test_step_goes_through_the_reader_or_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "part.STEP"
    path.write_text("ISO-10303-21;")
    assert (
        load_shape(path, step_reader=lambda given: SOLID if given == path else None).kind == "solid"
    )
    assert "cadwright[cad]" in refused(path)


def _binary_stl(num_faces: int) -> bytes:
    return bytes(80) + num_faces.to_bytes(4, "little")


WHOLE = _binary_stl(len(SOLID.faces)) + bytes(50 * len(SOLID.faces))
TEXT = text_stl(SOLID)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
NAN_STL = TEXT.replace("vertex", "vertex nan nan nan #", 1)
BAD_FILES = [
    ("a.stl", b"", "empty"),
    ("a.xyz", b"", "empty"),
    ("a.stl", b"hello, this is a letter\n" * 20, "not an STL"),
    ("a.stl", b"solid advice, not a part\n" * 20, "not an STL|cut off"),
    ("a.stl", b"hi", "not an STL"),
    ("a.stl", PNG, "a PNG picture"),
    ("a.ply", PNG, "a PNG picture"),
    ("a.xyz", PNG, "a PNG picture"),
    ("a.stl", b"ISO-10303-21;\n", "a STEP file"),
    ("a.stl", b"ply\nformat ascii 1.0\n", "a PLY file"),
    ("a.obj", TEXT.encode(), "an STL file"),
    ("a.obj", WHOLE, "an STL file"),
    ("a.xyz", TEXT.encode(), "an STL file"),
    ("a.stl", WHOLE[:-1], f"cut off after {len(SOLID.faces) - 1} of {len(SOLID.faces)}"),
    ("a.stl", WHOLE[:84], "cut off after 0 of"),
    ("a.stl", WHOLE + bytes(1000), "1000 bytes longer"),
    ("a.stl", TEXT[: len(TEXT) // 2].encode(), "cut off"),
    ("a.stl", TEXT.removesuffix("endsolid part\n").encode(), "cut off"),
    ("a.stl", (TEXT + TEXT[:300]).encode(), "cut off"),
    ("a.stl", TEXT.replace("vertex", "vertex 1,5", 1).encode(), "not three numbers"),
    ("a.stl", NAN_STL.encode(), "not finite"),
    ("a.stl", TEXT.replace("e+00", "e+999").encode(), "not finite"),
    ("a.stl", WHOLE, "no triangle"),
    ("a.stl", _binary_stl(0), "no triangle"),
    ("a.stl", b"solid\nendsolid\n", "no triangle"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no triangle with any area"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "OBJ"),
    ("a.obj", b"v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n", "shape"),
    ("a.obj", b"just words\n", "neither triangles nor points"),
    ("a.off", b"OFF\n8 12 0\n1 2 3\n", "OFF"),
    ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "vertex|OFF"),
    ("a.ply", b"words\n", "PLY"),
    ("a.glb", b"glTF" + bytes(100), "GLB"),
    ("a.xyz", b"1 2 3\n" * 15, "15 points are too few"),
    ("a.xyz", b"1 2 3\n" * 20, "no extent"),
    ("a.xyz", b"1 2 3\n1 2\n" * 20, "line 2 is not at least three numbers"),
    ("a.csv", b"x,y,z\n# two\n1,2,3\n4,5,six\n" * 20, "line 4"),
    ("a.xyz", b"1 2 nan\n3 4 5\n" * 20, "not finite"),
    ("a.xyz", b"one\ntwo\n", "line 2"),
    ("a.xyz", b"# nothing\n", "no points"),
    ("a.xyz", b"\xff\xfe\x00\x80" * 20, "not a text file"),
    ("a.npy", b"\x93NUMPY\x01", "cut off"),
    ("a.npy", b"not numpy", "NumPy"),
    ("a.npy", b"\x93NUMPY\x01\x00\x20\x00" + b"{'descr': (".ljust(32), "damaged"),
    ("a.doc", b"x", "unknown kind"),
    ("a", b"x", "unknown kind"),
]


@pytest.mark.parametrize(("name", "content", "reason"), BAD_FILES)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, name, content, reason) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert re.search(reason, refused(path))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros((20, 4)), "shape"),
        (np.zeros(60), "shape"),
        (np.zeros((20, 3), dtype=complex), "real numbers"),
        (np.full((20, 3), "a"), "real numbers"),
        (np.full((20, 3), None), "Python objects"),
        (np.zeros((0, 3)), "cut off|too few"),
    ],
)
def test_an_array_that_is_no_cloud_is_refused(tmp_path: Path, rows, reason: str) -> None:
    np.save(tmp_path / "a.npy", rows)
    assert re.search(reason, refused(tmp_path / "a.npy"))


def test_an_array_that_promises_more_than_it_has_takes_no_memory(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}
    np.lib.format.write_array_header_1_0(buffer, header)
    (tmp_path / "a.npy").write_bytes(buffer.getvalue() + bytes(100))
    assert "cut off" in refused(tmp_path / "a.npy")


def test_an_archive_of_arrays_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", CLOUD)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    assert "NPZ" in refused(tmp_path / "a.npy")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "a.stl")
    (tmp_path / "folder.stl").mkdir()
    assert "not a file" in refused(tmp_path / "folder.stl")
    assert "cannot be read" in refused(tmp_path / ("a" * 300 + ".stl"))


def test_a_file_without_permission_is_named(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.stl"
    path.write_bytes(WHOLE)

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)  # a test may run as root, who may read all
    assert "Permission denied" in refused(path)


@pytest.mark.parametrize("suffix", ["stl", "ply"])
def test_too_many_faces_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(_bytes(as_trimesh(SOLID).export(file_type=suffix)))
    assert "more than the 10 allowed" in refused(path, max_faces=10)
    if suffix == "stl":
        path.write_text(text_stl(SOLID))
        assert "more than the 10 allowed" in refused(path, max_faces=10)


@pytest.mark.parametrize("suffix", ["stl", "obj", "ply", "off", "glb", "npy", "xyz", "csv"])
def test_damaged_files_give_a_shape_or_one_sentence_never_another_error(
    tmp_path: Path, suffix: str
) -> None:
    if suffix in ("npy", "xyz", "csv"):
        buffer = io.BytesIO()
        np.save(buffer, CLOUD) if suffix == "npy" else np.savetxt(buffer, CLOUD)
        whole = buffer.getvalue()
    else:
        whole = _bytes(as_trimesh(SOLID).export(file_type=suffix))
    rng = np.random.default_rng(1)
    path = tmp_path / f"part.{suffix}"
    for _ in range(60):
        data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(data), rng.integers(0, 6)):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            with np.errstate(all="ignore"):
                assert isinstance(load_shape(path), Shape)
        except InputError as error:
            assert path.name in str(error) and "\n" not in str(error)


def test_a_shape_is_either_mesh_or_points() -> None:
    for mesh, points, kind in [
        (None, None, "points"),
        (SOLID, CLOUD, "solid"),
        (SOLID, None, "points"),
        (None, CLOUD, "surface"),
    ]:
        with pytest.raises(GeometryError):
            Shape("part", mesh, points, kind)
    with pytest.raises(GeometryError, match="shape"):
        shape_from_points(np.zeros((20, 2)), "part")


@pytest.mark.slow
def test_a_million_triangles_are_read_whole(tmp_path: Path) -> None:
    size = 708
    column, row = np.divmod(np.arange(size * size), size)
    turn, tilt = column / size * 2 * np.pi, row / size * 2 * np.pi
    ring = 3 + np.cos(tilt)
    vertices = np.stack([ring * np.cos(turn), ring * np.sin(turn), np.sin(tilt)], axis=1)
    at = lambda c, r: c % size * size + r % size  # noqa: E731
    one = np.stack([at(column, row), at(column + 1, row), at(column + 1, row + 1)], axis=1)
    two = np.stack([at(column, row), at(column + 1, row + 1), at(column, row + 1)], axis=1)
    faces = np.concatenate([one, two]).astype(np.int32)
    save_stl(Mesh(vertices, faces), tmp_path / "torus.stl")
    shape = load_shape(tmp_path / "torus.stl")
    assert shape.kind == "solid"
    assert (len(shape.mesh.vertices), len(shape.mesh.faces)) == (size * size, 2 * size * size)
    assert shape.mesh.signed_volume == pytest.approx(6 * np.pi**2, rel=1e-4)
