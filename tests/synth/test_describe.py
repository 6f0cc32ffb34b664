"""Words: all numbers where promised, the same facts in every wording, other words by seed."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from cadwright.errors import InputError
from cadwright.program.grammar import numbers, with_numbers
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.describe import CALLED, describe
from cadwright.synth.facts import KINDS, facts
from cadwright.synth.generate import draw_program

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n"
PLATE = (
    "w1=cq.Workplane('YZ',origin=(5,0,0))\n"
    "r=w0.sketch().rect(100,60).push([(-30,20)]).circle(5,mode='s').push([(30,-20)])"
    ".circle(5,mode='s').finalize().extrude(8).union(w0.workplane(offset=40/2).cylinder(40,12))"
    ".union(w1.workplane(offset=-20/2).moveTo(0,4).box(10,8,20))"
)
# source, kind of the main body, bodies, holes
KNOWN = [
    ("r=w0.workplane(offset=9/2).box(50,40,9)", "box", 1, 0),
    ("r=w0.workplane(offset=-9/2).cylinder(9,40)", "cylinder", 1, 0),
    ("r=w0.sketch().circle(40).circle(30,mode='s').finalize().extrude(9)", "ring", 1, 1),
    ("r=w0.sketch().rect(40,30).rect(30,20,mode='s').finalize().extrude(9)", "frame", 1, 1),
    (PLATE, "box", 3, 2),
    (
        "r=w0.sketch().segment((0,0),(50,0)).segment((0,40)).close().assemble()"
        ".push([(10,10)]).circle(4,mode='s').finalize().extrude(9)",
        "prism", 1, 1,
    ),
    (
        "r=w0.sketch().segment((0,0),(50,0)).arc((60,20),(50,40)).segment((0,40)).close()"
        ".assemble().finalize().extrude(9)",
        "rounded prism", 1, 0,
    ),
    ("r=w0.sketch().circle(9).push([(20,0)]).rect(30,9).finalize().extrude(9)", "profile", 1, 0),
    (
        "r=w0.sketch().rect(40,30).push([(20,0)]).rect(10,10,mode='s').finalize().extrude(9)",
        "box", 1, 0,  # a notch is no hole
    ),
    (
        "r=w0.sketch().push([(20,0)]).circle(6).finalize().revolve(360,(0,0,0),(0,1,0))",
        "revolved", 1, 0,
    ),
    (
        "r=w0.workplane(offset=9/2).box(50,40,9).cut(w0.workplane(offset=9/2).cylinder(9,4))",
        "box", 1, 0,
    ),
]  # fmt: skip


def read_numbers(text: str) -> Counter[float]:
    return Counter(float(word) for word in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", text))


@pytest.fixture(scope="module")
def programs() -> list:
    return [text_to_program(HEAD + source) for source, *_ in KNOWN] + [
        draw_program(12, index) for index in range(60)
    ]


@pytest.mark.parametrize(("source", "kind", "bodies", "holes"), KNOWN)
def test_facts_of_hand_made_programs(source: str, kind: str, bodies: int, holes: int) -> None:
    known = facts(text_to_program(HEAD + source))
    assert (known.kind, known.num_bodies, known.num_holes) == (kind, bodies, holes)


def test_facts_name_planes_cuts_and_places() -> None:
    known = facts(text_to_program(HEAD + PLATE))
    assert known.planes == ("XY", "YZ") and known.main == 0 and known.num_cuts == 0
    assert known.bodies[0].holes == (((-30, 20), True), ((30, -20), True)) or (
        known.bodies[0].holes == (((30, -20), True), ((-30, 20), True))
    )
    assert known.bodies[2].low.tolist() == [-15, -5, 0]
    assert facts(text_to_program(HEAD + KNOWN[-1][0])).num_cuts == 1


def test_every_number_stands_in_the_dimensioned_words(programs: list) -> None:
    for program in programs:
        said = read_numbers(describe(program, style="dimensioned", seed=3))
        for value, times in Counter(map(float, numbers(program))).items():
            assert said[value] >= (times > 0), value
        assert not set(said) - set(map(float, numbers(program))) - {0.0, 1.0, 2.0, 360.0}


def test_another_number_gives_other_words(programs: list) -> None:
    for program in programs[:30]:
        values = list(numbers(program))
        words = describe(program, style="dimensioned", seed=3)
        for k in range(len(values)):
            other = with_numbers(program, [*values[:k], values[k] + 0.5, *values[k + 1 :]])
            assert describe(other, style="dimensioned", seed=3) != words, (words, k)


def test_other_programs_have_other_dimensioned_words(programs: list) -> None:
    assert len({describe(program, style="dimensioned", seed=3) for program in programs}) == len(
        set(programs)
    )


def test_counts_name_the_facts_in_every_wording(programs: list) -> None:
    for program in programs[::4]:
        known = facts(program)
        said = {describe(program, style="counts", seed=seed) for seed in range(12)}
        assert len(said) > 2
        for text in said:
            assert f"{known.num_bodies} bod" in text and f"{known.num_holes} through hole" in text
            assert re.search(rf"{CALLED[known.kind]}\b", text)


def test_abstract_words_hold_no_numbers_and_vary(programs: list) -> None:
    for program in programs[::4]:
        said = {describe(program, style="abstract", seed=seed) for seed in range(20)}
        assert len(said) > 3
        assert not any(re.search(r"\d", text) for text in said)
    text = describe(text_to_program(HEAD + PLATE), style="abstract", seed=0)
    assert "plate" in text and "two round" in text and "on top of it" in text


def test_a_seed_fixes_the_words_and_every_kind_has_one_name(programs: list) -> None:
    for style in ("abstract", "dimensioned", "counts"):
        texts = [describe(programs[4], style=style, seed=seed) for seed in (1, 1, 2, 3, 4)]
        assert texts[0] == texts[1] and len(set(texts)) > 1
    assert set(CALLED) == set(KINDS) and len(set(CALLED.values())) == len(KINDS)


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(InputError, match="loud"):
        describe(text_to_program(HEAD + KNOWN[0][0]), style="loud", seed=0)  # type: ignore[arg-type]
