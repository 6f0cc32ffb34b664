"""What is handed in stands as its own axes do, and stays where it is if it stands straight."""

from __future__ import annotations

import math

import numpy as np

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import shape_from_mesh
from cadwright.inference.target import prepare
from cadwright.program.program_to_mesh import program_to_manifold
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

# its long sides slant by a degree, its ends and its top do not
SLANTED = (
    "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-20))\n"
    "r=w0.sketch().segment((-100,-60),(100,-57)).segment((100,63)).segment((-100,60)).close()"
    ".assemble().finalize().extrude(40)"
)


def _mesh(degrees: float) -> Mesh:
    mesh = manifold_to_mesh(program_to_manifold(text_to_program(SLANTED)))
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return Mesh(mesh.vertices @ turn.T, mesh.faces)


def test_slanted_walls_do_not_turn_a_part_that_stands_straight() -> None:
    assert prepare(shape_from_mesh(_mesh(0), "part"), seed=0).to_user.rotation is None


def test_a_part_that_stands_askew_is_turned_by_little_or_much() -> None:
    for degrees in (3.0, 25.0):
        rotation = prepare(shape_from_mesh(_mesh(degrees), "part"), seed=0).to_user.rotation
        assert rotation is not None
        angle = math.degrees(math.atan2(rotation[1, 0], rotation[0, 0]))
        # between the direction of its ends and that of its sides, 0.86 degrees apart
        assert degrees - 0.1 < angle < degrees + 0.96
