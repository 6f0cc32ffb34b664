"""What a shape decides of kind, bodies and holes, and hints of where: against known solids."""

from __future__ import annotations

from dataclasses import replace

import manifold3d as m3
import numpy as np
import pytest

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_sdf import mesh_to_sdf
from cadwright.models.align3d.hints import BODIES, HOLES, MAIN, program_to_hints
from cadwright.models.align3d.pairs import Said
from cadwright.models.align3d.visible import (
    outline_to_kind,
    program_to_slabs,
    sdf_to_holes,
    slabs_to_said,
    solid_to_holes,
    visible_holes,
)
from cadwright.program.grammar import Box, Plane, Program
from cadwright.program.program_to_mesh import program_to_manifold
from cadwright.synth.facts import KINDS, facts
from cadwright.synth.generate import draw_program

pytest.importorskip("numba")

RESOLUTION = 64


def look(program: Program) -> Said:
    solid = program_to_manifold(program)
    sdf = mesh_to_sdf(manifold_to_mesh(solid), resolution=RESOLUTION, threshold_factor=1.2)
    return slabs_to_said(program_to_slabs(program), solid, sdf)


def plate(*holes: float, size: tuple[float, float, float] = (100, 60, 20)) -> m3.Manifold:
    """A plate with a row of round holes of these radii."""
    solid = m3.Manifold.cube(size, True)
    for number, radius in enumerate(holes):
        hole = m3.Manifold.cylinder(2 * size[2], radius, circular_segments=32, center=True)
        solid -= hole.translate((-30 + 20 * number, 0, 0))
    return solid


class TestHoles:
    @pytest.mark.parametrize("radii", [(), (6,), (6, 5, 4), (5, 5, 5, 5)])
    def test_handles_of_the_solid_and_of_its_samples_agree(self, radii: tuple[float, ...]) -> None:
        solid = plate(*radii)
        sdf = mesh_to_sdf(manifold_to_mesh(solid), resolution=RESOLUTION, threshold_factor=1.2)
        assert solid_to_holes(solid) == sdf_to_holes(sdf) == len(radii)

    def test_a_hole_narrower_than_a_sample_is_not_seen(self) -> None:
        sdf = mesh_to_sdf(
            manifold_to_mesh(plate(6, 0.5)), resolution=RESOLUTION, threshold_factor=1.2
        )
        assert sdf_to_holes(sdf) == 1

    @pytest.mark.parametrize(
        ("wall", "expected"), [(12.0, 1), (4.0, 1), (0.8, None), (0.2, None), (-3.0, 0)]
    )
    def test_holes_are_only_told_where_a_wall_is_wider_than_a_step(
        self, wall: float, expected: int | None
    ) -> None:
        hole = m3.Manifold.cylinder(40, 6, circular_segments=32, center=True)
        solid = plate() - hole.translate((0.3, 30 - 6 - wall, 0))
        sdf = mesh_to_sdf(manifold_to_mesh(solid), resolution=RESOLUTION, threshold_factor=1.2)
        assert visible_holes(solid, sdf) == expected

    def test_pieces_add_up_and_a_hollow_is_no_hole(self) -> None:
        two = plate(6) + plate(6, 6).translate((0, 100, 0))
        hollow = plate(size=(80, 80, 80)) - plate(size=(40, 40, 40))
        for solid, holes in ((two, 3), (hollow, 0)):
            mesh = manifold_to_mesh(solid)
            sdf = mesh_to_sdf(mesh, resolution=RESOLUTION, threshold_factor=1.2)
            assert sdf_to_holes(sdf) == solid_to_holes(solid) == holes


class TestOutline:
    def test_kinds_and_what_is_between_them(self) -> None:
        square = np.array([[0, 0], [10, 0], [10, 10], [0, 10.0]])
        corner = np.array([[0, 0], [10, 0], [10, 4], [4, 4], [4, 10], [0, 10.0]])
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        disc = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        stadium = np.concatenate([disc[:25] + [0, 0], disc[24:] - [0, 3], disc[:1] - [0, 3]])
        assert outline_to_kind(square) == "box"
        assert outline_to_kind(corner) == "prism"
        assert outline_to_kind(disc) == "cylinder"
        assert outline_to_kind(stadium) == "rounded prism"
        assert outline_to_kind(disc * [1, 0.95]) is None  # neither a disc nor clearly not one
        nearly = np.array([[0, 0], [10, 0], [10, 9.3], [9.3, 10], [0, 10.0]])
        assert outline_to_kind(nearly) == "box"
        chamfered = np.array([[0, 0], [10, 0], [10, 8], [8, 10], [0, 10.0]])
        assert outline_to_kind(chamfered) is None


class TestGenerated:
    def test_what_is_said_never_depends_on_the_order_or_the_size(self) -> None:
        for index in range(6):
            program = draw_program(8, index)
            assert program is not None
            said = look(program)
            turned = replace(program, bodies=program.bodies[::-1])
            assert look(turned) == said
            if said.bodies is not None:
                assert said.bodies == len(program.bodies)

    def test_hints_count_every_body_where_it_stands(self) -> None:
        for index in range(6):
            program = draw_program(8, index)
            assert program is not None
            table = program_to_hints(program)
            known = facts(program)
            assert table[:, BODIES].sum() == len(program.bodies) == table[:, : len(KINDS)].sum()
            assert table[:, HOLES].sum() == known.num_holes
            assert table[known.bodies[known.main].normal, MAIN] == 1
            assert table[:, MAIN].sum() == 1


class TestBodies:
    def test_two_that_end_alike_or_one_within_another_are_not_counted(self) -> None:
        base = make_box((0, 0), (100, 60, 20))
        assert look(boxes(base)) == Said("box", 1, 0)
        assert look(boxes(base, make_box((0, 0), (30, 30, 60)))) == Said("box", 2, 0)
        level = boxes(base, make_box((40, 0), (60, 30, 20)))
        assert look(level).bodies is None
        hidden = boxes(base, make_box((0, 0), (30, 30, 21)))
        assert look(hidden).bodies is None

    def test_the_main_body_must_be_larger_by_far(self) -> None:
        alike = boxes(make_box((0, 0), (100, 60, 20)), make_box((0, 0), (60, 30, 64)))
        assert look(alike).kind is None and look(alike).bodies == 2


def make_box(center: tuple[int, int], size: tuple[int, int, int]) -> Box:
    """Standing on the plane."""
    return Box(0, size[2], center, size)


def boxes(*bodies: Box) -> Program:
    return Program((Plane("XY", (0, 0, 0)),), bodies)
