"""Scans: each track spoils what it says and nothing else, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.scan import (
    NOISE_STD,
    SCAN_NOISE_STD,
    SIDES,
    TRACKS,
    PointDegradation,
    cluster_vertices,
    degrade_mesh,
    degrade_points,
    face_normals,
    random_pose,
    seen_from,
)
from cadwright.geometry.subdivide import split_long_edges
from cadwright.geometry.surface_distance import points_to_surface
from cadwright.geometry.welding import face_areas
from cadwright.types import Mesh

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-0.8, 0.8) for z in (-0.5, 0.5)], float)
BOX = Mesh(
    CORNERS,
    np.array(
        [
            [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
            [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
        ],
        dtype=np.int32,
    ),
)  # fmt: skip
TO_BOX = [t for t in TRACKS if t not in ("noise", "noise_missing_side", "posed", "scan")]
NOTHING = PointDegradation(noise=0, missing_side=0, holes=0, uneven=0)


def points_of(degraded) -> np.ndarray:
    if isinstance(degraded, Mesh):
        return sample_surface(degraded, 8000, np.random.default_rng(0))
    return degraded.astype(np.float64)


def raw(degraded) -> bytes:
    if isinstance(degraded, Mesh):
        return degraded.vertices.tobytes() + degraded.faces.tobytes()
    return degraded.tobytes()


def missing_sides(points: np.ndarray) -> int:
    """How many of the box's sides hold no points, but for those near their edges."""
    half = np.array([1, 0.8, 0.5])
    count = 0
    for side in SIDES:
        on_side = np.abs(points @ side - np.abs(side) @ half) < 0.02
        inner = (np.abs(points) < half - 0.1)[:, side == 0].all(axis=1)
        count += not (on_side & inner).any()
    return count


@pytest.mark.parametrize("track", TRACKS)
def test_a_seed_fixes_every_byte_and_another_one_changes_them(track: str) -> None:
    first, again, other = (degrade_mesh(BOX, track, seed=seed) for seed in (3, 3, 4))
    assert raw(first) == raw(again)
    assert track == "clean" or raw(first) != raw(other)
    assert isinstance(first, Mesh) != (track in ("uneven", "scan"))


@pytest.mark.parametrize("track", TO_BOX)
def test_what_is_left_lies_on_the_clean_surface(track: str) -> None:
    limit = 0.1 if track == "decimated" else 1e-6  # corners of cells cut the box's corners
    some = points_of(degrade_mesh(BOX, track, seed=1))[::5]
    assert points_to_surface(some, BOX).max() < limit


@pytest.mark.parametrize("track", ["noise", "noise_missing_side"])
def test_noise_moves_vertices_by_its_standard_deviation(track: str) -> None:
    degraded = degrade_mesh(BOX, track, seed=2)
    assert isinstance(degraded, Mesh)
    off = points_to_surface(degraded.vertices, BOX)
    # a vertex within a flat face is off by the normal part of its noise alone
    assert 0.9 * NOISE_STD < np.sqrt((off**2).mean()) < 1.1 * NOISE_STD


@pytest.mark.parametrize("seed", range(8))
def test_one_side_and_only_one_is_missing(seed: int) -> None:
    degraded = degrade_mesh(BOX, "missing_side", seed=seed)
    assert isinstance(degraded, Mesh)
    normals = face_normals(degraded)
    areas = face_areas(degraded)
    shares = [areas[normals @ side > 0.9].sum() for side in SIDES]
    whole = [face_areas(BOX)[face_normals(BOX) @ side > 0.9].sum() for side in SIDES]
    gone = [k for k in range(6) if shares[k] < 0.01]
    assert len(gone) == 1
    assert all(shares[k] == pytest.approx(whole[k]) for k in range(6) if k not in gone)


def test_what_another_part_hides_is_not_seen() -> None:
    upper = Mesh(BOX.vertices * 0.3 + [0, 0, 0.9], BOX.faces)
    both = Mesh(
        np.concatenate([BOX.vertices, upper.vertices]), np.concatenate([BOX.faces, upper.faces + 8])
    )
    fine = split_long_edges(both, 0.05)
    seen = seen_from(fine, np.array([0.0, 0, 1]), np.random.default_rng(0))
    middles = fine.triangles.mean(axis=1)
    shadow = (np.abs(middles[:, 0]) < 0.15) & (np.abs(middles[:, 1]) < 0.1)
    top = np.abs(middles[:, 2] - 0.5) < 1e-6
    assert not seen[top & shadow].any()
    assert seen[np.abs(middles[:, 2] - 1.05) < 1e-6].all()
    assert not seen[middles[:, 2] < 0.4].any()


def test_holes_open_the_surface_but_leave_most_of_it() -> None:
    degraded = degrade_mesh(BOX, "holes", seed=0)
    assert isinstance(degraded, Mesh)
    share = face_areas(degraded).sum() / face_areas(BOX).sum()
    assert 0.8 < share < 0.99


def test_decimation_keeps_the_shape_with_far_fewer_faces() -> None:
    fine = split_long_edges(BOX, 0.03)
    coarse = cluster_vertices(fine, 0.1)
    assert len(coarse.faces) < len(fine.faces) / 5
    assert coarse.signed_volume == pytest.approx(BOX.signed_volume, rel=0.1)
    assert cKDTree(points_of(coarse)).query(points_of(BOX))[0].max() < 0.15


def test_density_varies_severalfold() -> None:
    cloud = points_of(degrade_mesh(BOX, "uneven", seed=0))
    counts = np.sort([((cloud @ side) > 0.3).mean() for side in SIDES])
    assert counts[-1] > 1.5 * counts[0]


def test_a_scan_misses_a_side_and_is_noisy_along_the_normals() -> None:
    for seed in range(3):
        cloud = points_of(degrade_mesh(BOX, "scan", seed=seed))
        assert 3000 < len(cloud) < 18_000
        off = points_to_surface(cloud, BOX)
        assert 0.5 * SCAN_NOISE_STD < np.sqrt((off**2).mean()) < 1.2 * SCAN_NOISE_STD
        assert missing_sides(cloud) == 1


def test_a_pose_turns_without_bending_and_is_the_one_that_is_told() -> None:
    posed = degrade_mesh(BOX, "posed", seed=5)
    assert isinstance(posed, Mesh)
    rotation = random_pose(5)
    assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.linalg.det(rotation) > 0.99
    assert np.allclose(posed.vertices, BOX.vertices @ rotation.T)
    turned = np.array([random_pose(seed)[2] for seed in range(400)])
    assert np.abs(turned.mean(axis=0)).max() < 0.12  # where z goes is even over the sphere


def test_an_unknown_track_and_a_surface_without_area_are_refused() -> None:
    with pytest.raises(InputError, match="foggy"):
        degrade_mesh(BOX, "foggy", seed=0)
    with pytest.raises(GeometryError):
        degrade_mesh(Mesh(np.zeros((3, 3)), BOX.faces[:0]), "scan", seed=0)


@pytest.mark.parametrize("with_normals", [True, False])
def test_a_side_of_the_points_goes_and_the_rest_stays(with_normals: bool) -> None:
    rng = np.random.default_rng(0)
    points = sample_surface(BOX, 8192, rng).astype(np.float32)
    half = np.array([1, 0.8, 0.5])
    axis = (np.abs(np.abs(points) - half)).argmin(axis=1)
    normals = np.sign(points) * (np.arange(3) == axis[:, None])
    only = PointDegradation(noise=0, missing_side=1, holes=0, uneven=0)
    before = points.copy()
    rows = {row.tobytes(): k for k, row in enumerate(points)}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        left = degrade_points(points, normals if with_normals else None, rng, degradation=only)
        lost = np.ones(len(points), dtype=bool)
        lost[[rows[row.tobytes()] for row in left]] = False  # a KeyError were a point made up
        side = max(SIDES, key=lambda s: (lost & (normals @ s > 0.5)).sum())
        whole = normals @ side > 0.5
        assert lost[whole].all()
        assert lost[~whole].mean() < (0.001 if with_normals else 0.12)
    assert (points == before).all()


def test_nothing_happens_where_nothing_is_asked_for_and_enough_is_left() -> None:
    points = sample_surface(BOX, 300, np.random.default_rng(0)).astype(np.float32)
    same = degrade_points(points, None, np.random.default_rng(1), degradation=NOTHING)
    assert (same == points).all()
    every = PointDegradation(noise=1, missing_side=1, holes=1, uneven=1)
    for seed in range(10):
        left = degrade_points(points, None, np.random.default_rng(seed), degradation=every)
        assert 256 <= len(left) <= 300
    again = [
        degrade_points(points, None, np.random.default_rng(3), degradation=every) for _ in "ab"
    ]
    assert again[0].tobytes() == again[1].tobytes()
    assert again[0].dtype == np.float32
