from __future__ import annotations

import pytest

from cadwright.apps.http.worker.program_numbers import text_to_numbers, with_values
from cadwright.errors import InputError, ProgramError
from cadwright.program.program_to_user import text_to_user_program

SCRIPT = """import cadquery as cq

plate_length = 40
hole_x = -12.5
half = plate_length / 2

w0 = cq.Workplane("XY", origin=(1, -2, 3))

r = (
    w0
    .sketch()
    .rect(plate_length, 20)
    .push([(hole_x, 0)])
    .circle(6 / 2, mode="s")
    .finalize()
    .extrude(half)
)
"""


def by_id(text: str = SCRIPT) -> dict[str, dict[str, float]]:
    return {one["id"]: one for one in text_to_numbers(text, size=40)}


def test_named_dimensions_and_plain_numbers_are_found() -> None:
    numbers = by_id()
    named = [name for name, one in numbers.items() if one["named"]]
    assert named == ["plate_length", "hole_x"]  # 'half' follows from another
    assert [one["value"] for one in numbers.values()] == [40, -12.5, 1, -2, 3, 20, 0, 6]
    assert numbers["hole_x"]["kind"] == "position"


def test_ranges_hold_the_value_at_whole_steps_and_sizes_stay_positive() -> None:
    for one in by_id().values():
        assert one["min"] < one["max"] and one["min"] <= one["value"] <= one["max"]
        steps = (one["value"] - one["min"]) / one["step"]
        assert steps == pytest.approx(round(steps), abs=1e-6)
        assert 20 <= (one["max"] - one["min"]) / one["step"] <= 600
        if one["kind"] == "size":
            assert one["min"] > 0


def test_values_go_where_they_belong() -> None:
    numbers = by_id()
    (y,) = [name for name, one in numbers.items() if one["value"] == -2]
    (diameter,) = [name for name, one in numbers.items() if one["value"] == 6]
    text = with_values(SCRIPT, {"hole_x": 3.25, y: 7, diameter: 8, "plate_length": 50})
    assert "hole_x = 3.25\n" in text and "origin=(1, 7, 3)" in text
    user = text_to_user_program(text)
    assert user.program.bodies[0].sketch.ops[0].width == 50  # type: ignore[union-attr]
    assert text.count("\n") == SCRIPT.count("\n")
    assert with_values(SCRIPT, {}) == SCRIPT


def test_the_same_values_give_the_same_text() -> None:
    numbers = {name: one["value"] for name, one in by_id().items()}
    assert text_to_user_program(with_values(SCRIPT, numbers)) is not None
    assert with_values(with_values(SCRIPT, numbers), {}) == with_values(SCRIPT, numbers)


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="no number 'depth'"):
        with_values(SCRIPT, {"depth": 3})
    with pytest.raises(InputError, match="hole_x cannot be inf"):
        with_values(SCRIPT, {"hole_x": float("inf")})
    with pytest.raises(ProgramError):
        with_values("r = (", {"a": 1})
    assert text_to_numbers("r = (", size=1) == []


def test_names_with_letters_beyond_ascii_keep_their_columns() -> None:
    text = SCRIPT.replace("plate_length = 40", "plätte = 1; plate_length = 40")
    assert "plate_length = 41" in with_values(text, {"plate_length": 41})
