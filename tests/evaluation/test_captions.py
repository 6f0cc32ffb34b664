"""Caption metrics: their bounds, known values, and what they refuse."""

from __future__ import annotations

import pytest

from cadwright.errors import InputError
from cadwright.evaluation.captions import bleu_1, meteor, rouge_l, score_captions, to_words


def test_a_caption_against_itself_is_perfect_but_for_meteors_run() -> None:
    words = "a plate with three holes".split()
    assert bleu_1(words, words) == rouge_l(words, words) == 1.0
    assert meteor(words, words) == pytest.approx(1 - 0.5 * (1 / 5) ** 3)


def test_nothing_in_common_is_nothing() -> None:
    score = score_captions(["red robot"], ["a plate"])
    assert (score.bleu_1, score.rouge_l, score.meteor) == (0.0, 0.0, 0.0)


def test_bleu_punishes_short_answers_and_repeated_words() -> None:
    reference = "the part has two holes".split()
    assert bleu_1("the the the the the".split(), reference) == pytest.approx(0.2)
    assert bleu_1(["the"], reference) == pytest.approx(2.718281828 ** (1 - 5))


def test_rouge_follows_the_order() -> None:
    assert rouge_l("b a".split(), "a b".split()) == pytest.approx(0.5)
    assert rouge_l("a x b".split(), "a b".split()) == pytest.approx(0.8)


def test_meteor_sees_plurals_and_order() -> None:
    assert meteor(["holes"], ["hole"]) == pytest.approx(0.5)
    straight = meteor("a b c d".split(), "a b c d".split())
    turned = meteor("d c b a".split(), "a b c d".split())
    assert turned == pytest.approx(0.5) and turned < straight


def test_words_lose_case_and_punctuation() -> None:
    assert to_words("A plate, (flat).") == ["a", "plate", "flat"]


@pytest.mark.parametrize(("answers", "references"), [([], []), (["a"], []), (["a"], [" . "])])
def test_pairs_that_cannot_be_scored_are_refused(answers: list[str], references: list[str]) -> None:
    with pytest.raises(InputError):
        score_captions(answers, references)


def test_an_empty_answer_counts_as_nothing() -> None:
    assert score_captions([""], ["a plate"]).rouge_l == 0.0
