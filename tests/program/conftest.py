"""Shared by the tests of the program language: how hypothesis draws a program, and one kernel.

``st.from_type(Program)`` draws over the whole grammar and its superset, not only over sensible
shapes; ``st.from_type(Extrude)`` over the published dialect's extrusions.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from cadwright.program.grammar import (
    Arc,
    Assemble,
    Body,
    Box,
    Circle,
    Close,
    Corners,
    Cylinder,
    Extrude,
    Face,
    Plane,
    Program,
    Push,
    Rect,
    Reset,
    Revolve,
    Rim,
    Segment,
    Sketch,
    SketchOp,
    tidy,
)

# time says nothing about a property, and less on a machine that also trains
settings.register_profile(
    "patient", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

MOST_PLANES = 2

lengths = st.one_of(
    st.integers(-200, 200),
    st.integers(-400, 400).map(lambda n: tidy(n / 2)),
    st.floats(-1e6, 1e6).map(tidy),
)
sizes = lengths.map(abs).filter(lambda value: value > 0)
points = st.tuples(lengths, lengths)
modes = st.sampled_from(["a", "s"])
plane_indices = st.integers(0, MOST_PLANES - 1)


@st.composite
def chains(draw: st.DrawFn) -> list[SketchOp]:
    """Edges that start somewhere, perhaps closed, and assembled."""
    first = st.one_of(st.builds(Segment, points, points), st.builds(Arc, points, points, points))
    starts = st.none() | points
    later = st.one_of(st.builds(Segment, starts, points), st.builds(Arc, starts, points, points))
    ops = [draw(first), *draw(st.lists(later, max_size=3))]
    return [*ops, *draw(st.sampled_from([[], [Close()]])), Assemble(draw(modes))]


@st.composite
def rounded_outlines(draw: st.DrawFn) -> list[SketchOp]:
    """One straight outline with its corners cut, and what has to follow; superset."""
    if draw(st.booleans()):
        ops: list[SketchOp] = [Rect(draw(sizes), draw(sizes))]
    else:
        first, *rest = draw(st.lists(points, min_size=3, max_size=5))
        ops = [Segment(first, rest[0]), *[Segment(None, end) for end in rest[1:]]]
        ops += [Close(), Assemble()]
    if draw(st.booleans()):
        ops = [Push(draw(points)), *ops, Reset()]
    corners = Corners(draw(st.sampled_from(["fillet", "chamfer"])), draw(sizes))
    return [*ops, corners, draw(st.just(Reset()) | st.builds(Push, points))]


def sketches(depth: int = 1, *, superset: bool = False) -> st.SearchStrategy[Sketch]:
    """Sketches with faces within faces down to ``depth``."""
    single: list[st.SearchStrategy[SketchOp]] = [
        st.builds(Push, points),
        st.just(Reset()),
        st.builds(Circle, sizes, modes),
        st.builds(Rect, sizes, sizes, modes),
    ]
    if depth > 0:
        inner = sketches(depth - 1, superset=superset)
        single.append(st.builds(Face, plane_indices, inner, modes))
    group = st.one_of(st.one_of(single).map(lambda op: [op]), chains())
    groups = st.lists(group, min_size=1, max_size=3)
    if superset:
        tails = st.lists(group, max_size=2)
        groups |= st.builds(lambda head, tail: [head, *tail], rounded_outlines(), tails)
    return groups.map(lambda parts: Sketch(tuple(op for part in parts for op in part)))


planes = st.builds(Plane, st.sampled_from(["XY", "YZ", "ZX"]), st.tuples(lengths, lengths, lengths))
extrusions = st.builds(Extrude, plane_indices, sketches(), lengths.filter(bool))
published = st.one_of(
    extrusions,
    st.builds(Box, plane_indices, lengths, points, st.tuples(sizes, sizes, sizes)),
    st.builds(Cylinder, plane_indices, lengths, points, sizes, sizes),
)
rims = st.lists(
    st.builds(Rim, st.sampled_from("<>"), st.sampled_from(["fillet", "chamfer"]), sizes),
    max_size=2,
    unique_by=lambda rim: rim.end,
).map(tuple)
angles = st.just(360) | st.integers(1, 360) | st.floats(1e-3, 360).map(tidy)
beyond = st.one_of(
    st.builds(
        Extrude, plane_indices, sketches(superset=True), lengths.filter(bool), rims=rims, mode=modes
    ),
    st.builds(lambda body, cuts, mode: replace(body, rims=cuts, mode=mode), published, rims, modes),
    st.builds(
        Revolve,
        plane_indices,
        sketches(superset=True),
        st.sampled_from("XY"),
        lengths,
        angles,
        modes,
    ),
)


def _joined(bodies: list[Body]) -> tuple[Body, ...]:
    """A program's first body is never one that cuts."""
    return (replace(bodies[0], mode="a"), *bodies[1:])


programs = st.builds(
    Program,
    st.lists(planes, min_size=MOST_PLANES, max_size=MOST_PLANES).map(tuple),
    st.lists(published | beyond, min_size=1, max_size=3).map(_joined),
)
st.register_type_strategy(Extrude, extrusions)
st.register_type_strategy(Program, programs)


@pytest.fixture(scope="session")
def kernel() -> Iterator[object]:
    """One warm exact kernel for all tests that only want solids."""
    if importlib.util.find_spec("cadquery") is None:
        pytest.skip("the exact kernel needs the extra 'cad'")
    from cadwright.program.program_to_solid import ExactKernel

    with ExactKernel(timeout_s=120.0) as exact:
        yield exact
