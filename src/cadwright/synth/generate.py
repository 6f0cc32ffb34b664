"""seed -> program -> solid -> points: the stream that everything here learns from.

Draw number ``index`` of stream ``seed`` is a pure function of the two, so a
stream is resumed by its index and split over processes by arithmetic. Needs
manifold3d and fpsample, never OpenCASCADE. No 3D boolean is made on the way: what a body
adds and how bodies hang together is told by points (``synth.surface``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.frames import placement_to_model
from cadwright.geometry.mesh_to_points import NUM_SURFACE, farthest_rows
from cadwright.geometry.scan import PointDegradation, degrade_points
from cadwright.program.arcs import InvalidShape
from cadwright.program.grammar import Plane, Program
from cadwright.program.outline import LoopError
from cadwright.program.outline_to_body import on_plane
from cadwright.program.program_to_mesh import program_to_manifold
from cadwright.program.program_to_text import program_to_text
from cadwright.synth.compose import HALF_SIDE, draw_slabs, slabs_to_program
from cadwright.synth.prisms import Prism, program_to_prisms
from cadwright.synth.surface import sample_union, sample_volume
from cadwright.types import FloatArray, Sample

TRIES = 60  # draws that fail are repeated from the same random stream
TWO_PIECES = 0.15  # share of draws that may fall into two pieces
# A body must add this share of the union's volume, told by GAIN_POINTS points inside it.
SMALLEST_GAIN = 0.012
GAIN_POINTS = 600
FEWEST = 1024  # points that degradation leaves at least
_DEGRADE = 1  # keeps its random stream apart from that of the draw


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One accepted draw.

    Attributes:
        program: bodies in order of size.
        surface: (8192, 3) points drawn evenly over its surface, PROGRAM frame.
        bounds: (2, 3) of the solid, PROGRAM frame.
    """

    program: Program
    surface: NDArray[np.float32]
    bounds: FloatArray


def draw(seed: int, index: int) -> Draw | None:
    """Draw number ``index`` of stream ``seed``.

    Returns:
        None if ``TRIES`` attempts all failed (about never).
    """
    rng = np.random.default_rng([seed, index])
    most_pieces = 2 if rng.random() < TWO_PIECES else 1
    for _ in range(TRIES):
        try:
            program = slabs_to_program(draw_slabs(rng, loose=most_pieces > 1))
            checked = _check(program, most_pieces, rng)
        except (LoopError, InvalidShape):
            continue
        if checked is not None:
            return checked
    return None


def draw_program(seed: int, index: int) -> Program | None:
    """The program alone; see ``draw``."""
    drawn = draw(seed, index)
    return None if drawn is None else drawn.program


def draw_solid(seed: int, index: int) -> tuple[Program, m3.Manifold] | None:
    """Program and solid of one draw, PROGRAM frame; see ``draw``."""
    program = draw_program(seed, index)
    return None if program is None else (program, program_to_manifold(program))


def _check(program: Program, most_pieces: int, rng: np.random.Generator) -> Draw | None:
    """Keep the program if its solid is sound and fills the frame; put bodies in order of size."""
    prisms = program_to_prisms(program)
    lows, highs = zip(*[prism.bounds for prism in prisms], strict=True)
    low = [min(column) for column in zip(*lows, strict=True)]
    high = [max(column) for column in zip(*highs, strict=True)]
    whole = np.array([low, high])
    if not _fills_frame(whole):
        return None
    volumes = np.zeros(len(program.bodies))
    for prism in prisms:
        volumes[prism.body] += prism.volume
    order = np.argsort(-volumes, kind="stable").tolist()
    prisms.sort(key=lambda prism: order.index(prism.body))
    if not _every_body_adds(prisms, volumes[order].tolist(), rng):
        return None
    surface = sample_union(prisms, NUM_SURFACE, rng, most_pieces=most_pieces)
    return Draw(reorder(program, order), surface, whole)


def _fills_frame(bounds: FloatArray) -> bool:
    extents, middle = bounds[1] - bounds[0], (bounds[0] + bounds[1]) / 2
    return bool(
        abs(extents.max() - 2 * HALF_SIDE) <= 1.0
        and np.abs(middle).max() <= 1.0
        and extents.min() >= 6.0
    )


def _every_body_adds(prisms: list[Prism], volumes: list[float], rng: np.random.Generator) -> bool:
    """Whether each body, in order, adds to the volume of those before it.

    Args:
        prisms: in order of their bodies.
        volumes: of the bodies, largest first.
        rng: moved on by the draw of points, if any is needed.
    """
    bodies: list[list[Prism]] = []
    for prism in prisms:
        if bodies and bodies[-1][0].body == prism.body:
            bodies[-1].append(prism)
        else:
            bodies.append([prism])
    total = volumes[0]
    for k, (body, volume) in enumerate(zip(bodies, volumes, strict=True)):
        if not k:
            continue
        before = [prism for other in bodies[:k] for prism in other]
        gain = volume - _shared_box(body, before)
        if gain < SMALLEST_GAIN * (total + gain):
            gain = volume * _share_outside(body, before, rng)
        if gain < SMALLEST_GAIN * (total + gain):
            return False
        total += gain
    return True


def _shared_box(body: list[Prism], before: list[Prism]) -> float:
    """Volume that the boxes of a body's pieces share with those before: no less than the real."""
    shared = 0.0
    for prism in body:
        for other in before:
            sides = [
                min(high_one, high_two) - max(low_one, low_two)
                for low_one, high_one, low_two, high_two in zip(
                    *prism.bounds, *other.bounds, strict=True
                )
            ]
            if min(sides) > 0:
                shared += math.prod(sides)
    return shared


def _share_outside(body: list[Prism], before: list[Prism], rng: np.random.Generator) -> float:
    """Share of a body's volume that lies in none of the prisms before, by counting points."""
    volumes = np.array([prism.volume for prism in body])
    outside = 0.0
    for prism, share in zip(body, volumes / volumes.sum(), strict=True):
        points = sample_volume(prism, GAIN_POINTS, rng)
        hidden = np.zeros(GAIN_POINTS, dtype=np.bool_)
        for other in before:
            hidden[other.contains(points)] = True
        outside += float(share) * (1 - float(hidden.mean()))
    return outside


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


def sample_at(
    seed: int,
    index: int,
    *,
    num_points: int,
    missing_side_probability: float = 0.0,
    degradation: PointDegradation | None = None,
) -> Sample | None:
    """One training sample.

    Args:
        seed: of the stream.
        index: of the draw.
        num_points: P, points kept by farthest-point sampling from 8192; P at most 8192.
        missing_side_probability: of leaving out what is seen from one side; short for a
            ``degradation`` of that alone.
        degradation: what else a scanner may do to the 8192 points. The program is the same
            with and without it.

    Returns:
        Program text and (P, 3) float32 points, MODEL frame; None if the draw failed.

    Raises:
        GeometryError: more points are asked for than were drawn.
    """
    drawn = draw(seed, index)
    if drawn is None:
        return None
    if degradation is None and missing_side_probability > 0:
        degradation = PointDegradation(
            noise=0, missing_side=missing_side_probability, holes=0, uneven=0
        )
    place = placement_to_model(drawn.bounds)
    surface = drawn.surface
    if degradation is not None:
        rng = np.random.default_rng((seed, index, _DEGRADE))
        surface = place.apply(surface).astype(np.float32)
        surface = degrade_points(
            surface, None, rng, degradation=degradation, least=max(num_points, FEWEST)
        )
    start = int(np.random.default_rng(index).integers(len(surface)))
    points = surface[farthest_rows(surface, num_points, start=start)]
    if degradation is None:
        points = place.apply(points).astype(np.float32)
    return Sample(index, program_to_text(drawn.program), points)
