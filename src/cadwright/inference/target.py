"""Anything a user hands in -> a target in the PROGRAM frame, with the way back.

In: a path, a Mesh, a trimesh object or an (N, 3) array. Out: the shape in the USER frame, the
same in the PROGRAM frame, samplings for the model, and the scorer and search target made of
it. Not covered: reading STEP files, which a callable of the exact kernel does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.frames import (
    PROGRAM_TO_MODEL,
    Placement,
    normalise,
    placement_to_program,
)
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import Shape, load_shape, shape_from_mesh, shape_from_points
from cadwright.geometry.mesh_to_points import mesh_to_points, points_to_points
from cadwright.geometry.point_normals import points_to_planes
from cadwright.geometry.pose import find_axes
from cadwright.geometry.welding import is_closed
from cadwright.inference.candidates import Scorer
from cadwright.inference.prompt import safe_name
from cadwright.inference.search.search import MANY_FACES, SearchTarget
from cadwright.program.grammar import Box, Plane, Program, tidy
from cadwright.types import FloatArray, Mesh

# a path, a Mesh, a Shape, a trimesh.Trimesh or PointCloud, or an (N, 3) array of points
PartSource: TypeAlias = "str | os.PathLike[str] | Mesh | Shape | NDArray[Any] | Any"

MAX_FACES = 5_000_000  # of what is reconstructed: beyond, ranking takes minutes and gigabytes
POSE_POINTS = 8192  # of a cloud, to find its axes
SLIGHT = 5.0  # degrees; a solid that seems askew by less may have slanted walls instead
STRAIGHT_SHARE = 0.03  # of its area, that must be along an axis to show that it is not askew
THINNEST = 1.0  # PROGRAM units; a flat surface gets a bounding box of this height


@dataclass(frozen=True, slots=True, eq=False)
class PreparedTarget:
    """A part made ready to be reconstructed.

    Attributes:
        shape: as it came, USER frame.
        to_user: the way from the PROGRAM to the USER frame.
        inner: PROGRAM frame; of kind "solid" only where volumes can be compared, and
            simplified by less than 0.05 units where it has very many faces.
        scorer: ranks candidates.
        search_target: for search.
    """

    shape: Shape
    to_user: Placement
    inner: Shape
    scorer: Scorer
    search_target: SearchTarget


def read_part(
    source: PartSource, *, name: str | None, step_reader: Callable[[Path], Mesh]
) -> Shape:
    """Bring any source into the form of a Shape, USER frame.

    Raises:
        InputError: the file cannot be used, or this is no shape at all.
        GeometryError: the mesh or the points have no usable geometry, or the mesh is closed
            around no volume, or not manifold.
    """
    if isinstance(source, (str, os.PathLike)):
        shape = load_shape(source, step_reader=step_reader, max_faces=MAX_FACES)
    elif isinstance(source, Shape):
        shape = source
    elif isinstance(source, Mesh):
        shape = shape_from_mesh(source, "part")
    elif isinstance(source, np.ndarray):
        shape = shape_from_points(source, "part")
    elif hasattr(source, "vertices"):  # trimesh's classes, not imported for this question
        shape = _from_trimesh(source)
    else:
        raise InputError(
            f"a part is a path, a mesh or an (N, 3) array of points, not a {type(source).__name__}"
        )
    _refuse_broken(shape)
    return replace(shape, name=safe_name(name if name is not None else shape.name))


def prepare(shape: Shape, *, seed: int) -> PreparedTarget:
    """Normalise a part and make its scorer and search target.

    Raises:
        GeometryError: the part has no extent.
    """
    to_program = _upright(shape, seed=seed)
    inner = _placed(shape, to_program)
    if inner.kind == "solid" and len(_mesh(inner).faces) > MANY_FACES:
        solid = SearchTarget.from_shape(inner).solid
        inner = replace(inner, mesh=None if solid is None else manifold_to_mesh(solid))
    scorer = Scorer(inner, seed=seed)
    if inner.kind == "solid" and not scorer.is_solid:
        inner = replace(inner, kind="surface")
    return PreparedTarget(
        shape, to_program.inverse(), inner, scorer, SearchTarget.from_shape(inner, seed=seed)
    )


def shape_to_point_sets(
    inner: Shape, *, num_sets: int, num_points: int, seed: int
) -> list[NDArray[np.float32]]:
    """Samplings of a part as the model reads them.

    Args:
        inner: PROGRAM frame.
        num_sets: how many.
        num_points: P, points of each.
        seed: set k is drawn with ``seed + k``.
    Returns:
        ``num_sets`` arrays (P, 3) float32, MODEL frame.
    """
    seeds = range(seed, seed + num_sets)
    if inner.mesh is not None:
        mesh = normalise(inner.mesh, PROGRAM_TO_MODEL)
        return [mesh_to_points(mesh, num_points=num_points, seed=own) for own in seeds]
    cloud = PROGRAM_TO_MODEL.apply(np.asarray(inner.points))
    return [points_to_points(cloud, num_points=num_points, seed=own) for own in seeds]


def bounding_box_program(inner: Shape) -> Program:
    """The last resort: one box around the part, PROGRAM frame."""
    lower, upper = inner.bounds
    x, y, z = (tidy(round(max(float(side), THINNEST) * 2) / 2) for side in upper - lower)
    plane = Plane("XY", (0, 0, 0))
    return Program((plane,), (Box(0, 0, (0, 0), (x, y, z)),))


def _refuse_broken(shape: Shape) -> None:
    """An open surface is legal; one that contradicts itself is not.

    Raises:
        GeometryError: the mesh is closed around no volume, or an edge has three faces or more.
    """
    if shape.mesh is None or shape.kind == "solid":
        return
    if is_closed(shape.mesh):
        raise GeometryError(f"{shape.name}: the mesh is closed but encloses no volume.")
    faces = shape.mesh.faces.astype(np.int64)
    edges = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)
    keys = (edges.min(axis=1) << 32) | edges.max(axis=1)
    _, counts = np.unique(keys, return_counts=True)
    if int(counts.max()) > 2:
        raise GeometryError(
            f"{shape.name}: the mesh is not manifold: {int((counts > 2).sum())} of its edges have "
            f"three faces or more, so inside and outside cannot be told apart."
        )


def _upright(shape: Shape, *, seed: int) -> Placement:
    """USER to PROGRAM frame, turned into the part's own axes where it stands askew."""
    if shape.mesh is not None:
        corners = shape.mesh.triangles
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
        areas = np.linalg.norm(normals, axis=1)
        normals = normals / np.maximum(areas, 1e-300)[:, None]
    else:
        points = np.asarray(shape.points, dtype=np.float64)
        some = np.random.default_rng([seed, 19]).permutation(len(points))[:POSE_POINTS]
        normals, areas, _ = points_to_planes(points[some])
    # Of a solid's flat faces the pose is exact; noise hides a turn of less than a degree.
    straight = 0.3 if shape.kind == "solid" else 1.0
    rotation = find_axes(normals, areas, straight_degrees=straight, seed=seed)
    slight = rotation is not None and np.trace(rotation) > 1 + 2 * np.cos(np.deg2rad(SLIGHT))
    if rotation is None or (slight and shape.kind == "solid" and _is_straight(normals, areas)):
        return placement_to_program(shape.bounds)
    turn = Placement(1.0, np.zeros(3), rotation)
    return placement_to_program(_placed(shape, turn).bounds).compose(turn)


def _is_straight(normals: FloatArray, areas: FloatArray) -> bool:
    """Whether flat faces look exactly along two of x, y and z: then a slanted wall is slanted."""
    along = (np.abs(normals) > np.cos(np.deg2rad(0.05))).astype(np.float64)
    shares = (along * areas[:, None]).sum(axis=0) / areas.sum()
    return int((shares >= STRAIGHT_SHARE).sum()) >= 2


def _placed(shape: Shape, placement: Placement) -> Shape:
    if shape.mesh is not None:
        return replace(shape, mesh=normalise(shape.mesh, placement))
    return replace(shape, points=placement.apply(np.asarray(shape.points)))


def _mesh(shape: Shape) -> Mesh:
    assert shape.mesh is not None
    return shape.mesh


def _from_trimesh(source: Any) -> Shape:
    vertices = np.asarray(source.vertices, dtype=np.float64)
    faces = getattr(source, "faces", None)
    if faces is None or not len(faces):
        return shape_from_points(vertices, "part")
    return shape_from_mesh(Mesh(vertices, np.asarray(faces, dtype=np.int32)), "part")
