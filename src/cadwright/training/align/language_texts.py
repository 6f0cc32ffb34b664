"""Texts without shapes: a description in words, a question about it, and the answer.

In: number of a draw. Out: (context, question, answer), a pure function of seed and number. The
context stands where an aligned model gets its 3-D tokens: right before the question.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from cadwright.models.align3d.conversation import PROMPT
from cadwright.models.align3d.pairs import NOTHING, QUESTIONS, Said, said_to_pairs, said_to_words
from cadwright.synth.describe import CALLED, describe, facts
from cadwright.synth.facts import KINDS
from cadwright.synth.generate import draw_program

CONTEXTS = ("list", "list", "abstract", "counts", "nothing")
FILLERS = ("a side", "an edge", "a wall", "a corner", "a face")
MOST_FILLERS = 24
POOL = 256  # programs behind the contexts in words; drawing one takes longer than learning it
UNKNOWN = 0.15  # share of what is left open
BODIES, HOLES = (0.3, 0.35, 0.2, 0.1, 0.05), (0.4, 0.25, 0.12, 0.08, 0.06, 0.04, 0.03, 0.02)


class Example(NamedTuple):
    """One text to learn from."""

    context: str
    question: str
    answer: str


def draw_example(seed: int, index: int) -> Example:
    """Text number ``index`` of stream ``seed``."""
    rng = random.Random(f"{seed} {index}")
    style = rng.choice(CONTEXTS)
    if style == "abstract":
        known, context = _described(seed, index % POOL, rng.randrange(4))
    else:
        known = _draw_said(rng)
        context = ""
    if style == "list":
        context = _list(known, rng)
    elif style == "counts":
        context = said_to_words(known, seed=rng.randrange(1 << 30))
    pairs = said_to_pairs(known, seed=rng.randrange(1 << 30))
    if style == "nothing":  # how descriptions go, whatever the shape
        return Example("", pairs[0].question, pairs[0].answer)
    pair = rng.choice(pairs)
    return Example(context, pair.question, pair.answer)


def vocabulary_texts(num: int, *, seed: int) -> Iterator[str]:
    """Texts that hold every word that ``draw_example`` is likely to use."""
    yield from (PROMPT, NOTHING, *FILLERS, "mainly a hole", *CALLED.values())
    for wordings in QUESTIONS.values():
        yield from wordings
    for count in (1, 2):
        for wording in range(16):
            pairs = said_to_pairs(Said("box", count, count), seed=wording)
            yield from (pair.answer for pair in pairs)
    for index in range(num):
        program = draw_program(seed, index)
        if program is not None:
            yield describe(program, style="abstract", seed=index)


def _draw_said(rng: random.Random) -> Said:
    kind = rng.choice(KINDS)
    bodies = 1 + rng.choices(range(len(BODIES)), BODIES)[0]
    holes = rng.choices(range(len(HOLES)), HOLES)[0]
    is_known = [rng.random() >= UNKNOWN for _ in range(3)]
    return Said(*(v if k else None for v, k in zip((kind, bodies, holes), is_known, strict=True)))  # type: ignore[arg-type]


@lru_cache(maxsize=8 * POOL)
def _described(seed: int, index: int, wording: int) -> tuple[Said, str]:
    """A program's facts, and it in words without a number."""
    program = draw_program(seed, index)
    if program is None:
        raise RuntimeError(f"the generator gives no part {index} for seed {seed}")
    known = facts(program)
    text = describe(program, style="abstract", seed=wording)
    return Said(known.kind, known.num_bodies, known.num_holes), text


def _list(known: Said, rng: random.Random) -> str:
    """Bodies, holes and things that do not count, in any order: what tokens of a shape can say."""
    things = [] if known.kind is None else [f"mainly {CALLED[known.kind]}"]
    things += [CALLED[rng.choice(KINDS)] for _ in range((known.bodies or 1) - 1)]
    things += ["a hole"] * (known.holes or 0)
    things += [rng.choice(FILLERS) for _ in range(rng.randrange(MOST_FILLERS))]
    rng.shuffle(things)
    return " ".join(things)
