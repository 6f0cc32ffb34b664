"""From rows to figures: what an invalid part counts as, and which prediction a part counts."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.evaluation.summary import Row, best, part_values, summarise, table_of


def score(iou: float | None, chamfer: float, surface: float | None = 0.5) -> dict:
    return {"chamfer": chamfer, "iou": iou, "surface_iou": surface}


def prediction(k: int, published=None, direct=None, outcome: str = "ok") -> dict:
    row = {"k": k, "outcome": outcome, "seconds": 0.1, "chars": 100 + k}
    if published:
        row["published"] = score(*published)
    if direct:
        row["direct"] = score(*direct)
    return row


def part(name: str, *predictions: dict, no_iou: str = "", faces: int = 6) -> Row:
    target = {"no_iou": no_iou, "volume": None if no_iou else 0.5, "size": 1.0}
    target |= {"num_faces": faces, "num_bodies": 1, "kind": "solid"}
    return {"name": name, "target": target, "predictions": list(predictions)}


ROWS = [
    part(
        "a",
        prediction(0, (0.5, 1e-3), (0.4, 2e-3)),
        prediction(1, (0.9, 4e-3), (0.8, 5e-3)),
        prediction(2, (0.6, 3e-3), (0.6, 1e-3)),
    ),
    part("b", prediction(0, outcome="timeout"), prediction(1, (0.7, 2e-3), (0.7, 2e-3)), faces=40),
    part("c", prediction(0, outcome="unsupported")),
    part("d", prediction(0, (None, 6e-3), (None, 6e-3)), no_iou="open"),
    part("e"),
    {"name": "f", "target": {"error": "cut off"}, "predictions": []},
]
FIGURES = summarise(ROWS, protocols=("published", "direct"), seed=0, num_draws=50)


def test_published_takes_distance_and_iou_independently() -> None:
    values = part_values(ROWS[0])
    assert values["published_iou"] == 0.9
    assert values["published_chamfer"] == pytest.approx(1.0)  # of another prediction, x1000


def test_ours_takes_one_prediction() -> None:
    values = part_values(ROWS[0])
    assert values["direct_iou"] == 0.8
    assert values["direct_chamfer"] == pytest.approx(5.0)  # of the same prediction
    chosen = best(ROWS[0], "direct")
    assert chosen is not None and chosen["k"] == 1


def test_invalid_counts_as_zero_with_us_and_is_left_out_by_the_published() -> None:
    assert FIGURES["direct"]["iou_mean_unit"]["value"] == pytest.approx((0.8 + 0.7 + 0 + 0) / 4)
    assert FIGURES["published"]["iou_mean_unit"]["value"] == pytest.approx((0.9 + 0.7) / 2)
    assert FIGURES["box"]["iou_mean_unit"]["value"] == pytest.approx((0.9 + 0.7 + 0 + 0) / 4)
    assert FIGURES["direct"]["surface_iou_mean"]["value"] == pytest.approx(0.5 * 3 / 5)


def test_a_target_without_volume_has_an_empty_iou_not_a_zero() -> None:
    assert np.isnan(part_values(ROWS[3])["direct_iou"])
    assert FIGURES["direct"]["iou_mean_unit"]["num"] == 4
    assert FIGURES["parts"]["targets_without_volume"] == ["d"]
    assert FIGURES["direct"]["chamfer_mean_x1000_unit"]["num"] == 3


def test_an_unusable_target_is_in_no_figure_but_named() -> None:
    assert FIGURES["parts"]["unusable_targets"] == ["f"]
    assert FIGURES["parts"]["num"] == 6 and FIGURES["parts"]["num_usable"] == 5


def test_invalid_ratio_counts_parts_without_any_valid_prediction() -> None:
    assert FIGURES["direct"]["invalid_ratio"]["value"] == pytest.approx(2 / 5)
    assert FIGURES["published"]["invalid_ratio"]["value"] == pytest.approx(2 / 5)
    low, high = (FIGURES["direct"]["invalid_ratio"][end] for end in ("low", "high"))
    assert 0 <= low <= 2 / 5 <= high <= 1


def test_outcomes_are_counted_by_prediction_and_by_part() -> None:
    assert FIGURES["outcomes"]["predictions"] == {"ok": 5, "unsupported": 1, "timeout": 1}
    assert FIGURES["outcomes"]["parts"] == {"ok": 3, "unsupported": 1, "missing": 1}


def test_the_published_mean_comes_less_its_worst_too() -> None:
    less = FIGURES["published"]["chamfer_mean_x1000_unit_less_worst"]
    assert less == pytest.approx({"0": 3.0, "1": 1.5, "2": 1.0})


def test_best_of_k_only_gets_better_and_ends_at_all() -> None:
    curve = FIGURES["best_of_k"]
    assert [row["k"] for row in curve] == [1, 2, 3]
    ious = [row["direct_iou_mean"] for row in curve]
    assert ious == pytest.approx([0.1, 0.375, 0.375])
    assert ious[-1] == pytest.approx(FIGURES["direct"]["iou_mean_unit"]["value"])
    assert [row["invalid_ratio"] for row in curve] == pytest.approx([0.6, 0.4, 0.4])


def test_classes_hold_every_part_once() -> None:
    assert {row["class"]: row["num_parts"] for row in FIGURES["by_faces"]} == {"1-7": 4, "32+": 1}
    assert FIGURES["by_faces"][1]["direct_iou_mean"] == pytest.approx(0.7)


def test_lengths_are_those_of_the_programs_that_count() -> None:
    assert FIGURES["programs"]["chars_median"] == 101  # k is 1, 1 and 0


def test_the_order_of_rows_changes_nothing() -> None:
    again = summarise(ROWS[::-1], protocols=("published", "direct"), seed=0, num_draws=50)
    assert again == FIGURES


def test_one_protocol_alone_gives_its_own_figures_only() -> None:
    rows = [part("a", prediction(0, published=(0.5, 1e-3)))]
    figures = summarise(rows, protocols=("published",), seed=0, num_draws=0)
    assert "direct" not in figures and figures["published"]["iou_mean_unit"]["value"] == 0.5


def test_surface_iou_that_was_not_measured_is_empty() -> None:
    rows = [part("a", prediction(0, (0.5, 1e-3, None), (0.5, 1e-3, None)))]
    assert np.isnan(table_of(rows)["direct_surface_iou"]).all()
