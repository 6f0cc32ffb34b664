"""Any file a user may hand in -> a Shape in the USER frame, or one sentence why not.

Reads STL, OBJ, PLY, OFF, GLB, STEP (through a callable, since OpenCASCADE is not
imported here) and points as XYZ, TXT, CSV, NPY or PLY. Nothing is moved or scaled
and no unit is assumed. Not covered: closing gaps, textures, colours, normals.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.frames import normalise, placement_to_model
from cadwright.geometry.points_io import read_point_array, read_point_text
from cadwright.geometry.stl import (
    looks_like_binary_stl,
    looks_like_text_stl,
    read_stl,
    save_stl,
    too_many_faces,
)
from cadwright.geometry.touching import part_touching_edges
from cadwright.geometry.welding import (
    check_mesh,
    enclosed_volume,
    face_areas,
    flipped,
    is_closed,
    weld,
)
from cadwright.types import FloatArray, Mesh

__all__ = ["Shape", "load_shape", "save_stl", "shape_from_mesh", "shape_from_points"]

MAX_FACES = 20_000_000
MIN_POINTS = 16
# In the MODEL frame, where every shape is 2 long: below these only rounding is left.
NO_AREA = NO_VOLUME = 1e-12

TRIMESH_SUFFIXES = (".obj", ".ply", ".off", ".glb")
TEXT_SUFFIXES = (".xyz", ".txt", ".csv")
STEP_SUFFIXES = (".step", ".stp")
SUFFIXES = (".stl", *TRIMESH_SUFFIXES, *STEP_SUFFIXES, *TEXT_SUFFIXES, ".npy")

# First bytes of files, what they are, and the suffixes under which they are welcome.
SIGNATURES: tuple[tuple[bytes, str, tuple[str, ...]], ...] = (
    (b"\x89PNG", "a PNG picture", ()),
    (b"\xff\xd8\xff", "a JPEG picture", ()),
    (b"GIF8", "a GIF picture", ()),
    (b"PK\x03\x04", "a ZIP archive", (".npy",)),
    (b"\x1f\x8b", "a gzip archive", ()),
    (b"%PDF", "a PDF document", ()),
    (b"glTF", "a GLB file", (".glb",)),
    (b"ply\n", "a PLY file", (".ply",)),
    (b"ply\r", "a PLY file", (".ply",)),
    (b"OFF", "an OFF file", (".off",)),
    (b"ISO-10303-21", "a STEP file", STEP_SUFFIXES),
    (b"\x93NUMPY", "a NumPy file", (".npy",)),
)

StepReader = Callable[[Path], Mesh]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What the user handed in, USER frame. Exactly one of ``mesh`` and ``points`` is set.

    Attributes:
        name: the file's name without suffix, for messages and output names.
        mesh: the welded surface, every vertex used by a face. Bodies of a solid that touch in an
            edge have vertices of their own there.
        points: (N, 3) float64, at least 16 rows.
        kind: "solid" for a closed mesh with one outside and positive volume, "surface"
            for any other mesh, "points" for a cloud.
    """

    name: str
    mesh: Mesh | None
    points: FloatArray | None
    kind: Literal["solid", "surface", "points"]

    def __post_init__(self) -> None:
        if (self.mesh is None) == (self.points is None):
            raise GeometryError("a shape is either a mesh or points.")
        if (self.points is not None) != (self.kind == "points"):
            raise GeometryError(f"a shape of kind {self.kind!r} holds the wrong data.")

    @property
    def bounds(self) -> FloatArray:
        """(2, 3) float64: lower and upper corner, USER frame."""
        if self.mesh is not None:
            return self.mesh.bounds
        points = np.asarray(self.points)
        return np.stack([points.min(axis=0), points.max(axis=0)])


def load_shape(
    path: str | os.PathLike[str],
    *,
    step_reader: StepReader | None = None,
    max_faces: int = MAX_FACES,
) -> Shape:
    """Read a mesh, a point cloud or (with a reader) a STEP file.

    Args:
        path: the file; its suffix, in either case, names the format.
        step_reader: turns the path of a STEP file into a mesh in the file's own unit.
        max_faces: a mesh of more triangles than this is refused.
    Returns:
        The shape in the USER frame; a closed mesh that is inside out comes back flipped.
    Raises:
        InputError: the file is missing, cannot be read, is not what its name says, or
            holds no usable shape. The message is one sentence that names the file.
    """
    path = Path(path)
    try:
        _check_file(path)
        shape = _read(path, step_reader, max_faces)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path.name}: the file cannot be read ({reason}).") from error
    except GeometryError as error:
        raise InputError(f"{path.name}: {error}") from error
    return shape


def shape_from_mesh(mesh: Mesh, name: str) -> Shape:
    """Weld a mesh, judge it, and turn it outside out if need be.

    Args:
        mesh: USER frame; vertices may be doubled or unused.
        name: for messages and output names.
    Raises:
        GeometryError: a face names no vertex, or there is no area, no extent, or a
            coordinate that is not finite.
    """
    check_mesh(mesh.vertices, mesh.faces)
    return _judge(weld(np.asarray(mesh.vertices, dtype=np.float64), mesh.faces), name)


def shape_from_points(points: ArrayLike, name: str) -> Shape:
    """A point cloud as a Shape. ``points``: (N, 3), USER frame.

    Raises:
        GeometryError: fewer than 16 points, no extent, or a coordinate that is not finite.
    """
    cloud = np.array(points, dtype=np.float64)
    if cloud.ndim != 2 or cloud.shape[1] != 3:
        raise GeometryError(f"points need shape (N, 3), not {cloud.shape}.")
    if len(cloud) < MIN_POINTS:
        raise GeometryError(f"{len(cloud)} points are too few, {MIN_POINTS} are needed.")
    placement_to_model(np.stack([cloud.min(axis=0), cloud.max(axis=0)]))  # raises if it cannot
    return Shape(name, None, cloud, "points")


def _judge(mesh: Mesh, name: str) -> Shape:
    """A welded mesh as a Shape."""
    if not len(mesh.faces):
        raise GeometryError("the shape has no triangle with three different corners.")
    inner = normalise(mesh, placement_to_model(mesh.bounds))
    if not face_areas(inner).sum() > NO_AREA:
        raise GeometryError("the shape has no triangle with any area.")
    volume = enclosed_volume(inner) if is_closed(inner) else 0.0
    if volume < -NO_VOLUME:
        mesh = flipped(mesh)
    if abs(volume) <= NO_VOLUME:
        return Shape(name, mesh, None, "surface")
    return Shape(name, part_touching_edges(mesh), None, "solid")


def _check_file(path: Path) -> None:
    """Refuse what is no file, is empty, or is by its first bytes of another format."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file.")
    if not path.is_file():
        raise InputError(f"{path}: this is a folder or a device, not a file.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise InputError(f"{path.name}: unknown kind of file, the known ones end in {known}.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path.name}: the file is empty.")
    with path.open("rb") as file:
        found = _recognise(file.read(1024), size)
    if found is not None and suffix not in found[1]:
        raise InputError(f"{path.name}: this is {found[0]}, although its name ends in {suffix}.")


def _recognise(head: bytes, size: int) -> tuple[str, tuple[str, ...]] | None:
    """What a file is by its first bytes, and the suffixes it may have; None if unknown."""
    for signature, what, suffixes in SIGNATURES:
        if head.startswith(signature):
            return what, suffixes
    text_stl = looks_like_text_stl(head) and b"facet" in head.lower()
    if text_stl or looks_like_binary_stl(head, size):
        return "an STL file", (".stl",)
    return None


def _read(path: Path, step_reader: StepReader | None, max_faces: int) -> Shape:
    suffix = path.suffix.lower()
    if suffix == ".stl":
        return _judge(read_stl(path, max_faces=max_faces), path.stem)
    if suffix == ".npy":
        return shape_from_points(read_point_array(path), path.stem)
    if suffix in TEXT_SUFFIXES:
        return shape_from_points(read_point_text(path), path.stem)
    if suffix in TRIMESH_SUFFIXES:
        content = _read_with_trimesh(path)
    elif step_reader is not None:
        content = step_reader(path)
    else:
        needed = "STEP files need the exact kernel: pip install 'cadwright[cad]'"
        raise InputError(f"{path.name}: {needed}.")
    if not isinstance(content, Mesh):
        return shape_from_points(content, path.stem)
    if len(content.faces) > max_faces:
        raise too_many_faces(path.name, len(content.faces), max_faces)
    return shape_from_mesh(content, path.stem)


def _read_with_trimesh(path: Path) -> Mesh | FloatArray:
    """OBJ, PLY, OFF or GLB: all its meshes in one, or its points if it has no mesh."""
    import trimesh

    suffix = path.suffix.lower()
    options: dict[str, Any] = {"skip_materials": True} if suffix == ".obj" else {}
    with path.open("rb") as file:  # an open file, so that no file beside it is ever read
        try:
            scene = trimesh.load_scene(file, file_type=suffix[1:], process=False, **options)
            parts = scene.dump()
        except Exception as error:  # the parsers raise whatever their input makes them
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
            what = suffix[1:].upper()
            raise InputError(
                f"{path.name}: the {what} file is damaged or not {what} ({reason})."
            ) from error
    return _joined(parts, path.name)


def _joined(parts: Any, name: str) -> Mesh | FloatArray:
    meshes = [part for part in parts if len(getattr(part, "faces", ())) > 0]
    if not meshes:
        clouds = [np.asarray(part.vertices) for part in parts if hasattr(part, "vertices")]
        for cloud in clouds:
            check_mesh(cloud, np.zeros((0, 3), dtype=np.int32))
        if not clouds:
            raise InputError(f"{name}: the file holds neither triangles nor points.")
        return np.concatenate(clouds).astype(np.float64)
    for mesh in meshes:  # here, because a shift could make a bad index look good
        check_mesh(mesh.vertices, mesh.faces)
    counts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    faces = [np.asarray(mesh.faces) + shift for mesh, shift in zip(meshes, counts, strict=True)]
    vertices = np.concatenate([np.asarray(mesh.vertices) for mesh in meshes])
    return Mesh(vertices.astype(np.float64), np.concatenate(faces).astype(np.int32))
