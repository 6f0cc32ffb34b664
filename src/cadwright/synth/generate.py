"""seed -> program -> solid -> points: the stream that everything here learns from.

Draw number ``index`` of stream ``seed`` is a pure function of the two, so a
stream is resumed by its index and split over processes by arithmetic. Needs
manifold3d and fpsample, never OpenCASCADE.
"""

from __future__ import annotations

import manifold3d as m3
import numpy as np

from cadwright.geometry.frames import normalise, placement_to_model
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_points import mesh_to_points
from cadwright.program.grammar import Extrude, Plane, Program
from cadwright.program.outline import LoopError
from cadwright.program.outline_to_body import on_plane
from cadwright.program.program_to_mesh import InvalidShape, body_to_manifold
from cadwright.program.program_to_text import program_to_text
from cadwright.synth.compose import HALF_SIDE, draw_slabs, slabs_to_program
from cadwright.types import Mesh, Sample

TRIES = 40  # draws that fail are repeated from the same random stream
TWO_PIECES = 0.15  # share of draws that may fall into two pieces
SMALLEST_GAIN = 0.01  # a body must add this share of the union's volume


def draw_solid(seed: int, index: int) -> tuple[Program, m3.Manifold] | None:
    """Program and solid of one draw, PROGRAM frame.

    Returns:
        None if ``TRIES`` attempts all failed (about never).
    """
    rng = np.random.default_rng([seed, index])
    most_pieces = 2 if rng.random() < TWO_PIECES else 1
    for _ in range(TRIES):
        try:
            program = slabs_to_program(draw_slabs(rng))
            checked = _check(program, most_pieces)
        except (LoopError, InvalidShape):
            continue
        if checked is not None:
            return checked
    return None


def draw_program(seed: int, index: int) -> Program | None:
    """The program alone; see ``draw_solid``."""
    drawn = draw_solid(seed, index)
    return None if drawn is None else drawn[0]


def _check(program: Program, most_pieces: int) -> tuple[Program, m3.Manifold] | None:
    """Keep the program if its solid is sound and fills the frame; put bodies in order of size."""
    solids = [body_to_manifold(body, program.planes[body.plane]) for body in program.bodies]
    volumes = [solid.volume() for solid in solids]
    if min(volumes) <= 0:
        return None
    order = sorted(range(len(solids)), key=lambda k: -volumes[k])
    union, total = solids[order[0]], volumes[order[0]]
    for k in order[1:]:
        union = union + solids[k]
        grown = union.volume()
        if grown - total < SMALLEST_GAIN * grown:
            return None
        total = grown
    if not _fills_frame(union) or _is_scattered(program, union, most_pieces):
        return None
    return reorder(program, order), union


def _is_scattered(program: Program, union: m3.Manifold, most_pieces: int) -> bool:
    simple = len(program.bodies) == 1 and not isinstance(program.bodies[0], Extrude)
    return not simple and len(union.decompose()) > most_pieces


def _fills_frame(solid: m3.Manifold) -> bool:
    box = np.array(solid.bounding_box()).reshape(2, 3)
    extents, middle = box[1] - box[0], (box[0] + box[1]) / 2
    return (
        abs(extents.max() - 2 * HALF_SIDE) <= 1.0
        and np.abs(middle).max() <= 1.0
        and extents.min() >= 6.0
    )


def reorder(program: Program, order: list[int]) -> Program:
    """The same bodies in another order, planes renumbered by first use."""
    planes: list[Plane] = []
    bodies = []
    for k in order:
        body = program.bodies[k]
        plane = program.planes[body.plane]
        if plane not in planes:
            planes.append(plane)
        bodies.append(on_plane(body, planes.index(plane)))
    return Program(tuple(planes), tuple(bodies))


def sample_at(seed: int, index: int, *, num_points: int) -> Sample | None:
    """One training sample.

    Args:
        seed: of the stream.
        index: of the draw.
        num_points: P, points kept by farthest-point sampling from 8192.

    Returns:
        Program text and (P, 3) float32 points, MODEL frame; None if the draw failed.
    """
    drawn = draw_solid(seed, index)
    if drawn is None:
        return None
    program, solid = drawn
    mesh = manifold_to_mesh(solid)
    placed: Mesh = normalise(mesh, placement_to_model(mesh.bounds))
    points = mesh_to_points(placed, num_points=num_points, seed=index)
    return Sample(index, program_to_text(program), points)
