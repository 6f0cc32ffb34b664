"""What can be asked about a shape, and what is true: questions with answers, and captions.

In: what is known of a part (``visible``). Out: texts with the published prompt first, and the way
back from an answer to the numbers it names. What is not known is not said and not asked. The seed
changes the wording, never what is said.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal, get_args

from cadwright.errors import InputError
from cadwright.models.align3d.conversation import PROMPT
from cadwright.synth.describe import CALLED
from cadwright.synth.facts import Kind

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

NOTHING = "This is a part."
"""The caption where nothing is known."""

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

    kind: Kind | None
    bodies: int | None
    holes: int | None


def is_whole(said: Said) -> bool:
    """Whether it names every topic."""
    return all(getattr(said, topic) is not None for topic in TOPICS)


def said_to_pairs(said: Said, *, seed: int) -> list[Pair]:
    """A caption in answer to the published prompt, and a question of each topic that is known."""
    rng = random.Random(seed)
    caption = Pair(PROMPT, said_to_words(said, seed=seed))
    known = [topic for topic in TOPICS if getattr(said, topic) is not None]
    return [
        caption,
        *(Pair(rng.choice(QUESTIONS[topic]), said_to_answer(said, topic)) for topic in known),
    ]


def said_to_answer(said: Said, topic: Topic) -> str:
    """The sentence that answers every wording of a topic's question.

    Raises:
        InputError: there is no such topic, or nothing is known of it.
    """
    if topic not in TOPICS:
        raise InputError(f"a question is about {', '.join(TOPICS)}, not {topic!r}")
    if getattr(said, topic) is None:
        raise InputError(f"nothing is known of the {topic}")
    if topic == "kind":
        return f"The main body is {_kind(said)}."
    return f"It has {_bodies(said) if topic == 'bodies' else _holes(said)}."


def said_to_words(said: Said, *, seed: int) -> str:
    """A caption that names what is known, numbers as digits."""
    rng = random.Random(seed)
    kind, bodies, holes = _kind(said), _bodies(said), _holes(said)
    counts = " and ".join(text for text in (bodies, holes) if text)
    form = rng.choice(("plain", "list", "consists", "made"))
    if form == "consists" and bodies:
        tail = f"; the largest is {kind}" if kind else ""
        return f"This part consists of {bodies}{f' with {holes}' if holes else ''}{tail}."
    if form == "made" and bodies:
        tail = f", and has {holes}" if holes else ""
        return f"It is made of {bodies}{f', mainly {kind}' if kind else ''}{tail}."
    first, second = ("Main body: {}.", "There are {} in all.")
    if form != "list":
        first, second = ("The main body is {}.", "The part has {}.")
    sentences = [first.format(kind)] if kind else []
    sentences += [second.format(counts)] if counts else []
    return " ".join(sentences) or NOTHING


def _kind(said: Said) -> str:
    return "" if said.kind is None else CALLED[said.kind]


def _bodies(said: Said) -> str:
    return (
        "" if said.bodies is None else f"{said.bodies} {'body' if said.bodies == 1 else 'bodies'}"
    )


def _holes(said: Said) -> str:
    if said.holes is None:
        return ""
    return f"{said.holes} through {'hole' if said.holes == 1 else 'holes'}"


def text_to_said(text: str) -> Said:
    """What a caption or an answer of this package's wording says."""
    bodies, holes = _NUM_BODIES.search(text), _NUM_HOLES.search(text)
    # The longest name first: "a prism with arcs" before any that could begin the same way.
    names = sorted(CALLED.items(), key=lambda pair: -len(pair[1]))
    kind = next((kind for kind, name in names if re.search(rf"\b{name}\b", text)), None)
    return Said(
        kind, int(bodies.group(1)) if bodies else None, int(holes.group(1)) if holes else None
    )
