"""Captions against references: BLEU-1, ROUGE-L and METEOR, plain Python.

In: an answer and its reference. Out: shares in [0, 1]. Words are lower case, split at white space
and freed of punctuation at their ends. METEOR is its exact and plural-blind stages (Banerjee and
Lavie 2005, with the later parameters 0.9, 3, 0.5); synonyms are not covered, for want of WordNet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cadwright.errors import InputError

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
EDGES = ".,;:!?\"'()[]"


@dataclass(frozen=True, slots=True)
class CaptionScore:
    """Means over a list of answers, each in [0, 1].

    Attributes:
        bleu_1: share of the answer's words that the reference has, times the brevity penalty.
        rouge_l: F of the longest common subsequence.
        meteor: weighted F of matched words, less a penalty for their order.
    """

    bleu_1: float
    rouge_l: float
    meteor: float


def score_captions(answers: Sequence[str], references: Sequence[str]) -> CaptionScore:
    """Mean scores of answers, one reference each.

    Raises:
        InputError: there is nothing to score, or the lists differ in length.
    """
    if not answers or len(answers) != len(references):
        raise InputError(
            f"captions are scored in pairs: {len(answers)} answers, {len(references)} references"
        )
    pairs = [(to_words(a), to_words(b)) for a, b in zip(answers, references, strict=True)]
    if not all(reference for _, reference in pairs):
        raise InputError("a reference caption is empty")
    rows = [(bleu_1(a, b), rouge_l(a, b), meteor(a, b)) for a, b in pairs]
    return CaptionScore(*(sum(column) / len(rows) for column in zip(*rows, strict=True)))


def best_scores(answers: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScore:
    """Mean scores of answers with several references each: the best one counts, by each score.

    Raises:
        InputError: there is nothing to score, or an answer has no reference, or an empty one.
    """
    if not answers or len(answers) != len(references) or not all(references):
        raise InputError("captions are scored with at least one reference each")
    rows = []
    for answer, texts in zip(answers, references, strict=True):
        scores = [score_captions([answer], [text]) for text in texts]
        rows.append([max(getattr(s, name) for s in scores) for name in CaptionScore.__slots__])
    return CaptionScore(*(sum(column) / len(rows) for column in zip(*rows, strict=True)))


def to_words(text: str) -> list[str]:
    """Lower case, without punctuation at the ends of words."""
    return [word for raw in text.lower().split() if (word := raw.strip(EDGES))]


def bleu_1(answer: Sequence[str], reference: Sequence[str]) -> float:
    """Clipped unigram precision times the brevity penalty."""
    if not answer:
        return 0.0
    common = (Counter(answer) & Counter(reference)).total()
    brevity = min(1.0, math.exp(1 - len(reference) / len(answer)))
    return brevity * common / len(answer)


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> float:
    """Harmonic mean of the longest common subsequence over either length."""
    row = [0] * (len(reference) + 1)
    for word in answer:
        above = row[:]
        for k, other in enumerate(reference):
            row[k + 1] = above[k] + 1 if word == other else max(above[k + 1], row[k])
    return 2 * row[-1] / (len(answer) + len(reference)) if row[-1] else 0.0


def meteor(answer: Sequence[str], reference: Sequence[str]) -> float:
    """Exact words are matched first, then words that are the same but for a plural's end."""
    places: list[int | None] = [None] * len(answer)
    free = set(range(len(reference)))
    for form in (str, _stem):
        for k, word in enumerate(answer):
            if places[k] is None:
                found = [r for r in sorted(free) if form(reference[r]) == form(word)]
                # the place that goes on where the word before ended, so that runs stay whole
                before = places[k - 1] if k else None
                after = [r for r in found if before is not None and r == before + 1]
                if found:
                    places[k] = (after or found)[0]
                    free.discard((after or found)[0])
    matched = [place for place in places if place is not None]
    if not matched:
        return 0.0
    precision, recall = len(matched) / len(answer), len(matched) / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    runs = sum(
        place is not None and (k == 0 or places[k - 1] is None or places[k - 1] != place - 1)
        for k, place in enumerate(places)
    )
    return float(mean * (1 - GAMMA * (runs / len(matched)) ** BETA))


def _stem(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("xes", "ses", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and len(word) > 3 else word
