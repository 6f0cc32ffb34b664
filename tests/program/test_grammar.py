"""The tree itself: one form of a number, and numbers taken out and put back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadwright.program.grammar import (
    Box,
    Circle,
    Extrude,
    Face,
    Plane,
    Program,
    Push,
    Rect,
    Sketch,
    numbers,
    sizes_are_positive,
    tidy,
    with_numbers,
)

BOX = Program((Plane("XY", (1, 2, 3)),), (Box(0, 4, (5, 6), (7, 8, 9)),))


@given(st.floats(-1e6, 1e6))
def test_tidy_has_one_form_for_one_value(value: float) -> None:
    once = tidy(value)
    assert tidy(once) == once
    assert type(tidy(once)) is type(once)
    assert isinstance(once, int) == (once == int(once))
    assert abs(once - value) <= 5.1e-7


def test_tidy_knows_no_negative_zero() -> None:
    assert str(tidy(-0.0)) == "0"
    assert str(tidy(-1e-9)) == "0"


def test_numbers_come_in_the_order_of_the_text_without_indices_of_planes() -> None:
    assert list(numbers(BOX)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    ops = (Push((1.5, -2)), Rect(3, 4, "s"), Face(7, Sketch((Circle(5),))))
    assert list(numbers(Extrude(7, Sketch(ops), -6))) == [1.5, -2, 3, 4, 5, -6]


@given(st.from_type(Program))
def test_numbers_put_back_give_an_equal_tree(program: Program) -> None:
    assert with_numbers(program, list(numbers(program))) == program


@given(st.from_type(Program))
def test_other_numbers_arrive_in_the_same_places(program: Program) -> None:
    wanted = [tidy(k + 0.25) for k in range(len(list(numbers(program))))]
    changed = with_numbers(program, wanted)
    assert list(numbers(changed)) == wanted
    assert len(changed.bodies) == len(program.bodies)


@pytest.mark.parametrize("count", [0, 8, 10])
def test_a_wrong_count_of_numbers_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="many values|few values"):
        with_numbers(BOX, [1] * count)


@given(st.from_type(Program))
def test_equal_trees_have_equal_hashes(program: Program) -> None:
    again = with_numbers(program, list(numbers(program)))
    assert hash(again) == hash(program)


@given(st.from_type(Program))
def test_every_program_of_the_grammar_has_positive_sizes(program: Program) -> None:
    assert sizes_are_positive(program)


@pytest.mark.parametrize("place", [6, 7, 8])
@pytest.mark.parametrize("value", [0, -1])
def test_a_box_without_size_is_noticed(place: int, value: int) -> None:
    changed = list(numbers(BOX))
    changed[place] = value
    assert not sizes_are_positive(with_numbers(BOX, changed))


def test_a_hole_without_size_is_noticed_in_a_face() -> None:
    face = Face(0, Sketch((Circle(0, "s"),)))
    body = Extrude(0, Sketch((Rect(1, 1), face)), 1)
    assert not sizes_are_positive(Program(BOX.planes, (body,)))
