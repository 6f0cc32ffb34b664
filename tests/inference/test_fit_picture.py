from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.geometry.metrics import volume_iou
from cadwright.inference.candidates import read_candidates
from cadwright.inference.fit_picture import descend, with_proportions_fitted
from cadwright.inference.ranking import PictureRanking
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

PLATE = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-30))
r=w0.sketch().rect(200,120).push([(50,0)]).circle(30,mode='s').finalize().extrude(60)
"""
# The same plate as a model may have decoded it: too thick, too wide, and not in its place.
DECODED = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-50))
r=w0.sketch().rect(150,130).push([(38,0)]).circle(27,mode='s').finalize().extrude(80)
"""


def mesh_of(text: str) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return mesh


@pytest.fixture(scope="module")
def ranking() -> PictureRanking:
    mesh = mesh_of(PLATE)
    picture = mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds)))
    return PictureRanking(Image.fromarray(picture))


def test_descent_finds_the_proportions_that_are_shown(ranking: PictureRanking) -> None:
    extents = descend(mesh_of(DECODED), ranking.fit)
    np.testing.assert_allclose(extents, (200, 120, 60), atol=5)


def test_a_decoded_part_gets_the_proportions_and_the_place_of_the_picture(
    ranking: PictureRanking,
) -> None:
    decoded, _ = read_candidates([DECODED], ranking)
    fitted = with_proportions_fitted(decoded, ranking)
    truth = mesh_of(PLATE)
    assert len(fitted) == 1 and fitted[0].fit > decoded[0].fit
    assert volume_iou(fitted[0].mesh, truth) > 0.95 > 0.8 > volume_iou(decoded[0].mesh, truth)


def test_a_perfect_candidate_stays_as_it_is(ranking: PictureRanking) -> None:
    decoded, _ = read_candidates([PLATE], ranking)
    assert [one.program for one in with_proportions_fitted(decoded, ranking)] == [
        text_to_program(PLATE)
    ]
