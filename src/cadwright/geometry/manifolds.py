"""Between a Mesh and manifold3d's solid, in any frame, in double precision.

A mesh must be welded, closed and right side out. What overlaps itself (bodies that
were never united, as exported assemblies often are) can be made one solid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cadwright.errors import GeometryError
from cadwright.types import Mesh

if TYPE_CHECKING:
    from manifold3d import Manifold


def mesh_to_manifold(mesh: Mesh) -> Manifold:
    """Hand a closed mesh to manifold3d.

    Args:
        mesh: welded, any frame.
    Raises:
        GeometryError: it is not closed, or not a positive volume.
    """
    import manifold3d

    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.uint64)
    if not len(faces):
        raise GeometryError("a mesh without faces encloses no volume.")
    solid = manifold3d.Manifold(manifold3d.Mesh64(vertices, faces))
    if solid.status() != manifold3d.Error.NoError:
        reason = solid.status().name
        raise GeometryError(f"the mesh is not closed or not a valid solid ({reason}).")
    if not solid.volume() > 0:
        raise GeometryError("the mesh is inside out or encloses no volume.")
    return solid


def manifold_to_mesh(solid: Manifold) -> Mesh:
    """The surface of a solid, in the solid's own frame."""
    data = solid.to_mesh64()
    vertices = np.array(data.vert_properties[:, :3], dtype=np.float64)
    return Mesh(vertices, np.array(data.tri_verts, dtype=np.int32))


def unite_parts(solid: Manifold) -> Manifold:
    """One solid of parts that may overlap each other, so that its volume counts nothing twice.

    A hollow is a shell of negative volume; it goes with the smallest part around it.

    Raises:
        GeometryError: a shell is inside out and lies in no other part.
    """
    import manifold3d

    shells = solid.decompose()
    if len(shells) <= 1:
        return solid
    shells.sort(key=lambda shell: -abs(shell.volume()))
    bodies = [[shell] for shell in shells if shell.volume() > 0]
    for hollow in (shell for shell in shells if shell.volume() <= 0):
        around = [body for body in bodies if _surrounds(body[0], hollow)]
        if not around:
            raise GeometryError("a part of the mesh is inside out.")
        around[-1].append(hollow)
    if len(bodies) == 1:
        return solid
    parts = [body[0] if len(body) == 1 else _as_one(body) for body in bodies]
    return manifold3d.Manifold.batch_boolean(parts, manifold3d.OpType.Add)


def _as_one(shells: list[Manifold]) -> Manifold:
    """One solid of a body and its hollows, by their meshes.

    Not by ``Manifold.compose``, which unites: it would fill the hollows.
    """
    meshes = [manifold_to_mesh(shell) for shell in shells]
    shifts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    faces = [mesh.faces + shift for mesh, shift in zip(meshes, shifts, strict=True)]
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    return mesh_to_manifold(Mesh(vertices, np.concatenate(faces).astype(np.int32)))


def _surrounds(outer: Manifold, inner: Manifold) -> bool:
    """Whether the box of ``outer`` holds that of ``inner``, and its volume is larger."""
    a, b = np.reshape(outer.bounding_box(), (2, 3)), np.reshape(inner.bounding_box(), (2, 3))
    inside = bool((a[0] <= b[0]).all() and (b[1] <= a[1]).all())
    return inside and outer.volume() > abs(inner.volume())
