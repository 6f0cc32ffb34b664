"""``cadwright render MESH --out X.png``: a picture of a mesh, for people or as a model sees it.

In: a mesh file, USER frame. Out: a PNG, whole or not at all. Not covered: point clouds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cadwright.apps.terminal import at_least
from cadwright.errors import InputError


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "render",
        help="draw a mesh as PNG",
        description="Draw a mesh. It needs no display, no OpenGL and no GPU.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("mesh", metavar="MESH", type=Path, help="STL, OBJ, PLY, OFF, GLB or STEP")
    parser.add_argument("--out", required=True, metavar="FILE.png", type=Path)
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 4),
        default=4,
        help="1: isometric, 2: from both sides, 4: top, isometric, front, right",
    )
    parser.add_argument("--size", type=at_least(64), default=512, help="pixels a view")
    parser.add_argument(
        "--model-views",
        action="store_true",
        help="draw the 268 x 268 picture of four views that cadrille reads",
    )
    parser.set_defaults(execute=execute)  # fmt: skip


def execute(args: argparse.Namespace) -> int:
    """Read, draw, write.

    Raises:
        InputError: the mesh cannot be read, is a point cloud, or FILE.png not be written.
        MissingDependencyError: numba, or for STEP CadQuery, is not installed.
    """
    if args.out.suffix.lower() != ".png":
        raise InputError(f"{args.out}: the picture's name must end in .png")
    from cadwright.program.file_to_mesh import file_to_mesh

    mesh = file_to_mesh(args.mesh, purpose="to draw")
    from cadwright.geometry.atomic import atomic_write
    from cadwright.geometry.pictures import render_mesh, save_png

    if args.model_views:
        from cadwright.geometry.frames import normalise, placement_to_unit
        from cadwright.geometry.mesh_to_views import mesh_to_views

        picture = mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds)))
    else:
        picture = render_mesh(mesh, views=args.views, size=args.size)
    with atomic_write(args.out) as temporary:
        save_png(picture, temporary)
    print(f"{args.mesh} -> {args.out} ({picture.shape[1]} x {picture.shape[0]} pixels)")
    return 0
