"""Models side by side: pairing by part, intervals of the differences, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cadwright.errors import InputError
from cadwright.evaluation.compare import compare, radar_values
from cadwright.evaluation.rows import write_sorted
from cadwright.evaluation.run import Settings
from cadwright.evaluation.summary import table_of

pytest.importorskip("matplotlib")


def make_report(folder: Path, ious: dict[str, float | None], **settings) -> Path:
    """A report as ``evaluate`` leaves it; None is a part without a valid prediction."""
    folder.mkdir()
    rows = []
    for name, iou in ious.items():
        target = {"no_iou": "", "volume": 0.25, "size": 1.0, "num_faces": 6, "num_bodies": 1}
        score = {"chamfer": 1e-3, "iou": iou, "surface_iou": 0.5}
        good = {"k": 0, "outcome": "ok", "seconds": 0.1, "published": score, "direct": score}
        bad = {"k": 0, "outcome": "syntax", "message": "no", "seconds": 0.1}
        rows.append({"name": name, "target": target, "predictions": [good if iou else bad]})
    write_sorted(folder / "parts.jsonl", rows)
    values = Settings(Path("t"), Path("p"), **settings).to_json()
    (folder / "settings.json").write_text(json.dumps(values))
    (folder / "report.json").write_text("{}")
    return folder


def random_ious(seed: int, shift: float, num: int = 60) -> dict[str, float | None]:
    """Hard and easy parts, the same for every seed, and a little of a model's own."""
    parts = np.random.default_rng(0).uniform(0.1, 0.8, num)
    own = np.random.default_rng(seed).normal(0, 0.02, num)
    return {f"{k:03}": float(v) for k, v in enumerate(np.clip(parts + own + shift, 0.01, 1))}


def test_pairing_sees_what_the_means_alone_cannot(tmp_path: Path) -> None:
    a = make_report(tmp_path / "a", random_ious(1, 0.0))
    b = make_report(tmp_path / "b", dict(reversed(random_ious(2, 0.05).items())))
    figures = compare({"a": a, "b": b}, tmp_path / "out", seed=0)
    first, second = (figures["means"][name]["direct_iou"] for name in "ab")
    assert first["high"] > second["low"]  # by themselves the two overlap
    difference = figures["differences"]["b"]["direct_iou"]
    assert difference["value"] == pytest.approx(second["value"] - first["value"])
    assert difference["clear"] and 0.03 < difference["low"] < 0.05 < difference["high"] < 0.07
    assert difference["better"] + difference["worse"] + difference["equal"] == 60
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"compare.json", "compare.md", "radar.png", "differences.png"}
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == figures


def test_a_model_does_not_differ_from_itself(tmp_path: Path) -> None:
    a = make_report(tmp_path / "a", random_ious(1, 0.0))
    figures = compare({"a": a, "b": a}, tmp_path / "out")
    for difference in figures["differences"]["b"].values():
        assert difference["value"] == 0 and not difference["clear"]
        assert difference["better"] == difference["worse"] == 0


def test_an_invalid_part_weighs_as_zero_in_the_difference(tmp_path: Path) -> None:
    a = make_report(tmp_path / "a", {"p": 0.8, "q": 0.6})
    b = make_report(tmp_path / "b", {"p": None, "q": 0.6})
    figures = compare({"a": a, "b": b}, tmp_path / "out")
    difference = figures["differences"]["b"]
    assert difference["direct_iou"]["value"] == pytest.approx(-0.4)
    assert difference["valid"]["value"] == pytest.approx(-0.5)
    assert difference["direct_chamfer"]["num"] == 1  # only of parts valid in both


def test_other_parts_are_refused_unless_the_common_ones_are_wanted(tmp_path: Path) -> None:
    a = make_report(tmp_path / "a", {"p": 0.8, "q": 0.6, "r": 0.1})
    b = make_report(tmp_path / "b", {"q": 0.7, "r": 0.2, "s": 0.9})
    with pytest.raises(InputError, match=r"2 in common; not in all: p, s.*--common"):
        compare({"a": a, "b": b}, tmp_path / "out")
    figures = compare({"a": a, "b": b}, tmp_path / "out", common=True)
    assert figures["num_parts"] == 2
    assert figures["differences"]["b"]["direct_iou"]["value"] == pytest.approx(0.1)
    assert "2 parts in common" in (tmp_path / "out" / "compare.md").read_text()


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    a, b = make_report(tmp_path / "a", {"p": 0.8}), make_report(tmp_path / "b", {"q": 0.8})
    with pytest.raises(InputError, match="no part in common"):
        compare({"a": a, "b": b}, tmp_path / "out", common=True)


def test_other_targets_under_the_same_name_are_refused(tmp_path: Path) -> None:
    a, b = make_report(tmp_path / "a", {"p": 0.8}), make_report(tmp_path / "b", {"p": 0.8})
    text = (b / "parts.jsonl").read_text().replace('"volume": 0.25', '"volume": 0.26')
    (b / "parts.jsonl").write_text(text)
    with pytest.raises(InputError, match="'p' is not the same target"):
        compare({"a": a, "b": b}, tmp_path / "out")


@pytest.mark.parametrize("change", [{"seed": 1}, {"kernel": "exact"}, {"surface_iou": False}])
def test_numbers_taken_otherwise_are_refused(tmp_path: Path, change: dict) -> None:
    a = make_report(tmp_path / "a", {"p": 0.8})
    b = make_report(tmp_path / "b", {"p": 0.8}, **change)
    with pytest.raises(InputError, match=f"scored with {next(iter(change))}"):
        compare({"a": a, "b": b}, tmp_path / "out")


def test_one_report_or_an_unfinished_one_is_refused(tmp_path: Path) -> None:
    a = make_report(tmp_path / "a", {"p": 0.8})
    with pytest.raises(InputError, match="two reports"):
        compare({"a": a}, tmp_path / "out")
    (a / "report.json").unlink()
    with pytest.raises(InputError, match="no finished report"):
        compare({"a": a, "b": a}, tmp_path / "out")


def test_axes_of_the_radar_run_from_0_to_1() -> None:
    good = {"chamfer": 1e-4, "iou": 0.995, "surface_iou": 0.9}
    bad = {"chamfer": 9.0, "iou": 0.0, "surface_iou": 0.0}
    target = {"no_iou": "", "volume": 0.5, "size": 1.0}
    rows = [
        {"name": str(k), "target": target, "predictions": [
            {"k": 0, "outcome": "ok", "seconds": 0, "published": score, "direct": score}]}
        for k, score in enumerate((good, bad))
    ]  # fmt: skip
    values = radar_values(table_of(rows))
    assert len(values) >= 3 and all(0 <= value <= 1 for value in values.values())
    assert values["IoU over 0.99"] == values["CD x1000 under 1"] == 0.5 and values["valid"] == 1
