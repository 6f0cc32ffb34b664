"""``evaluate`` and ``compare`` from the command line: exit status, sentences, files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cadwright.apps.cli import main

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
QUICK = ("--no-plots", "--workers", "1", "--draws", "20", "--timeout", "100")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    targets, predictions = tmp_path / "targets", tmp_path / "predictions"
    targets.mkdir()
    predictions.mkdir()
    for name in ("00", "07"):
        shutil.copy(SHAPES / f"{name}.stl", targets)
        shutil.copy(SHAPES / f"{name}.py", predictions / f"{name}+0.py")
    return str(targets), str(predictions)


def run(folders, out: Path, *words: str) -> int:
    targets, predictions = folders
    return main(
        ["evaluate", "--targets", targets, "--predictions", predictions, "--out", str(out), *words]
    )


def test_evaluate_and_compare_end_to_end(folders, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib")
    assert run(folders, tmp_path / "a", *QUICK) == 0
    line = capsys.readouterr().out
    assert "2 parts, 2 predictions" in line and "direct: IoU" in line and "report.md" in line
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    words = [
        "compare",
        str(tmp_path / "a"),
        f"other={tmp_path / 'b'}",
        "--out",
        str(tmp_path / "c"),
    ]
    assert main(words) == 0
    assert "## other less a, part by part" in capsys.readouterr().out
    assert json.loads((tmp_path / "c" / "compare.json").read_text())["num_parts"] == 2


@pytest.mark.slow
def test_one_protocol_and_no_surface_iou(folders, tmp_path) -> None:
    words = ("--protocol", "published", "--no-surface-iou", *QUICK)
    assert run(folders, tmp_path / "a", *words) == 0
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert "direct" not in report and report["published"]["iou_mean_unit"]["value"] > 0.99
    assert report["box"]["surface_iou_mean"]["value"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--timeout", "0"), "--timeout must be greater than 0"),
        (("--resume", "--overwrite"), "not both"),
        (("--memory-mb", "3"), "3 MB are too little"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(folders, tmp_path, capsys, words, sentence) -> None:
    assert run(folders, tmp_path / "a", *QUICK, *words) == 1
    assert sentence in capsys.readouterr().err


def test_a_report_that_exists_is_one_sentence(folders, tmp_path, capsys) -> None:
    out = tmp_path / "a"
    out.mkdir()
    (out / "settings.json").write_text("{}")
    assert run(folders, out, *QUICK) == 1
    assert "--resume goes on, --overwrite begins anew" in capsys.readouterr().err


def test_names_that_do_not_match_are_one_sentence(folders, tmp_path, capsys) -> None:
    Path(folders[1], "07+0.py").unlink()
    assert run(folders, tmp_path / "a", *QUICK) == 1
    error = capsys.readouterr().err
    assert "1 of 2 targets have a prediction" in error and "07" in error


def test_predictions_or_a_model_but_not_both(folders, tmp_path) -> None:
    with pytest.raises(SystemExit):
        run(folders, tmp_path / "a", "--model", "embedded")


def test_two_reports_of_one_name_want_names(tmp_path, capsys) -> None:
    assert main(["compare", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "c")]) == 1
    assert "two reports are called" in capsys.readouterr().err
