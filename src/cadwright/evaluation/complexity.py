"""How complex a target is: how many faces and bodies it has, and the class that makes.

In: a mesh in any frame. Out: counts and class names. A mesh does not know the faces of the solid
it was made of: triangles that meet at less than 20 degrees count as one face, so a cylinder is
three, and a plane that runs on tangentially into a fillet is one with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.rasterise import compiled, cross_rows
from cadwright.types import Mesh

SMOOTH_DEGREES = 20.0  # fine tessellations turn by 6 degrees from triangle to triangle
# lower bounds of the classes; the median targets of CADBench's easy, medium and hard DeepCAD have
# 7, 12 and 27 faces
FACE_CLASSES = (1, 8, 16, 32)
BODY_CLASSES = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Complexity:
    """Counts of one mesh.

    Attributes:
        num_faces: smooth patches.
        num_bodies: parts that no triangle connects, hollows not counted where volumes tell.
    """

    num_faces: int
    num_bodies: int


def mesh_to_complexity(mesh: Mesh) -> Complexity:
    """Count the smooth patches and the separate bodies of a welded mesh."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    cross = cross_rows(b - a, c - a)
    length = np.sqrt((cross * cross).sum(axis=1))
    normals = cross / np.where(length > 0, length, 1.0)[:, None]
    one, two = _neighbours(mesh)
    smooth = (normals[one] * normals[two]).sum(axis=1) > np.cos(np.radians(SMOOTH_DEGREES))
    # A triangle without area has no direction, so it never separates its two neighbours.
    smooth |= (length[one] == 0) | (length[two] == 0)
    groups = compiled(_groups)
    patch, shell = groups(len(mesh.faces), one[smooth], two[smooth]), groups(len(a), one, two)
    volumes = np.bincount(shell, (a * cross).sum(axis=1), len(a))
    num_shells = len(np.unique(shell))
    return Complexity(len(np.unique(patch)), int((volumes > 0).sum()) or num_shells)


def class_of(count: int, bounds: Sequence[int]) -> str:
    """The name of the class a count falls in, such as '8-15' or '32+'."""
    place = max(int(np.searchsorted(bounds, count, side="right")) - 1, 0)
    return class_names(bounds)[place]


def class_names(bounds: Sequence[int]) -> list[str]:
    """Names of all classes, the simplest first."""
    names = [
        str(low) if high - low == 1 else f"{low}-{high - 1}"
        for low, high in zip(bounds, bounds[1:], strict=False)
    ]
    return [*names, f"{bounds[-1]}+"]


def _neighbours(mesh: Mesh) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of triangles that share an edge; of three at one edge, each with the next."""
    faces = mesh.faces.astype(np.int64)
    ends = faces[:, [1, 2, 0]]
    keys = np.minimum(faces, ends) * (len(mesh.vertices) + 1) + np.maximum(faces, ends)
    order = np.argsort(keys.ravel())
    ordered = keys.ravel()[order]
    same = ordered[1:] == ordered[:-1]
    owner = order // 3
    return owner[:-1][same], owner[1:][same]


def _groups(num, one, two):  # type: ignore[no-untyped-def]
    """(num,) for each item the lowest of those it hangs together with (numba)."""
    root = np.arange(num)
    for pair in range(one.shape[0]):
        a, b = one[pair], two[pair]
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        while root[b] != b:
            root[b] = root[root[b]]
            b = root[b]
        root[max(a, b)] = min(a, b)
    for item in range(num):
        root[item] = root[root[item]]  # lower items are done, so this is the root
    return root
