"""What can be asked about a shape, and what is true: questions with answers, and captions.

In: the facts of a program (synth.facts). Out: texts with the published prompt first, and the way
back from an answer to the numbers it names. The seed changes the wording, never what is said.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal, get_args

from cadwright.errors import InputError
from cadwright.models.align3d.conversation import PROMPT
from cadwright.synth.describe import CALLED, facts_to_words
from cadwright.synth.facts import Facts

Topic = Literal["kind", "bodies", "holes"]
TOPICS: tuple[Topic, ...] = get_args(Topic)
QUESTIONS: dict[Topic, tuple[str, ...]] = {
    "kind": (
        "What kind of body is it?", "what kind of body?", "What kind of body is the main one?",
        "What is the main body?", "What kind of part is this?", "what is it?", "What is this?",
    ),
    "bodies": (
        "How many bodies are there?", "how many bodies?", "How many bodies does it have?",
        "How many bodies does the part have?", "number of bodies?",
        "How many bodies is it made of?",
    ),
    "holes": (
        "How many holes are there?", "how many holes?", "How many holes does it have?",
        "How many through holes are there?", "How many holes does the part have?",
        "number of holes?",
    ),
}  # fmt: skip
"""Several ways to ask the same; the first is the one used in evaluations."""

_NUM_BODIES = re.compile(r"\b(\d+) (?:body|bodies)\b(?! (?:is|are) cut)")
_NUM_HOLES = re.compile(r"\b(\d+) (?:through )?holes?\b")


@dataclass(frozen=True, slots=True)
class Pair:
    """A question about a shape and its answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a text names; None where it does not.

    Attributes:
        kind: of the main body, one of ``synth.facts.KINDS``.
        bodies: that are united.
        holes: that go through.
    """

    kind: str | None
    bodies: int | None
    holes: int | None


def facts_to_pairs(known: Facts, *, seed: int) -> list[Pair]:
    """A caption in answer to the published prompt, and one question of each topic."""
    rng = random.Random(seed)
    caption = Pair(PROMPT, facts_to_words(known, seed=seed))
    return [
        caption,
        *(Pair(rng.choice(QUESTIONS[topic]), facts_to_answer(known, topic)) for topic in TOPICS),
    ]


def facts_to_answer(known: Facts, topic: Topic) -> str:
    """The sentence that answers every wording of a topic's question."""
    if topic == "kind":
        return f"The main body is {CALLED[known.kind]}."
    if topic == "bodies":
        return f"It has {known.num_bodies} {'body' if known.num_bodies == 1 else 'bodies'}."
    if topic == "holes":
        return f"It has {known.num_holes} through {'hole' if known.num_holes == 1 else 'holes'}."
    raise InputError(f"a question is about {', '.join(TOPICS)}, not {topic!r}")


def text_to_said(text: str) -> Said:
    """What a caption or an answer of this package's wording says."""
    bodies, holes = _NUM_BODIES.search(text), _NUM_HOLES.search(text)
    # The longest name first: "a prism with arcs" before any that could begin the same way.
    names = sorted(CALLED.items(), key=lambda pair: -len(pair[1]))
    kind = next((kind for kind, name in names if re.search(rf"\b{name}\b", text)), None)
    return Said(
        kind, int(bodies.group(1)) if bodies else None, int(holes.group(1)) if holes else None
    )
