"""Which files are predictions, of which part, and what does not match."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cadwright.errors import InputError
from cadwright.evaluation.predictions import (
    Prediction,
    find_predictions,
    find_targets,
    pair,
    without_fence,
)


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    return folder


def test_numbers_come_from_the_last_plus_and_are_sorted_as_numbers(tmp_path: Path) -> None:
    folder = touch(tmp_path / "p", "a+10.py", "a+2.py", "b.py", "c+d+0.py", "e+0.stl", "x.png")
    found = find_predictions(folder)
    assert {name: [one.k for one in own] for name, own in found.items()} == {
        "a": [2, 10],
        "b": [0],
        "c+d": [0],
        "e": [0],
    }
    assert found["a"][0].frame == "program" and found["e"][0].frame == "target"


def test_the_frame_can_be_said(tmp_path: Path) -> None:
    folder = touch(tmp_path / "p", "a+0.py")
    assert find_predictions(folder, frame="target")["a"][0].frame == "target"


def test_the_output_of_reconstruct_is_read_in_the_targets_frame(tmp_path: Path) -> None:
    folder = touch(tmp_path / "p", "a/part.py", "a/part.stl", "b/part.py", "c/note.txt")
    found = find_predictions(folder)
    assert list(found) == ["a", "b"]
    assert found["a"] == (Prediction(0, folder / "a" / "part.py", frame="target"),)


def test_lines_of_cadbench_are_read_and_repeated_ids_are_further_numbers(tmp_path: Path) -> None:
    lines = [
        {"file_id": "a", "generated": "one"},
        {"file_id": "b.stl", "generated": "Here:\n```python\ntwo\n```\nDone."},
        {"file_id": "a", "generated": None},
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    found = find_predictions(path)
    assert [(one.k, one.text) for one in found["a"]] == [(0, "one"), (1, "")]
    assert found["b"][0].text == "two\n"


def test_only_a_fence_is_taken_off() -> None:
    assert without_fence("a\nb") == "a\nb"
    assert without_fence("```py\na\n```") == "a\n"


@pytest.mark.parametrize("line", ["{", "[1]", '{"file_id": "a", "generated": 3}', '{"a": 1}'])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"file_id": "a", "generated": "x"}\n' + line)
    with pytest.raises(InputError, match="line 2"):
        find_predictions(path)


def test_seconds_beside_the_programs_are_read(tmp_path: Path) -> None:
    folder = touch(tmp_path / "p", "a+0.py", "a+1.py")
    (folder / "seconds.jsonl").write_text('{"name": "a", "k": 1, "seconds": 2.5}\n')
    assert [one.seconds for one in find_predictions(folder)["a"]] == [None, 2.5]


def test_one_number_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two predictions of number 0"):
        find_predictions(touch(tmp_path / "p", "a+0.py", "a.stl"))


def test_two_targets_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are targets"):
        find_targets(touch(tmp_path / "t", "a.stl", "a.obj"))


@pytest.mark.parametrize("make", [find_targets, find_predictions])
def test_nothing_there_is_an_error(tmp_path: Path, make) -> None:
    with pytest.raises(InputError):
        make(tmp_path / "nowhere")
    with pytest.raises(InputError):
        make(touch(tmp_path / "empty", "readme.md"))


def test_names_that_do_not_match_are_counted_and_shown(tmp_path: Path) -> None:
    targets = find_targets(touch(tmp_path / "t", *(f"t{k}.stl" for k in range(9)), "both.stl"))
    found = find_predictions(touch(tmp_path / "p", "both+0.py", "other+0.py"))
    with pytest.raises(InputError) as error:
        pair(targets, found, allow_missing=False)
    sentence = str(error.value)
    assert "1 of 10 targets have a prediction" in sentence
    assert "9 without a prediction (t0, t1, t2, t3, t4, ...)" in sentence
    assert "1 without a target (other)" in sentence and "--allow-missing" in sentence
    pairing = pair(targets, found, allow_missing=True)
    assert len(pairing.parts) == 10 and len(pairing.missing) == 9 and pairing.extra == ("other",)


def test_no_name_in_common_is_an_error_even_if_some_may_miss(tmp_path: Path) -> None:
    targets = find_targets(touch(tmp_path / "t", "a.stl"))
    found = find_predictions(touch(tmp_path / "p", "b+0.py"))
    with pytest.raises(InputError, match="0 of 1 targets"):
        pair(targets, found, allow_missing=True)
