"""Texts without shapes: a description in words, a question about it, and the answer.

In: number of a draw. Out: (context, question, answer), a pure function of seed and number. The
context stands where an aligned model gets its 3-D tokens: right before the question.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from cadwright.models.align3d.conversation import PROMPT
from cadwright.models.align3d.pairs import QUESTIONS, facts_to_pairs
from cadwright.synth.describe import CALLED, describe, facts, facts_to_words
from cadwright.synth.facts import Facts
from cadwright.synth.generate import draw_program

CONTEXTS = ("list", "list", "abstract", "abstract", "counts", "nothing")
FILLERS = ("a side", "an edge", "a wall", "a corner", "a face")
MOST_FILLERS = 24


class Example(NamedTuple):
    """One text to learn from."""

    context: str
    question: str
    answer: str


def draw_example(seed: int, index: int) -> Example | None:
    """Text number ``index`` of stream ``seed``; None if the generator gave no program."""
    program = draw_program(seed, index)
    if program is None:
        return None
    known, rng = facts(program), random.Random(f"{seed} {index}")
    style = rng.choice(CONTEXTS)
    pairs = facts_to_pairs(known, seed=rng.randrange(1 << 30))
    if style == "nothing":  # how descriptions go, whatever the shape
        return Example("", pairs[0].question, pairs[0].answer)
    if style == "list":
        context = _list(known, rng)
    elif style == "abstract":
        context = describe(program, style="abstract", seed=rng.randrange(1 << 30))
    else:
        context = facts_to_words(known, seed=rng.randrange(1 << 30))
    pair = rng.choice(pairs)
    return Example(context, pair.question, pair.answer)


def vocabulary_texts(num: int, *, seed: int) -> Iterator[str]:
    """Texts that hold every word that ``draw_example`` is likely to use."""
    yield from (PROMPT, *FILLERS, "mainly a hole", *CALLED.values())
    for wordings in QUESTIONS.values():
        yield from wordings
    for index in range(num):
        program = draw_program(seed, index)
        if program is not None:
            yield describe(program, style="abstract", seed=index)
            yield from (pair.answer for pair in facts_to_pairs(facts(program), seed=index))


def _list(known: Facts, rng: random.Random) -> str:
    """Bodies, holes and things that do not count, in any order: what tokens of a shape can say."""
    added = [k for k, body in enumerate(known.bodies) if not body.is_cut]
    names = [CALLED[known.bodies[k].kind] for k in added if k != known.main]
    things = [f"mainly {CALLED[known.kind]}", *names, *["a hole"] * known.num_holes]
    things += [rng.choice(FILLERS) for _ in range(rng.randrange(MOST_FILLERS))]
    rng.shuffle(things)
    return " ".join(things)
