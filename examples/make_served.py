"""Writes the examples of ``cadwright serve`` into the package, with a picture of each.

In: the programs below and bracket.stl. Out: files in ``src/cadwright/assets/examples``, the same
bytes each time. Needs the extra ``render``. Command: ``python examples/make_served.py``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

import cadwright.assets
from cadwright.geometry.frames import Placement, normalise
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.pictures import render_mesh
from cadwright.geometry.stl import save_stl
from cadwright.inference.result import points_to_marks
from cadwright.program.program_to_mesh import program_to_manifold
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

HERE = Path(__file__).parent
OUT = Path(cadwright.assets.__path__[0]) / "examples"

HOLES = "".join(
    f".push([({x},{y})]).circle(8,mode='s')" for x, y in ((70, 0), (0, 70), (-70, 0), (0, -70))
)
FLANGE = f"""import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-40))
r=w0.sketch().circle(100).circle(30,mode='s'){HOLES}.finalize().extrude(20)\
.union(w0.sketch().circle(50).circle(30,mode='s').finalize().extrude(80))"""

HOUSING = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-40))
w1=cq.Workplane('XY',origin=(0,0,-30))
w2=cq.Workplane('YZ',origin=(80,0,0))
r=w0.sketch().rect(200,140).finalize().extrude(70)\
.cut(w1.sketch().rect(180,120).finalize().extrude(80))\
.cut(w2.sketch().push([(0,5)]).circle(22).finalize().extrude(30))\
.union(w1.sketch().push([(-60,0)]).circle(18).circle(9,mode='s').finalize().extrude(40))"""

MISS = 1e-4  # share of a body's area by which its round walls may be off: smooth ones
PLACEMENT = Placement(0.5, np.array([60.0, 40.0, 20.0]))
NUM_SCANNED, NOISE = 4000, 0.15  # points, and mm by which each is off
WIDTH, HEIGHT = 240, 180  # of a picture


def make_part(text: str) -> Mesh:
    """A program's surface in millimetres, USER frame."""
    solid = program_to_manifold(text_to_program(text), miss=MISS)
    return normalise(manifold_to_mesh(solid), PLACEMENT)


def write_cloud(points: np.ndarray, path: Path) -> None:
    """A binary PLY file of points alone."""
    head = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\n"
        "end_header\n"
    )
    path.write_bytes(head.encode() + points.astype("<f4").tobytes())


def write_picture(mesh: Mesh, path: Path) -> None:
    """A small picture for a card."""
    picture = Image.fromarray(render_mesh(mesh, size=HEIGHT))
    card = Image.new("RGB", (WIDTH, HEIGHT), picture.getpixel((0, 0)))
    card.paste(picture, ((WIDTH - HEIGHT) // 2, 0))
    card.save(path, optimize=True)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    shutil.copyfile(HERE / "bracket.stl", OUT / "bracket.stl")
    for name, text in (("flange", FLANGE), ("housing", HOUSING)):
        save_stl(make_part(text), OUT / f"{name}.stl")
    bracket = load_shape(OUT / "bracket.stl").mesh
    assert bracket is not None
    rng = np.random.default_rng(7)
    cloud = sample_surface(bracket, NUM_SCANNED, rng) + rng.normal(0, NOISE, (NUM_SCANNED, 3))
    write_cloud(cloud, OUT / "bracket-scan.ply")
    for path in sorted(OUT.glob("*.stl")):
        mesh = load_shape(path).mesh
        assert mesh is not None
        write_picture(mesh, path.with_suffix(".png"))
    write_picture(points_to_marks(cloud), OUT / "bracket-scan.png")
