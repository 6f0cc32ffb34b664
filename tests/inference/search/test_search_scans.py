"""Search on scans: an inside is estimated from points alone, also where a side is missing."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.geometry.contours import values_to_area
from cadwright.geometry.mesh_to_points import sample_surface_faces
from cadwright.geometry.voxels import Grid, manifold_to_voxels
from cadwright.inference.search.cells import Cells, estimate_to_cells, solid_to_cells
from cadwright.inference.search.cover import with_bodies
from cadwright.inference.search.estimate import points_to_estimate
from cadwright.inference.search.estimate_slices import estimate_levels, propose_from_faces
from cadwright.inference.search.evidence import SearchTarget
from cadwright.inference.search.objective import CellObjective, PointsObjective, missing_side
from cadwright.inference.search.residual import residual_edits
from cadwright.inference.search.search import search
from cadwright.inference.search.straighten import straightened
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_manifold, program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import FloatArray

STEPPED = (
    "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-60))\n"
    "r=w0.workplane(offset=50/2).box(200,120,50)"
    ".union(w0.workplane(offset=120/2).moveTo(-50,0).box(100,120,120))"
)
CUT = STEPPED + ".cut(w0.workplane(offset=50/2).moveTo(60,0).cylinder(50,25))"


def cloud(
    program: Program, *, missing: FloatArray | None, noise: float
) -> tuple[FloatArray, FloatArray]:
    """Points of a program's surface and their true normals."""
    mesh = program_to_mesh(program).mesh
    assert mesh is not None
    rng = np.random.default_rng(3)
    points, face = sample_surface_faces(mesh, 9000, rng)
    corners = mesh.triangles[face]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    kept = np.ones(len(points), bool) if missing is None else normals @ missing < 0.5
    return points[kept] + noise * rng.standard_normal((int(kept.sum()), 3)), normals[kept]


def estimate_iou(field: np.ndarray, program: Program) -> float:
    grid = Grid(field.shape[0])
    truth = manifold_to_voxels(program_to_manifold(program), grid)
    return Cells(grid, truth).iou(grid.pack(field > 0.5))


@pytest.mark.parametrize("axis", range(3))
def test_a_cloud_without_its_top_still_has_an_inside(axis: int) -> None:
    program = text_to_program(STEPPED)
    points, normals = cloud(program, missing=np.eye(3)[axis], noise=1.0)
    estimate = points_to_estimate(points)
    assert np.einsum("ni,ni->n", estimate.normals, normals).mean() > 0.9
    assert estimate_iou(estimate.field, program) > 0.9
    side = missing_side(estimate)
    assert side is not None and side[axis] > 0.9


def test_a_whole_cloud_has_no_missing_side() -> None:
    points, _ = cloud(text_to_program(STEPPED), missing=None, noise=1.0)
    assert missing_side(points_to_estimate(points)) is None


def test_levels_are_found_where_faces_are_and_where_they_should_be() -> None:
    points, _ = cloud(text_to_program(STEPPED), missing=np.array([0.0, 0.0, 1.0]), noise=1.0)
    levels = estimate_levels(points_to_estimate(points), 2)
    for height in (-60, -10, 60):
        assert min(abs(level - height) for level in levels) <= 3


def test_normals_that_all_point_inwards_are_turned() -> None:
    program = text_to_program(STEPPED)
    points, normals = cloud(program, missing=None, noise=0.0)
    estimate = points_to_estimate(points, normals=-normals)
    assert estimate_iou(estimate.field, program) > 0.95


def test_search_rebuilds_a_noisy_cloud_without_its_top() -> None:
    program = text_to_program(STEPPED)
    points, _ = cloud(program, missing=np.array([0.0, 0.0, 1.0]), noise=1.0)
    found = search(SearchTarget(None, points), [], 2.5, seed=0, clock=None)
    assert found is not None
    truth = solid_to_cells(program_to_manifold(program), n=104)
    assert CellObjective(truth).score(found.program) > 0.95


def test_points_objective_prefers_the_truth_to_what_is_near_it() -> None:
    program = text_to_program(STEPPED)
    points, _ = cloud(program, missing=np.array([0.0, 0.0, 1.0]), noise=0.5)
    objective = PointsObjective(points_to_estimate(points), seed=0)
    best = objective.score(program)
    for old, new in (
        ("200,120,50", "194,120,50"),
        ("100,120,120", "100,120,112"),
        ("-50,0", "-46,0"),
    ):
        assert objective.score(text_to_program(STEPPED.replace(old, new))) < best


def test_cells_of_an_estimate_count_what_is_sure() -> None:
    points, _ = cloud(text_to_program(STEPPED), missing=None, noise=1.0)
    estimate = points_to_estimate(points)
    cells = estimate_to_cells(estimate, n=52)
    masks = [mask for _, mask in cells.classes]
    assert not (masks[0] & masks[1]).any() and not (masks[1] & masks[2]).any()
    assert cells.iou(cells.inside) == 1.0


def test_residual_edits_hold_the_missing_cut_and_the_missing_body() -> None:
    cells = solid_to_cells(program_to_manifold(text_to_program(CUT)), n=64)
    objective = CellObjective(cells)
    without_cut = text_to_program(STEPPED)
    edits = list(residual_edits(without_cut, cells))
    best = max(edits, key=objective.score)
    assert best.bodies[-1].mode == "s"
    assert objective.score(best) > 0.98 > objective.score(without_cut)
    alone = text_to_program(STEPPED.split(".union")[0])
    best = max(residual_edits(alone, cells), key=objective.score)
    assert objective.score(best) > objective.score(alone) + 0.3


def test_contours_have_the_area_of_what_they_surround() -> None:
    grid = Grid(104)
    x, y = np.meshgrid(grid.centers, grid.centers, indexing="ij")
    ring = np.clip(0.5 + (60 - np.hypot(x - 10, y + 5)) / 4, 0, 1)
    ring -= np.clip(0.5 + (20 - np.hypot(x - 30, y + 5)) / 4, 0, 1)
    area = values_to_area(ring, 0.5, grid)
    assert area.area() == pytest.approx(np.pi * (60**2 - 20**2), rel=2e-3)
    np.testing.assert_allclose(area.bounds(), (-50, -65, 70, 55), atol=0.05)


def test_straightening_gives_a_noisy_rectangle_its_corners_back() -> None:
    noisy = np.array([(-60, -30.6), (57, -29.5), (60, -27), (60.4, 30), (-58, 30.3), (-60.2, 28)])
    clean = straightened(noisy, 1.0)
    assert len(clean) == 4
    np.testing.assert_allclose(sorted(map(tuple, np.abs(clean))), [(60, 30)] * 4, atol=0.7)


def test_bodies_have_the_form_of_the_flat_faces_that_they_end_in() -> None:
    program = text_to_program(STEPPED)
    points, _ = cloud(program, missing=np.array([0.0, 0.0, -1.0]), noise=0.5)
    cells = solid_to_cells(program_to_manifold(program), n=52)
    top = text_to_program(
        "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-60))\n"
        "r=w0.workplane(offset=120/2).moveTo(-50,0).box(100,120,120)"
    )
    wanted = solid_to_cells(program_to_manifold(top), n=52)
    objective = CellObjective(wanted)
    proposals = list(propose_from_faces(points_to_estimate(points)))
    assert max(objective.score(with_bodies(None, [one])) for one in proposals) > 0.9
    assert cells.weigh(wanted.inside & ~cells.inside) == 0
