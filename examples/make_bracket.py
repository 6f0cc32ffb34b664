"""Writes bracket.stl, the example part: an angle bracket of 160 x 96 x 96 mm off the origin.

In: the program below. Out: bracket.stl beside this file, the same bytes each time. Needs only
the base install. Command: ``python examples/make_bracket.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cadwright.geometry.frames import Placement, normalise
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.stl import save_stl
from cadwright.program.program_to_mesh import program_to_manifold
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

PROGRAM = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-60))
w1=cq.Workplane('YZ',origin=(-100,0,0))
r=w0.sketch().rect(200,120).push([(48,-32)]).circle(13,mode='s').push([(48,32)])\
.circle(13,mode='s').finalize().extrude(24)\
.union(w1.sketch().rect(120,120).push([(0,18)]).circle(28,mode='s').finalize().extrude(24))"""

MISS = 1e-4  # share of a body's area by which its round holes may be off: smooth ones
# 0.8 mm a program unit; the part stands on z = 0, away from the origin, as parts in files do.
PLACEMENT = Placement(0.8, np.array([135.0, -20.0, 48.0]))


def make_bracket() -> Mesh:
    """The bracket's surface in millimetres, where the file has it (USER frame)."""
    solid = program_to_manifold(text_to_program(PROGRAM), miss=MISS)
    return normalise(manifold_to_mesh(solid), PLACEMENT)


if __name__ == "__main__":
    save_stl(make_bracket(), Path(__file__).with_name("bracket.stl"))
