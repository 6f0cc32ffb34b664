"""A file -> the mesh in it, STEP included.

In: a path. Out: the mesh, the file's own frame and unit. Only for STEP the exact kernel is started.
Not covered: point clouds, and callers that have a kernel already (``geometry.mesh_io.load_shape``).
"""

from __future__ import annotations

from pathlib import Path

from cadwright.errors import InputError
from cadwright.geometry.mesh_io import STEP_SUFFIXES, load_shape
from cadwright.types import Mesh


def file_to_mesh(path: Path, *, purpose: str = "to measure distances from") -> Mesh:
    """Read a mesh.

    Args:
        path: STL, OBJ, PLY, OFF, GLB or STEP.
        purpose: what the surface is for, in the error: 'to draw'.
    Raises:
        InputError: unreadable, or a point cloud.
        MissingDependencyError: a STEP file, and CadQuery is not installed.
    """
    if path.suffix.lower() in STEP_SUFFIXES:
        from cadwright.program.program_to_solid import ExactKernel

        with ExactKernel() as kernel:
            mesh = load_shape(path, step_reader=kernel.step_to_mesh).mesh
    else:
        mesh = load_shape(path).mesh
    if mesh is None:
        raise InputError(f"{path}: a point cloud has no surface {purpose}")
    return mesh
