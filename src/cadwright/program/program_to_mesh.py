"""Program -> mesh by the fast kernel (manifold3d), in this process, in about a millisecond.

Round shapes become polygons of the same area, finer where walls are thin. What OpenCASCADE
would refuse (a loop that crosses or touches itself or does not close, an arc through points in
line, a cut that does not fit) is INVALID here too. Every answer is a ``BuildResult``; lengths
stay in the program's own frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby
from typing import TypeAlias

import manifold3d as m3

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.program.arcs import ARC_STEP, InvalidShape, arc_points, circle_through
from cadwright.program.body_to_manifold import body_to_manifold
from cadwright.program.grammar import AXES, Program
from cadwright.program.sketch_to_region import MISS, sketch_to_region
from cadwright.types import BuildResult, Outcome

__all__ = [
    "ARC_STEP",
    "AXES",
    "InvalidShape",
    "arc_points",
    "body_to_manifold",
    "circle_through",
    "program_to_manifold",
    "program_to_mesh",
    "sketch_to_region",
]

BodyBuilder: TypeAlias = "Callable[..., m3.Manifold]"  # called as ``body_to_manifold`` is


def program_to_mesh(program: Program) -> BuildResult:
    """Build a program's solid.

    Returns:
        OK with the mesh and its volume, EMPTY if nothing is left, INVALID with
        the reason if a sketch or body has no meaning. Never raises for a parsed program.
    """
    start = time.perf_counter()
    try:
        solid = program_to_manifold(program)
    except InvalidShape as error:
        return BuildResult(Outcome.INVALID, message=str(error), seconds=time.perf_counter() - start)
    volume = solid.volume()
    seconds = time.perf_counter() - start
    if solid.status() != m3.Error.NoError:
        return BuildResult(
            Outcome.INVALID, message=f"kernel: {solid.status().name}", seconds=seconds
        )
    if solid.is_empty() or volume < 1e-9:
        return BuildResult(Outcome.EMPTY, message="the program leaves no volume", seconds=seconds)
    return BuildResult(
        Outcome.OK, manifold_to_mesh(solid), volume=volume, seconds=time.perf_counter() - start
    )


def program_to_manifold(
    program: Program, *, miss: float = MISS, build: BodyBuilder = body_to_manifold
) -> m3.Manifold:
    """The bodies joined or cut, in order.

    Args:
        program: PROGRAM frame or any other.
        miss: share of each body's volume by which its polygons may differ from its round walls.
        build: makes each body; whoever builds like programs over and over may remember them.

    Raises:
        InvalidShape: a sketch or a body has no meaning.
    """
    if program.bodies[0].mode == "s":
        raise InvalidShape("there is nothing to cut the first body from")
    solid: m3.Manifold | None = None
    for mode, group in groupby(program.bodies, key=lambda body: body.mode):
        bodies = [build(body, program.planes[body.plane], miss=miss) for body in group]
        if solid is None:
            solid = _joined(bodies)
        elif mode == "a":
            solid = _joined([solid, *bodies])
        else:
            solid = m3.Manifold.batch_boolean([solid, *bodies], m3.OpType.Subtract)
    assert solid is not None
    return solid


def _joined(bodies: list[m3.Manifold]) -> m3.Manifold:
    return bodies[0] if len(bodies) == 1 else m3.Manifold.batch_boolean(bodies, m3.OpType.Add)
