"""Splitting edges: the same surface, no long edge, no crack."""

import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.geometry.subdivide import split_long_edges
from cadwright.geometry.welding import face_areas
from cadwright.types import Mesh

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-0.5, 0.5) for z in (-0.1, 0.1)], float)
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


@pytest.mark.parametrize("longest", [5.0, 0.7, 0.3, 0.06])
def test_the_surface_stays_and_no_edge_is_long(longest: float) -> None:
    fine = split_long_edges(BOX, longest)
    corners = fine.triangles
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    assert lengths.max() <= longest + 1e-9 or longest == 5.0
    assert fine.signed_volume == pytest.approx(BOX.signed_volume)
    assert face_areas(fine).sum() == pytest.approx(face_areas(BOX).sum())
    assert (face_areas(fine) > 0).all()


def test_what_was_closed_stays_closed() -> None:
    faces = split_long_edges(BOX, 0.1).faces
    ahead = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True)}
    assert len(ahead) == 3 * len(faces)  # no directed edge twice
    assert all((b, a) in ahead for a, b in ahead)


def test_an_impossible_length_is_refused() -> None:
    with pytest.raises(GeometryError, match="length 0"):
        split_long_edges(BOX, 0.0)
