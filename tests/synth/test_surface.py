"""Points drawn without booleans: on the union's surface, even over it, and telling its pieces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.surface_distance import points_to_surface
from cadwright.geometry.welding import face_areas
from cadwright.program.arcs import InvalidShape
from cadwright.program.program_to_mesh import program_to_manifold
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw, draw_program
from cadwright.synth.prisms import program_to_prisms
from cadwright.synth.surface import STEP, sample_union, sample_volume

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n"
SECOND = "w1=cq.Workplane('YZ',origin=({},0,0))\n"
# Opposite sides of a plane, the same side of it, faces in one plane, equal bodies shifted.
SHARED = [
    HEAD + "r=w0.workplane(offset=40/2).box(80,60,40).union(w0.workplane(offset=-30/2)"
    ".moveTo(10,0).cylinder(30,25))",
    HEAD + "r=w0.workplane(offset=40/2).box(80,60,40).union(w0.workplane(offset=70/2)"
    ".moveTo(20,0).cylinder(70,25))",
    HEAD + "r=w0.workplane(offset=40/2).box(80,60,40).union(w0.workplane(offset=40/2)"
    ".moveTo(40,0).box(60,60,40))",
    HEAD + "r=w0.workplane(offset=40/2).cylinder(40,30).union(w0.workplane(offset=70/2)"
    ".cylinder(70,30))",
    HEAD + SECOND.format(20) + "r=w0.workplane(offset=40/2).box(40,60,40)"
    ".union(w1.sketch().circle(30).circle(10,mode='s').finalize().extrude(30))",
]


def even_draws(text_or_program, num: int):
    program = (
        text_to_program(text_or_program) if isinstance(text_or_program, str) else (text_or_program)
    )
    mesh = manifold_to_mesh(program_to_manifold(program))
    points = sample_union(program_to_prisms(program), num, np.random.default_rng(1))
    return mesh, points.astype(np.float64)


def area_by_cell(points: np.ndarray, edges: int) -> np.ndarray:
    """Shares of points in the cells of a coarse grid over the frame."""
    cells = np.floor((points + 100.5) / 201 * edges).astype(int).clip(0, edges - 1)
    counts = np.bincount(cells @ np.array([edges * edges, edges, 1]), minlength=edges**3)
    return counts / len(points)


@pytest.mark.parametrize("index", range(12))
def test_points_lie_on_the_surface_of_the_union(index: int) -> None:
    drawn = draw(5, index)
    assert drawn is not None and drawn.surface.shape == (8192, 3)
    mesh = manifold_to_mesh(program_to_manifold(drawn.program))
    some = drawn.surface[::16].astype(np.float64)
    # polygons of a lone disc are as fine here as there; those of a thin one may be finer there
    assert np.quantile(points_to_surface(some, mesh), 0.99) < 0.35
    assert np.abs(mesh.bounds - drawn.bounds).max() < 0.01


@pytest.mark.parametrize("source", [*SHARED, 1, 4, 9, 16], ids=str)
def test_points_are_even_over_the_surface_of_the_union(source) -> None:
    """As many in each cell of a grid as of points drawn from the union's own mesh."""
    program = draw_program(5, source) if isinstance(source, int) else source
    mesh, points = even_draws(program, 40_000)
    expected = sample_surface(mesh, 40_000, np.random.default_rng(2))
    ours, theirs = area_by_cell(points, 5), area_by_cell(expected, 5)
    noise = np.sqrt((ours + theirs) / 40_000)
    assert (np.abs(ours - theirs) <= 5 * noise + 0.002).all()
    near, far = cKDTree(points), cKDTree(expected)
    spacing = np.sqrt(face_areas(mesh).sum() / 40_000)
    assert near.query(expected)[0].max() < 8 * spacing  # nothing of the surface is left out
    assert far.query(points)[0].max() < 8 * spacing  # nothing inside was kept


@pytest.mark.parametrize("text", SHARED)
def test_no_point_lies_inside_the_union(text: str) -> None:
    mesh, points = even_draws(text, 2000)
    assert points_to_surface(points, mesh).max() < 2 * STEP + 1e-3


def test_pieces_that_only_touch_by_an_edge_or_lie_apart_are_counted() -> None:
    for x, pieces in ((0, 1), (39, 1), (40, 1), (41, 2), (60, 2)):
        text = HEAD + (
            "r=w0.workplane(offset=40/2).box(40,60,40)"
            f".union(w0.workplane(offset=30/2).moveTo({x},0).box(40,60,30))"
        )
        prisms = program_to_prisms(text_to_program(text))
        rng = np.random.default_rng(0)
        if pieces == 1:
            assert len(sample_union(prisms, 3000, rng, most_pieces=1)) == 3000
        else:
            with pytest.raises(InvalidShape, match="apart"):
                sample_union(prisms, 3000, rng, most_pieces=1)
            assert len(sample_union(prisms, 3000, rng, most_pieces=2)) == 3000


def test_a_body_within_another_has_no_points() -> None:
    text = HEAD + (
        "r=w0.workplane(offset=80/2).box(90,90,80).union(w0.workplane(offset=40/2).cylinder(40,9))"
    )
    points = sample_union(program_to_prisms(text_to_program(text)), 3000, np.random.default_rng(0))
    on_floor = (np.abs(points[:, 2]) < 0.01) & (np.abs(points[:, :2]).max(axis=1) < 45)
    on_box = np.abs(np.abs(points[:, :2]).max(axis=1) - 45) < 0.01
    assert (on_floor | on_box | (np.abs(points[:, 2] - 80) < 0.01)).all()
    # the floor of the box is there once, not twice where the cylinder stands on it
    disc = on_floor & (np.hypot(points[:, 0], points[:, 1]) < 9)
    share = np.pi * 81 / (2 * 90 * 90 + 4 * 90 * 80)
    assert abs(disc.mean() - share) < 5 * np.sqrt(share / 3000)


def test_volume_points_fill_the_prism_evenly() -> None:
    text = HEAD + "r=w0.sketch().rect(80,40).circle(15,mode='s').finalize().extrude(-30)"
    (prism,) = program_to_prisms(text_to_program(text))
    area = 80 * 40 - np.pi * 15**2
    assert prism.volume == pytest.approx(30 * area, rel=2e-3)
    points = sample_volume(prism, 20_000, np.random.default_rng(0))
    assert len(prism.contains(points)) == 20_000
    x, y, z = points
    assert abs(z.mean() + 15) < 0.3 and abs(x.mean()) < 0.8 and abs(y.mean()) < 0.5
    assert abs((x > 20).mean() - 20 * 40 / area) < 0.02


def test_a_body_that_is_no_prism_is_refused() -> None:
    text = (
        HEAD + "r=w0.workplane(offset=40/2).box(40,60,40).cut(w0.workplane(offset=9/2).box(9,9,9))"
    )
    with pytest.raises(InvalidShape):
        program_to_prisms(text_to_program(text))
