"""What was handed in -> ranked programs: decode, rank and, where there is a shape, search.

In: a target or a prompt, and a loaded decoder. Out: programs in the PROGRAM frame, the best first,
what the exact solid is held against, and how they were found. Not covered: reading the input
before (target, prompt), building exactly after (exact).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cadwright.geometry.frames import Placement
from cadwright.geometry.mesh_io import Shape
from cadwright.inference.candidates import Candidate, read_candidates, with_bounds_fitted
from cadwright.inference.clock import StageClock
from cadwright.inference.exact import Goal
from cadwright.inference.fit_levels import with_levels_fitted
from cadwright.inference.fit_picture import with_proportions_fitted
from cadwright.inference.mend import MENDED, without_broken_bodies
from cadwright.inference.prompt import Prompt
from cadwright.inference.ranking import (
    BY_AGREEMENT,
    BY_PICTURE,
    PictureRanking,
    read_agreeing,
)
from cadwright.inference.report import describe_search
from cadwright.inference.search.search import SearchResult, search
from cadwright.inference.target import PreparedTarget, shape_to_point_sets
from cadwright.types import Outcome

if TYPE_CHECKING:
    from PIL import Image

    from cadwright.inference.decode import Decoder

# Search prefers shorter programs, so its winner may be a little worse by IoU alone.
PRICE_OF_BREVITY = 0.005
IN_PLACE = Placement(1.0, np.zeros(3))  # of what has no frame of its own
BY_IOU = "volume IoU with the input"
BY_CHAMFER = "minus the chamfer distance to the input, unit cube"
DOUBTFUL = 0.5  # agreement below which the description was hardly understood
IN_DOUBT = (
    "the candidates differ much, so the description was probably not understood: say which "
    "sketches on which planes are pulled by how much, as 'cadwright generate' describes parts"
)
NO_SEARCH = "search compares with a shape, and none was given"


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Programs for the exact kernel, the best first, and how they were found.

    Attributes:
        ranked: PROGRAM frame.
        outcomes: how many texts gave which.
        goal: for the exact kernel.
        search: what the report says of the search.
        chosen_by: what the fits of ``ranked`` are, in words.
        notes: what else the report says of the choice.
    """

    ranked: list[Candidate]
    outcomes: dict[Outcome, int]
    goal: Goal
    search: dict[str, Any]
    chosen_by: str
    notes: list[str] = field(default_factory=list)


def find_shape(
    target: PreparedTarget,
    decoder: Decoder,
    *,
    candidates: int,
    budget_s: float,
    seed: int,
    clock: StageClock,
) -> Found:
    """Decode from points, rank by distance to the shape and search."""
    with clock("decode"):
        texts = decode_shape(target.inner, decoder, num_candidates=candidates, seed=seed)
    with clock("rank"):
        ranked, outcomes = rank_for_shape(texts, target, seed=seed)
    found, start_fit = None, _first_fit(ranked)
    if budget_s > 0:
        with clock("search"):
            programs = [one.program for one in ranked]
            found = search(
                target.search_target, programs, budget_s, seed, clock.inside,
                clock=None if clock.steady else time.perf_counter, watch=clock.watch,
            )  # fmt: skip
            ranked = _with_search(ranked, found, target)
    facts = describe_search(found, budget_s, start_fit=start_fit, end_fit=_first_fit(ranked))
    return Found(
        ranked,
        outcomes,
        Goal.of_target(target),
        facts,
        BY_IOU if target.scorer.is_solid else BY_CHAMFER,
    )


def decode_shape(inner: Shape, decoder: Decoder, *, num_candidates: int, seed: int) -> list[str]:
    """Texts for a shape, from several samplings of it.

    Args:
        inner: PROGRAM frame.
        decoder: reads points.
        num_candidates: how many texts.
        seed: fixes the points and the samples.
    """
    # As many point sets as samples of each: 16 candidates are 4 sets of 1 greedy and 3.
    point_sets = shape_to_point_sets(
        inner,
        num_sets=max(1, round(num_candidates**0.5)),
        num_points=decoder.num_points,
        seed=seed,
    )
    return decoder.decode(point_sets, num_candidates=num_candidates, seed=seed)


def rank_for_shape(
    texts: Iterable[str], target: PreparedTarget, *, seed: int
) -> tuple[list[Candidate], dict[Outcome, int]]:
    """Build candidates, put their bounds and their levels on the target's, and rank them.

    Returns:
        The candidates that build, the best first, and how many texts gave which outcome.
    """
    decoded, outcomes = read_candidates(texts, target.scorer)
    bound = with_bounds_fitted(decoded, target.scorer, target.inner.bounds)
    return with_levels_fitted(bound, target.scorer, target.inner, seed=seed), outcomes


def find_prompt(
    prompt: Prompt, decoder: Decoder, *, candidates: int, seed: int, clock: StageClock
) -> Found:
    """Decode from a picture or words, and rank by the picture or by agreement.

    Raises:
        InputError: the decoder does not read such input, or it is too long.
    """
    with clock("decode"):
        texts = decoder.decode(
            picture=prompt.picture, words=prompt.text or None, num_candidates=candidates, seed=seed
        )
    search_facts = {"budget_s": 0.0, "tries": 0, "note": NO_SEARCH}
    with clock("rank"):
        if prompt.picture is not None:
            return _by_picture(prompt, prompt.picture, texts, search_facts)
        return _by_agreement(prompt, texts, search_facts)


def _by_picture(
    prompt: Prompt, picture: Image.Image, texts: list[str], search_facts: dict[str, Any]
) -> Found:
    """The candidates whose own picture agrees best, in the proportions shown."""
    ranking = PictureRanking(picture)
    notes = [ranking.note] if ranking.note else []
    decoded, outcomes = read_candidates(texts, ranking)
    if not decoded:
        decoded, _ = read_candidates(without_broken_bodies(texts), ranking)
        notes.append(MENDED)
    ranked = with_proportions_fitted(decoded, ranking)
    goal = Goal(prompt.name, IN_PLACE, ranking.fit)
    return Found(ranked, outcomes, goal, search_facts, BY_PICTURE, notes)


def _by_agreement(prompt: Prompt, texts: list[str], search_facts: dict[str, Any]) -> Found:
    """The candidates that are most like the others."""
    notes = []
    ranked, outcomes, agreement = read_agreeing(texts)
    if not ranked:
        ranked, _, agreement = read_agreeing(without_broken_bodies(texts))
        notes.append(MENDED)
    if ranked and ranked[0].fit < DOUBTFUL:
        notes.append(IN_DOUBT)
    goal = Goal(prompt.name, IN_PLACE, agreement.fit)
    return Found(ranked, outcomes, goal, search_facts, BY_AGREEMENT, notes)


def _first_fit(ranked: list[Candidate]) -> float | None:
    return ranked[0].fit if ranked else None


def _with_search(
    ranked: list[Candidate], found: SearchResult | None, target: PreparedTarget
) -> list[Candidate]:
    """Put search's winner first, unless the scorer finds it worse than the best candidate."""
    if found is None or any(found.program == one.program for one in ranked[:1]):
        return ranked
    winner = target.scorer.candidate(found.program, "search")
    if not isinstance(winner, Candidate):
        return ranked
    # Of a scan, chamfer distance counts against a program that its missing side was mended;
    # search has weighed that, and all candidates too.
    if not target.scorer.is_solid:
        return [winner, *ranked]
    if ranked and winner.fit < ranked[0].fit - PRICE_OF_BREVITY:
        return ranked
    return [winner, *ranked]
