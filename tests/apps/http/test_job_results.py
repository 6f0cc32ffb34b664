"""A part's whole way by HTTP, with the true pipeline: submit, follow, look, change, download."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cadwright.apps.http.api.examples import folder
from cadwright.apps.http.view_geometry.binary_format import unpack
from cadwright.geometry.mesh_io import load_shape
from cadwright.program.program_to_user import text_to_user_program

OPTIONS = {"example": "bracket", "budget_s": 0.3, "candidates": 4}


@pytest.fixture(scope="module")
def done(stub: Any) -> Any:
    """A finished job of the example."""
    answer = stub.client.post("/api/jobs", json=OPTIONS)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['id']}"
    status = stub.wait(answer.json()["id"])
    assert status["state"] == "done", status["problem"]
    return status


def get(stub: Any, status: Any, path: str) -> Any:
    answer = stub.client.get(f"/api/jobs/{status['id']}/{path}")
    assert answer.status_code == 200, answer.text
    return answer


def test_status_tells_what_was_read_and_done(done: Any) -> None:
    assert done["input"]["kind"] == "solid" and done["input"]["size"] == 160.0
    assert done["has_target"] and done["revision"] == 1
    assert done["progress"]["candidates"] == 4 and done["progress"]["valid"] >= 1
    assert done["progress"]["tried"] > 0 and 0.5 < done["progress"]["fit"] <= 1
    assert all(stage["state"] == "done" for stage in done["stages"] if stage["name"] != "load")
    assert done["options"] == {"seed": 0, "candidates": 4, "budget_s": 0.3}


def test_files_are_those_of_the_command_line_and_are_never_active(stub: Any, done: Any) -> None:
    result = get(stub, done, "result").json()
    names = {one["name"]: one for one in result["files"]}
    assert set(names) == {"part.step", "part.stl", "part.py", "report.json", "part.png"}
    for name, one in names.items():
        answer = stub.client.get(one["href"])
        assert len(answer.content) == one["bytes"]
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert get(stub, done, "files/part.py").text == result["program"]["text"]
    assert json.loads(get(stub, done, "files/report.json").text) == result["report"]
    assert result["report"]["input"] == "bracket.stl" and result["report"]["name"] == "bracket"


def test_target_and_result_share_their_origin(stub: Any, done: Any) -> None:
    target, target_arrays = unpack(get(stub, done, "geometry/target").content)
    result, arrays = unpack(get(stub, done, "geometry/result").content)
    assert target["origin"] == result["origin"]
    shape = load_shape(folder() / "bracket.stl")
    positions = target_arrays["positions"] + np.array(target["origin"])
    np.testing.assert_allclose([positions.min(0), positions.max(0)], shape.bounds, atol=1e-4)
    assert len(arrays["deviation"]) == len(arrays["positions"]) == len(arrays["normals"])
    assert len(arrays["target_deviation"]) == len(target_arrays["positions"])
    assert arrays["indices"].max() < len(arrays["positions"])
    low, high = result["deviation"]["min"], result["deviation"]["max"]
    assert low == pytest.approx(arrays["deviation"].min()) and high >= low
    assert result["exact"] and result["deviation"]["signed"] and result["revision"] == 1


def test_candidates_have_pictures_and_programs_and_one_is_chosen(stub: Any, done: Any) -> None:
    candidates = get(stub, done, "result").json()["candidates"]
    assert sum(one["chosen"] for one in candidates) == 1
    assert len({one["text"] for one in candidates}) == len(candidates)
    for one in candidates:
        text_to_user_program(one["text"])
        picture = stub.client.get(one["thumbnail"])
        assert picture.headers["content-type"] == "image/png"
        assert picture.content.startswith(b"\x89PNG")
    answer = stub.client.get(f"/api/jobs/{done['id']}/candidates/90/thumbnail")
    assert answer.status_code == 404


def test_a_preview_is_the_changed_program_and_keeps_nothing(stub: Any, done: Any) -> None:
    result = get(stub, done, "result").json()
    number = next(one for one in result["program"]["numbers"] if one["kind"] == "size")
    value = number["value"] + 7 * number["step"]
    path = f"/api/jobs/{done['id']}/preview"
    first, arrays = unpack(stub.client.post(path, json={}).content)
    changed, moved = unpack(stub.client.post(path, json={"values": {number["id"]: value}}).content)
    assert first["text"] == result["program"]["text"] and not first["exact"]
    assert first["iou"] == pytest.approx(result["report"]["iou"], abs=2e-3)
    assert changed["iou"] < first["iou"] and changed["bounds"] != first["bounds"]
    again = {one["id"]: one["value"] for one in changed["numbers"]}
    assert again[number["id"]] == pytest.approx(value)
    assert np.abs(moved["deviation"]).max() > np.abs(arrays["deviation"]).max()
    assert get(stub, done, "result").json() == result


def test_a_build_replaces_everything_and_can_be_taken_back(stub: Any, done: Any) -> None:
    before = get(stub, done, "result").json()
    number = next(one for one in before["program"]["numbers"] if one["kind"] == "size")
    path = f"/api/jobs/{done['id']}/build"
    values = {number["id"]: number["value"] + 5 * number["step"]}
    after = stub.client.post(path, json={"values": values}).json()
    assert after["revision"] == before["revision"] + 1 and after["edited"]
    assert after["report"]["iou"] < before["report"]["iou"]
    assert after["report"]["source"] == "edited"
    header, _ = unpack(get(stub, done, "geometry/result").content)
    assert header["revision"] == after["revision"] and header["exact"]
    assert get(stub, done, "files/part.py").text == after["program"]["text"]
    back = stub.client.post(path, json={"text": before["program"]["text"]}).json()
    assert not back["edited"] and back["revision"] == after["revision"] + 1
    assert back["report"]["iou"] == pytest.approx(before["report"]["iou"], abs=1e-6)
    assert back["program"]["text"] == before["program"]["text"]


@pytest.mark.parametrize("what", ["preview", "build"])
@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"text": "import os\nr = os.system('true')"}, "import"),
        ({"text": "r = ("}, "line 1"),
        ({"text": ""}, ""),
        (
            {"text": "w0=cq.Workplane('XY',origin=(0,0,0))\nr=w0.workplane(offset=1/2).box(0,1,1)"},
            "",
        ),
        ({"text": "__import__('os')"}, ""),
        ({"text": "(" * 5000}, ""),
        ({"values": {"nothing": 1}}, "nothing"),
    ],
)
def test_what_is_no_program_is_refused_with_its_place(
    stub: Any, done: Any, what: str, given: dict[str, Any], word: str
) -> None:
    answer = stub.client.post(f"/api/jobs/{done['id']}/{what}", json=given)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert word in problem["detail"] and str(stub.service.root) not in problem["detail"]
    if word == "line 1":
        assert problem["line"] == 1


def test_the_same_seed_gives_the_same_part(stub: Any, done: Any) -> None:
    answer = stub.client.post("/api/jobs", json=OPTIONS)
    status = stub.wait(answer.json()["id"])
    assert get(stub, status, "files/part.py").text == get(stub, done, "files/part.py").text


def test_a_cloud_is_compared_without_volumes(stub: Any) -> None:
    answer = stub.client.post(
        "/api/jobs", json=OPTIONS | {"example": "bracket-scan", "budget_s": 0}
    )
    status = stub.wait(answer.json()["id"])
    assert status["state"] == "done", status["problem"]
    assert status["input"]["kind"] == "points"
    header, arrays = unpack(get(stub, status, "geometry/target").content)
    assert header["kind"] == "points" and set(arrays) == {"positions"}
    result, _ = unpack(get(stub, status, "geometry/result").content)
    assert not result["deviation"]["signed"] and result["deviation"]["min"] >= 0


def test_nothing_is_handed_out_before_it_is_there(stub: Any) -> None:
    job = stub.client.post("/api/jobs", json=OPTIONS).json()["id"]
    for path in ("result", "geometry/result", "files/part.step", "candidates/0/thumbnail"):
        answer = stub.client.get(f"/api/jobs/{job}/{path}")
        assert answer.status_code == 409 and answer.json()["type"].endswith("not-done")
    assert stub.client.post(f"/api/jobs/{job}/preview", json={}).status_code == 409
    assert stub.client.get(f"/api/jobs/{job}/files/other.txt").status_code == 422
    stub.client.delete(f"/api/jobs/{job}")
