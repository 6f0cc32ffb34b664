"""The generator: reproducible, sound, and like the published set."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cadwright.geometry.frames import placement_to_model
from cadwright.geometry.scan import PointDegradation
from cadwright.program.grammar import is_published_dialect
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw, draw_program, draw_solid, sample_at
from cadwright.synth.statistics import (
    PUBLISHED_SHARES,
    statistics_to_table,
    texts_to_statistics,
)
from cadwright.types import Outcome

SEED = 4


@pytest.fixture(scope="module")
def texts() -> list[str]:
    programs = [draw_program(SEED, index) for index in range(300)]
    assert all(program is not None for program in programs)
    return [program_to_text(program) for program in programs if program is not None]


def test_a_draw_depends_on_seed_and_index_alone(texts: list[str]) -> None:
    again = draw_program(SEED, 17)
    other = draw_program(SEED + 1, 17)
    assert again is not None and other is not None
    assert program_to_text(again) == texts[17] != program_to_text(other)


def test_drawn_programs_survive_printing_and_reading(texts: list[str]) -> None:
    for text in texts:
        assert program_to_text(text_to_program(text)) == text


def test_drawn_solids_fill_the_program_frame() -> None:
    for index in range(40):
        drawn = draw_solid(SEED, index)
        assert drawn is not None
        built = program_to_mesh(drawn[0])
        assert built.outcome is Outcome.OK and built.mesh is not None
        assert built.volume == pytest.approx(drawn[1].volume(), rel=1e-6)
        low, high = built.mesh.bounds
        assert abs((high - low).max() - 200) <= 1
        assert np.abs(low + high).max() / 2 <= 1


def test_every_body_adds_volume() -> None:
    for index in range(40):
        program = draw_program(SEED, index)
        assert program is not None
        whole = program_to_mesh(program).volume
        largest = max(
            program_to_mesh(type(program)(program.planes, (body,))).volume
            for body in program.bodies
        )
        assert len(program.bodies) == 1 or whole > 1.005 * largest


def test_solids_hang_together_but_for_a_few_in_two_pieces() -> None:
    pieces = []
    for index in range(60):
        drawn = draw_solid(SEED, index)
        assert drawn is not None
        pieces.append(len(drawn[1].decompose()))
    assert max(pieces) <= 2 and pieces.count(2) <= 9


def test_shares_of_calls_are_near_the_published_ones(texts: list[str]) -> None:
    statistics = texts_to_statistics(texts)
    for call, published in PUBLISHED_SHARES.items():
        assert abs(statistics["shares"][call] - published) < 0.12, call  # 0.09 and the noise of 300
    assert 300 < statistics["characters_mean"] < 460
    assert statistics["lines_median"] == 3
    assert 1.7 < statistics["bodies_mean"] < 2.3
    assert "| programs with extrude |" in statistics_to_table(statistics)


def test_points_of_a_sample_lie_in_the_model_frame_and_on_the_solid() -> None:
    sample = sample_at(SEED, 3, num_points=64)
    drawn = draw_solid(SEED, 3)
    assert sample is not None and drawn is not None
    assert sample.points.shape == (64, 3) and sample.points.dtype == np.float32
    assert 0.9 < np.abs(sample.points).max() <= 1.0001
    assert sample.text == program_to_text(drawn[0])


def test_draws_keep_to_the_published_dialect_and_few_planes() -> None:
    for index in range(60):
        program = draw_program(SEED, index)
        assert program is not None and is_published_dialect(program)
        assert len(program.planes) <= 4 and len(program.bodies) <= 6


def test_a_sample_without_a_side_has_the_same_program_and_other_points() -> None:
    bare = 0
    for index in range(12):
        whole = sample_at(SEED, index, num_points=64)
        for settings in (
            {"missing_side_probability": 1.0},
            {"degradation": PointDegradation(noise=1, missing_side=1, holes=1, uneven=1)},
        ):
            spoilt = sample_at(SEED, index, num_points=64, **settings)
            again = sample_at(SEED, index, num_points=64, **settings)
            assert whole is not None and spoilt is not None and again is not None
            assert spoilt.text == whole.text and spoilt.points.shape == (64, 3)
            assert spoilt.points.tobytes() == again.points.tobytes() != whole.points.tobytes()
            assert spoilt.points.dtype == np.float32
        drawn = draw(SEED, index)
        whole = sample_at(SEED, index, num_points=512)
        open_side = sample_at(SEED, index, num_points=512, missing_side_probability=1.0)
        assert drawn is not None and whole is not None and open_side is not None
        clean = placement_to_model(drawn.bounds).apply(drawn.surface)
        assert cKDTree(clean).query(open_side.points)[0].max() < 1e-5  # it lies where it lay
        cover = cKDTree(whole.points).query(clean)[0].max()
        bare += (cKDTree(open_side.points).query(clean)[0] > cover).mean() > 0.02
    assert bare >= 8  # a side of some size is gone, not single points
