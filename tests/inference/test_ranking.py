from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from reconstruct_stubs import DISC, OPEN_LOOP, PLACEMENT, RING, SHORT

from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.inference.candidates import read_candidates
from cadwright.inference.ranking import PictureRanking, read_agreeing
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh, Outcome


def mesh_of(text: str) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return mesh


def picture_of(text: str) -> Image.Image:
    mesh = mesh_of(text)
    return Image.fromarray(mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds))))


@pytest.fixture(scope="module")
def ring() -> PictureRanking:
    return PictureRanking(picture_of(RING))


def test_own_picture_fits_wholly_and_others_less(ring: PictureRanking) -> None:
    assert ring.fit(mesh_of(RING)) == pytest.approx(1.0)
    assert 0.0 < ring.fit(mesh_of(DISC)) < 0.97
    assert ring.note == ""


def test_scale_and_place_do_not_count_in_a_picture(ring: PictureRanking) -> None:
    assert ring.fit(normalise(mesh_of(RING), PLACEMENT)) > 0.999


def test_picture_chooses_the_part_it_shows() -> None:
    for shown in (RING, DISC, SHORT):
        ranked, outcomes = read_candidates(
            [SHORT, DISC, RING, "?"], PictureRanking(picture_of(shown))
        )
        assert ranked[0].program == text_to_program(shown)
        assert [one.fit for one in ranked] == sorted((one.fit for one in ranked), reverse=True)
        assert outcomes == {Outcome.OK: 3, Outcome.SYNTAX: 1}


def test_larger_and_blurred_pictures_still_choose_rightly() -> None:
    large = picture_of(RING).resize((700, 700), Image.Resampling.BICUBIC)
    ranked, _ = read_candidates([DISC, RING, SHORT], PictureRanking(large))
    assert ranked[0].program == text_to_program(RING)


def test_picture_without_white_paper_is_compared_as_a_whole_and_says_so() -> None:
    pixels = np.asarray(picture_of(RING)).copy()
    pixels[(pixels > 250).all(axis=-1)] = (90, 120, 90)
    ranking = PictureRanking(Image.fromarray(pixels))
    assert "background" in ranking.note
    assert ranking.fit(mesh_of(RING)) > ranking.fit(mesh_of(DISC))


def test_most_agreed_candidate_comes_first_and_repeats_count() -> None:
    ranked, outcomes, _ = read_agreeing([RING, DISC, SHORT, DISC, DISC, OPEN_LOOP, "?"])
    assert ranked[0].program == text_to_program(DISC)
    assert len(ranked) == 3
    assert outcomes == {Outcome.OK: 5, Outcome.INVALID: 1, Outcome.SYNTAX: 1}
    assert read_agreeing([RING, RING, RING, DISC])[0][0].program == text_to_program(RING)


def test_agreement_is_the_mean_iou_with_all_texts() -> None:
    ranked, _, agreement = read_agreeing([DISC, DISC, SHORT])
    shared = (70 / 100) ** 2  # discs of radius 70 and 100, one height
    fits = {one.program: one.fit for one in ranked}
    assert fits[text_to_program(DISC)] == pytest.approx((2 + shared) / 3, abs=0.01)
    assert fits[text_to_program(SHORT)] == pytest.approx((1 + 2 * shared) / 3, abs=0.01)
    assert agreement.fit(mesh_of(DISC)) == pytest.approx(ranked[0].fit, abs=1e-9)


def test_nothing_valid_ranks_nothing() -> None:
    ranked, outcomes, _ = read_agreeing(["?", OPEN_LOOP])
    assert ranked == []
    assert outcomes == {Outcome.SYNTAX: 1, Outcome.INVALID: 1}
