"""A whole report: files, the published values in it, resume, refusal, and many workers as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation_parts import PUBLISHED, true_program

from cadwright.errors import InputError
from cadwright.evaluation.run import Settings, evaluate


def settings(targets: Path, predictions: Path, **changes) -> Settings:
    return Settings(targets, predictions, timeout_s=100, num_draws=100, **changes)


def without_seconds(report: Path) -> list[dict]:
    rows = [json.loads(line) for line in (report / "parts.jsonl").read_text().splitlines()]
    for row in rows:
        for prediction in row["predictions"]:
            del prediction["seconds"]
    return rows


def same_figures(one: dict, two: dict) -> bool:
    return all(one[key] == two[key] for key in one if key not in ("seconds_a_part", "settings"))


def test_a_report_has_all_its_files_and_the_published_values(targets, predictions, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "report"
    seen: list[tuple[int, int]] = []
    report = evaluate(
        settings(targets, predictions), out, num_worst=2, progress=lambda *n: seen.append(n)
    )
    names = {path.name for path in out.iterdir()}
    assert names == {
        "settings.json", "parts.jsonl", "parts.parquet", "report.json", "report.md", "worst",
        "distributions.png", "k_curve.png", "complexity.png", "worst.png",
    }  # fmt: skip
    assert len(list((out / "worst").glob("*.png"))) == 2
    assert json.loads((out / "report.json").read_text()) == report
    assert seen == [(k, 4) for k in range(5)]
    first = report["best_of_k"][0]
    ious = [PUBLISHED[number]["iou"] for number in (0, 4, 7, 10)]
    assert first["published_iou_mean"] == pytest.approx(sum(ious) / 4, abs=0.002)
    assert report["published"]["iou_mean_unit"]["value"] > first["published_iou_mean"]
    text = (out / "report.md").read_text()
    assert "## Published protocol" in text and "invalid parts" in text
    assert "worst.png" in text and "k_curve.png" in text


def test_the_table_of_parts_can_be_read_with_pyarrow(targets, predictions, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    evaluate(settings(targets, predictions), tmp_path / "r", plots=False)
    table = parquet.read_table(tmp_path / "r" / "parts.parquet").to_pydict()
    assert table["name"] == ["00", "04", "07", "10"]
    assert [len(k) for k in table["k"]] == [1, 1, 2, 1]
    assert table["direct_iou"][2] == pytest.approx(max(table["k_direct_iou"][2]))


def test_many_workers_give_the_numbers_of_one(targets, predictions, tmp_path):
    run = settings(targets, predictions)
    one = evaluate(run, tmp_path / "one", num_workers=1, plots=False)
    many = evaluate(run, tmp_path / "many", num_workers=3, plots=False)
    assert same_figures(one, many)
    assert without_seconds(tmp_path / "one") == without_seconds(tmp_path / "many")


def test_a_run_that_ended_early_goes_on_and_ends_the_same(targets, predictions, tmp_path):
    run, whole, half = settings(targets, predictions), tmp_path / "whole", tmp_path / "half"
    expected = evaluate(run, whole, plots=False)

    class Stopped(Exception):
        pass

    def stop_after_two(done: int, total: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate(run, half, plots=False, progress=stop_after_two)
    rows = half / "parts.jsonl"
    kept = rows.read_text()
    rows.write_text(kept + '{"name": "10", "targ')  # a crash in the middle of a line
    seen: list[int] = []
    found = evaluate(
        run, half, plots=False, resume=True, progress=lambda done, _: seen.append(done)
    )
    assert kept.count("\n") == 2 and seen == [2, 3, 4]
    assert same_figures(found, expected)
    assert without_seconds(half) == without_seconds(whole)


def test_a_report_that_exists_is_neither_mixed_nor_lost(targets, predictions, tmp_path):
    run, out = settings(targets, predictions), tmp_path / "r"
    evaluate(run, out, plots=False)
    before = (out / "report.json").read_text()
    with pytest.raises(InputError, match="--resume goes on, --overwrite begins anew"):
        evaluate(run, out, plots=False)
    with pytest.raises(InputError, match="not both"):
        evaluate(run, out, plots=False, resume=True, overwrite=True)
    with pytest.raises(InputError, match="seed was 0 and is 1"):
        evaluate(settings(targets, predictions, seed=1), out, plots=False, resume=True)
    assert (out / "report.json").read_text() == before
    again = evaluate(settings(targets, predictions, seed=1), out, plots=False, overwrite=True)
    assert again["settings"]["seed"] == 1


def test_a_folder_of_something_else_is_left_alone(targets, predictions, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(InputError, match="holds no report"):
            evaluate(settings(targets, predictions), out, plots=False, **how)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_names_that_do_not_match_stop_before_anything_is_written(targets, predictions, tmp_path):
    (predictions / "00+0.py").unlink()
    (predictions / "ghost+0.py").write_text(true_program(0))
    with pytest.raises(InputError, match="3 of 4 targets have a prediction"):
        evaluate(settings(targets, predictions), tmp_path / "r", plots=False)
    assert not (tmp_path / "r").exists()
    run = settings(targets, predictions, allow_missing=True)
    report = evaluate(run, tmp_path / "r", plots=False)
    assert report["parts"]["without_prediction"] == ["00"] and report["left_out"] == ["ghost"]
    assert report["direct"]["invalid_ratio"]["value"] == pytest.approx(1 / 4)
    assert "missing" in (tmp_path / "r" / "report.md").read_text()


def test_lines_of_cadbench_are_scored_like_a_folder(targets, predictions, tmp_path):
    lines = tmp_path / "answers.jsonl"
    rows = [
        {"file_id": path.stem.split("+")[0], "generated": f"```python\n{path.read_text()}\n```"}
        for path in sorted(predictions.iterdir())
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = evaluate(settings(targets, predictions), tmp_path / "folder", plots=False)
    two = evaluate(settings(targets, lines), tmp_path / "lines", plots=False)
    assert one["direct"] == two["direct"] and one["published"] == two["published"]


def test_only_the_first_k_can_be_looked_at(targets, predictions, tmp_path):
    report = evaluate(settings(targets, predictions, most=1), tmp_path / "r", plots=False)
    assert report["parts"]["num_predictions"] == 4


def test_a_target_without_volume_is_named_and_its_iou_left_empty(targets, predictions, tmp_path):
    """An open surface made of a golden shape: its last triangle is cut away."""
    path = targets / "07.stl"
    content = path.read_bytes()
    num = int.from_bytes(content[80:84], "little")
    path.write_bytes(content[:80] + (num - 1).to_bytes(4, "little") + content[84:-50])
    report = evaluate(settings(targets, predictions), tmp_path / "r", plots=False)
    assert report["parts"]["targets_without_volume"] == ["07"]
    assert report["direct"]["iou_mean_unit"]["num"] == 3
    assert report["direct"]["chamfer_mean_x1000_unit"]["num"] == 4
    assert report["direct"]["invalid_ratio"]["value"] == 0


@pytest.mark.slow
def test_the_exact_kernel_gives_nearly_the_numbers_of_the_fast_one(targets, predictions, tmp_path):
    pytest.importorskip("cadquery")
    fast = evaluate(settings(targets, predictions), tmp_path / "f", plots=False)
    run = settings(targets, predictions, kernel="exact")
    exact = evaluate(run, tmp_path / "e", plots=False)
    for name in ("published", "direct"):
        one, two = (report[name]["iou_mean_unit"]["value"] for report in (fast, exact))
        assert one == pytest.approx(two, abs=0.002)


@pytest.mark.slow
def test_step_files_are_targets_and_predictions(targets, predictions, tmp_path):
    pytest.importorskip("cadquery")
    from cadwright.program.program_to_solid import ExactKernel
    from cadwright.program.text_to_program import text_to_program

    steps = tmp_path / "steps"
    steps.mkdir()
    with ExactKernel() as kernel:
        for number in (0, 7):
            program = text_to_program(true_program(number))
            kernel.build(program, step_path=steps / f"{number:02}.step")
    own = evaluate(settings(steps, steps), tmp_path / "own", plots=False)
    assert own["direct"]["iou_mean_unit"]["value"] == pytest.approx(1, abs=1e-6)
    for number in (4, 10):
        (targets / f"{number:02}.stl").unlink()
    other = evaluate(settings(targets, steps), tmp_path / "other", plots=False)
    assert other["published"]["iou_mean_unit"]["value"] == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_a_local_ray_cluster_gives_the_numbers_of_this_machine(targets, predictions, tmp_path):
    pytest.importorskip("ray")
    run = settings(targets, predictions)
    here = evaluate(run, tmp_path / "here", plots=False)
    there = evaluate(run, tmp_path / "ray", plots=False, ray_address="local")
    assert same_figures(here, there)
