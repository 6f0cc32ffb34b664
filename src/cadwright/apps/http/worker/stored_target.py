"""What was handed in to a job, as its folder keeps it for the workers that come later.

In: a shape or a prompt, and the job's folder. Out: ``target.npz`` with plain numbers (or a
picture, or words), from which the same comes back; and what the page draws of it. Written and read
by workers only. Not covered: results (``job_results``).
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cadwright.apps.http.jobs.job_files import (
    TARGET_DRAWN,
    TARGET_FACTS,
    TARGET_PICTURE,
    TARGET_SHAPE,
)
from cadwright.apps.http.view_geometry.binary_format import pack, unpack
from cadwright.apps.http.view_geometry.mesh_to_buffers import mesh_to_buffers, points_to_buffers
from cadwright.apps.http.view_geometry.shape_distance import ShapeDistance
from cadwright.errors import GeometryError
from cadwright.geometry.frames import longest_side
from cadwright.geometry.manifolds import manifold_to_mesh, mesh_to_manifold
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.metrics import Target
from cadwright.inference.prompt import Prompt
from cadwright.types import FloatArray, Mesh

MANY_FACES, SIMPLER = 1000, 3e-4  # a simpler solid from so many on, off by this share of its size


class StoredTarget:
    """What a job is about, with what is made of it once, when it is first needed.

    Args:
        given: a shape, USER frame, or a prompt.

    Attributes:
        origin: (3,) from which drawn positions are counted, USER frame.
    """

    def __init__(self, given: Shape | Prompt) -> None:
        self.given = given
        self.origin = middle(given) if isinstance(given, Shape) else np.zeros(3)

    @cached_property
    def distance(self) -> ShapeDistance | None:
        """Measures distances; of a shape."""
        return ShapeDistance(self.given) if isinstance(self.given, Shape) else None

    @cached_property
    def solid(self) -> Target | None:
        """To compare volumes with in a moment; of a solid that manifold3d accepts.

        Simplified where it has many faces, by so little that an IoU changes in the fourth digit.
        """
        if not isinstance(self.given, Shape) or self.given.kind != "solid":
            return None
        mesh = self.given.mesh
        assert mesh is not None
        try:
            if len(mesh.faces) > MANY_FACES:
                tolerance = SIMPLER * longest_side(mesh.bounds)
                mesh = manifold_to_mesh(mesh_to_manifold(mesh).simplify(tolerance))
            return Target(mesh, seed=0, num_points=64)
        except GeometryError:
            return None  # closed, but no solid for manifold3d: there is no IoU then


def middle(shape: Shape) -> FloatArray:
    """(3,) the middle of a shape's bounds, USER frame."""
    low, high = shape.bounds
    return np.asarray(low / 2 + high / 2)


def describe_given(given: Shape | Prompt) -> dict[str, Any]:
    """Kind, counts and size, for the status document."""
    if isinstance(given, Prompt):
        kind = "picture" if given.picture is not None else "words"
        return {"kind": kind, "faces": None, "points": None, "size": None, "bounds": None}
    return {
        "kind": given.kind,
        "faces": None if given.mesh is None else len(given.mesh.faces),
        "points": None if given.points is None else len(given.points),
        "size": longest_side(given.bounds),
        "bounds": given.bounds.tolist(),
    }


def save_target(given: Shape | Prompt, folder: Path) -> None:
    """Write what was handed in, and what the page draws of it."""
    facts = {"name": given.name, "kind": given.kind}
    if isinstance(given, Prompt):
        facts["text"] = given.text
        if given.picture is not None:
            given.picture.save(folder / TARGET_PICTURE)
    else:
        arrays: dict[str, Any] = {}
        if given.mesh is not None:
            arrays |= {"vertices": given.mesh.vertices, "faces": given.mesh.faces}
        if given.points is not None:
            arrays["points"] = given.points
        np.savez(folder / TARGET_SHAPE, **arrays)
        (folder / TARGET_DRAWN).write_bytes(_drawn(given))
    (folder / TARGET_FACTS).write_text(json.dumps(facts), encoding="utf-8")


def load_target(folder: Path) -> StoredTarget:
    """What ``save_target`` wrote, made ready."""
    facts = json.loads((folder / TARGET_FACTS).read_text(encoding="utf-8"))
    kind = facts["kind"]
    if kind in ("views", "words"):
        picture = None
        if kind == "views":
            with Image.open(folder / TARGET_PICTURE) as image:
                picture = image.convert("RGB")
        return StoredTarget(Prompt(facts["name"], kind, picture, facts["text"]))
    with np.load(folder / TARGET_SHAPE, allow_pickle=False) as arrays:
        mesh = Mesh(arrays["vertices"], arrays["faces"]) if "faces" in arrays else None
        points = arrays["points"] if "points" in arrays else None
    return StoredTarget(Shape(facts["name"], mesh, points, kind))


def drawn_positions(folder: Path, origin: FloatArray) -> FloatArray | None:
    """(V, 3) of the target as it is drawn, USER frame; None where nothing is."""
    path = folder / TARGET_DRAWN
    if not path.exists():
        return None
    _, arrays = unpack(path.read_bytes())
    return arrays["positions"].astype(np.float64) + origin


def _drawn(shape: Shape) -> bytes:
    origin = middle(shape)
    if shape.mesh is not None:
        arrays = mesh_to_buffers(shape.mesh, origin=origin)
    else:
        arrays = points_to_buffers(np.asarray(shape.points), origin=origin)
    header = {
        "what": "target",
        "kind": shape.kind,
        "origin": origin.tolist(),
        "bounds": shape.bounds.tolist(),
        "size": longest_side(shape.bounds),
    }
    return pack(header, arrays)
