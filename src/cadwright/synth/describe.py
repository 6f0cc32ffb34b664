"""Program -> words: as someone would ask for the part, or with all its numbers, or its counts.

In: a program and a seed. Out: one paragraph. The seed changes the wording, never what is said:
that comes from ``synth.facts`` (kinds, counts, places) and ``synth.wording`` (all numbers).
"""

from __future__ import annotations

import random
from typing import Literal, get_args

import numpy as np

from cadwright.errors import InputError
from cadwright.program.grammar import Program
from cadwright.synth.facts import BodyFacts, Facts, Kind, facts
from cadwright.synth.wording import program_to_words

__all__ = ["STYLES", "Facts", "Style", "describe", "facts", "facts_to_words"]

Style = Literal["abstract", "dimensioned", "counts"]
STYLES: tuple[Style, ...] = get_args(Style)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# a body's largest side over the two others, from where on it is long, and the reverse for flat
LONG, FLAT = 2.5, 0.25
FLAT_NOUNS: dict[Kind, tuple[str, ...]] = {
    "box": ("rectangular plate", "flat rectangular plate"),
    "cylinder": ("round disc", "flat disc"),
    "ring": ("flat ring", "washer"),
    "frame": ("flat rectangular frame", "flat frame"),
    "prism": ("flat plate with straight sides", "plate with a straight-sided outline"),
    "rounded prism": ("flat plate with a curved outline", "plate with arcs in its outline"),
    "profile": ("flat plate of several shapes", "plate made of several overlapping shapes"),
    "revolved": ("flat turned part", "flat body of revolution"),
}
LONG_NOUNS: dict[Kind, tuple[str, ...]] = {
    "box": ("rectangular bar", "long box"),
    "cylinder": ("round rod", "long cylinder"),
    "ring": ("tube", "long round tube"),
    "frame": ("rectangular tube", "long rectangular tube"),
    "prism": ("bar with a straight-sided section", "long prism"),
    "rounded prism": ("bar with a rounded section", "long bar with a curved outline"),
    "profile": ("bar of several shapes", "long profile of several shapes"),
    "revolved": ("long turned part", "long body of revolution"),
}
NOUNS: dict[Kind, tuple[str, ...]] = {
    "box": ("box", "rectangular block"),
    "cylinder": ("cylinder", "round block"),
    "ring": ("ring", "thick ring"),
    "frame": ("rectangular frame", "frame"),
    "prism": ("prism with straight sides", "straight-sided block"),
    "rounded prism": ("block with a curved outline", "block with arcs in its outline"),
    "profile": ("block of several shapes", "profile of several overlapping shapes"),
    "revolved": ("turned part", "body of revolution"),
}
SIDES = (
    ("left of it", "right of it"),
    ("in front of it", "behind it"),
    ("below it", "on top of it"),
)
CALLED: dict[Kind, str] = {
    "box": "a box", "cylinder": "a cylinder", "ring": "a ring", "frame": "a rectangular frame",
    "prism": "a prism with straight sides", "rounded prism": "a prism with arcs in its outline",
    "profile": "a profile of several shapes", "revolved": "a revolved body",
}  # fmt: skip
"""The one name of each kind in the style ``counts``."""


def describe(program: Program, *, style: Style, seed: int) -> str:
    """Say in words what a program makes.

    Args:
        program: any frame; numbers are repeated as they are.
        style: ``abstract`` names shapes and places without a number, ``dimensioned`` holds every
            number of the program, ``counts`` the kind of the main body and how many bodies and
            holes there are.
        seed: chooses the wording.

    Raises:
        InputError: there is no such style.
        InvalidShape: the program has no meaning.
    """
    rng = random.Random(seed)
    if style == "dimensioned":
        return program_to_words(program, rng)
    if style == "counts":
        return facts_to_words(facts(program), seed=seed)
    if style == "abstract":
        return _abstract(facts(program), rng)
    raise InputError(f"a style of words is one of {', '.join(STYLES)}, not {style!r}")


def facts_to_words(known: Facts, *, seed: int) -> str:
    """Kind of the main body, number of bodies and of holes; the numbers as digits."""
    rng = random.Random(seed)
    kind, bodies = CALLED[known.kind], _count(known.num_bodies, "body", "bodies")
    holes = _count(known.num_holes, "through hole", "through holes")
    said = rng.choice(
        (
            "The main body is {kind}. The part has {bodies} and {holes}.",
            "This part consists of {bodies} with {holes}; the largest is {kind}.",
            "It is made of {bodies}, mainly {kind}, and has {holes}.",
            "Main body: {kind}. There are {bodies} and {holes} in all.",
        )
    ).format(kind=kind, bodies=bodies, holes=holes)
    if known.num_cuts:
        said += f" {_count(known.num_cuts, 'body is', 'bodies are')} cut away."
    return said


def _count(num: int, one: str, many: str) -> str:
    return f"{num} {one if num == 1 else many}"


def _abstract(known: Facts, rng: random.Random) -> str:
    main = known.bodies[known.main]
    lead = rng.choice(("{}", "I need {}", "Make {}", "This part is {}", "Please model {}"))
    text = _article(_noun(main, rng)) + _holes(main, rng)
    others = [body for k, body in enumerate(known.bodies) if k != known.main]
    said = [_other(body, main, rng) for body in others]
    if said:
        text += rng.choice((" and ", ", with ", " plus ")) + _enumerate(said)
    text = lead.format(text) + "."
    return text[0].upper() + text[1:]


def _noun(body: BodyFacts, rng: random.Random) -> str:
    across, up = max(body.size[:2]), body.size[2]
    low, middle, high = sorted(body.size)
    if body.kind in ("box", "revolved"):  # it has no direction of its own
        if low < FLAT * middle:
            return rng.choice(FLAT_NOUNS[body.kind])
        return rng.choice((LONG_NOUNS if high > LONG * middle else NOUNS)[body.kind])
    if up < FLAT * across:
        return rng.choice(FLAT_NOUNS[body.kind])
    return rng.choice((LONG_NOUNS if up > LONG * across else NOUNS)[body.kind])


def _holes(body: BodyFacts, rng: random.Random) -> str:
    """The holes beside the one that makes a ring or frame what it is."""
    holes = list(body.holes)
    if body.kind in ("ring", "frame") or not holes:
        return ""
    shapes = {is_round for _, is_round in holes}
    shape = "" if len(shapes) == 2 else "round " if shapes == {True} else "angular "
    number = _article("", shape) if len(holes) == 1 else f"{_number_word(len(holes))} {shape}"
    word = rng.choice(("hole", "through hole"))
    text = f" with {number}{word}{'s' if len(holes) > 1 else ''}"
    if len(holes) == 1 and _is_central(body):
        text += rng.choice((" in the middle", " in its centre"))
    return text


def _is_central(body: BodyFacts) -> bool:
    """Whether the first hole is in the middle of the body, give or take a tenth of its sides."""
    ((x, y), _), *_ = body.holes
    return bool(
        abs(x - body.middle[0]) < 0.1 * body.size[0]
        and abs(y - body.middle[1]) < 0.1 * body.size[1]
    )


def _other(body: BodyFacts, main: BodyFacts, rng: random.Random) -> str:
    noun = _noun(body, rng)
    if body.is_cut:
        return f"{_article(noun)} cut out of it"
    return f"{_article(noun)}{_holes(body, rng)} {_place(body, main)}"


def _place(body: BodyFacts, main: BodyFacts) -> str:
    """On which side of the main body most of another one stands out."""
    over = np.stack([main.low - body.low, body.high - main.high])
    side, axis = np.unravel_index(int(over.argmax()), over.shape)
    if over.max() < 0.02 * (main.high - main.low).max():
        return "within its outer dimensions"
    if over[1 - side, axis] > 0.6 * over[side, axis]:
        return "through it"
    return SIDES[int(axis)][int(side)]


def _article(noun: str, adjective: str = "") -> str:
    words = adjective + noun
    return ("an " if words[:1] in "aeiou" and words else "a ") + words


def _number_word(num: int) -> str:
    return NUMBERS[num] if num < len(NUMBERS) else str(num)


def _enumerate(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
