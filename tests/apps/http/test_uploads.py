"""What arrives: files under names of the server's choosing, and everything that is no part."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cadwright.apps.http.api.examples import EXAMPLES, folder

BRACKET = folder() / "bracket.stl"
TRAVERSALS = ["../../evil.stl", "/etc/evil.stl", "..\\..\\evil.stl", "a\0b.stl", "~/evil.stl",
              "x" * 500 + ".stl", "con.stl", "<img src=x onerror=alert(1)>.stl",
              "évil\n.stl"]  # fmt: skip


def send(stub: Any, name: str, data: bytes, **fields: Any) -> Any:
    return stub.client.post("/api/jobs", files={"file": (name, data)}, data=fields)


def stl(triangles: np.ndarray) -> bytes:
    rows = b"".join(struct.pack("<12fH", 0, 0, 0, *t.ravel(), 0) for t in triangles)
    return bytes(80) + struct.pack("<I", len(triangles)) + rows


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(data, "PNG")
    return data.getvalue()


ROWS = np.random.default_rng(0).normal(size=(40, 3))
NAN = "\n".join(f"{x} {y} {z}" for x, y, z in ROWS) + "\n1 2 nan\n"
HUGE = "\n".join(f"{x * 1e308} {y * 1e308} {z * 1e308}" for x, y, z in ROWS / 3)

BAD_PARTS = [
    ("empty.stl", b"", "empty"),
    ("truncated.stl", BRACKET.read_bytes()[:5000], "truncated.stl"),
    ("words.stl", b"this is a text about a part\n" * 20, "words.stl"),
    ("picture.stl", png(), "PNG picture"),
    ("nan.xyz", NAN.encode(), "finite"),
    ("few.xyz", b"1 2 3\n4 5 6\n", "16"),
    ("letters.csv", b"a,b,c\n" * 30, "letters.csv"),
    ("no.step", b"ISO-10303-21; nothing", "STEP"),
    ("bomb.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, "
     b"'shape': (9,), }", "bomb.npy"),
    ("deep.glb", b"glTF" + struct.pack("<III", 2, 20, 0xFFFFFFFF) + b"JSON", "deep.glb"),
    ("zip.obj", b"PK\x03\x04" + bytes(100), "ZIP"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "word"), BAD_PARTS, ids=[row[0] for row in BAD_PARTS])
def test_what_is_no_part_ends_in_a_sentence_that_names_it(
    stub: Any, name: str, data: bytes, word: str
) -> None:
    answer = send(stub, name, data)
    assert answer.status_code == 202
    status = stub.wait(answer.json()["id"])
    assert status["state"] == "failed"
    problem = status["problem"]
    assert problem["status"] == 422 and word in problem["detail"]
    assert "upload-" not in problem["detail"] and str(stub.service.root) not in problem["detail"]
    assert "Traceback" not in problem["detail"]


def test_a_part_beyond_all_lengths_ends_in_a_sentence_and_the_worker_lives(stub: Any) -> None:
    pid = stub.service.job_slots[0].worker.pid
    status = stub.wait(send(stub, "huge.xyz", HUGE.encode()).json()["id"])
    assert status["state"] == "failed" and status["attempt"] == 1
    assert stub.service.job_slots[0].worker.pid == pid


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_leads_out_of_the_job_s_folder(stub: Any, name: str) -> None:
    before = set(stub.service.root.parent.iterdir())
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="'
        + name.replace("\n", "%0A").encode()
        + b'"\r\n\r\nno part\r\n--x--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = stub.client.post("/api/jobs", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    document = answer.json()
    job = stub.service.store.get(document["id"])
    assert [one.name for one in job.folder.iterdir() if one.is_file()][:1] == ["upload-0.stl"]
    assert "/" not in document["name"] and "\\" not in document["name"]
    assert set(stub.service.root.parent.iterdir()) == before
    stub.client.delete(f"/api/jobs/{document['id']}")


@pytest.mark.parametrize(
    ("files", "fields", "status", "word"),
    [
        ([("part.exe", b"MZ")], {}, 415, ".stl"),
        ([("part", b"solid")], {}, 415, "unknown kind"),
        ([("a.html", b"<script>")], {}, 415, "a.html"),
        ([("a.stl", b"x"), ("b.stl", b"x")], {}, 422, "one shape"),
        ([("a.png", png())] * 3, {}, 422, "4 views"),
        ([("a.png", png()), ("b.stl", b"x")], {}, 422, "not both"),
        ([("a.png", png())], {}, 422, "reads shapes, not pictures"),
        ([("a.stl", b"x")] * 5, {}, 422, "more than 4"),
        ([("a.stl", b"x")], {"seed": "1.5"}, 422, "seed"),
        ([("a.stl", b"x")], {"seed": "-1"}, 422, "seed"),
        ([("a.stl", b"x")], {"budget_s": "nan"}, 422, "budget_s"),
        ([("a.stl", b"x")], {"budget_s": "1e9"}, 422, "budget_s"),
        ([("a.stl", b"x")], {"candidates": "0"}, 422, "candidates"),
        ([("a.stl", b"x")], {"candidates": "100000"}, 422, "candidates"),
        ([("a.stl", b"x")], {"text": "a plate"}, 422, "not both"),
        ([("a.stl", b"x")], {"color": "red"}, 422, "color"),
        ([("a.stl", bytes(3 << 20))], {}, 413, "2 MB"),
        ([("a.stl", b"x")], {"seed": "1" * 100}, 413, "seed"),
    ],
)
def test_forms_that_make_no_sense_are_refused_at_once(
    stub: Any, files: list[tuple[str, bytes]], fields: dict[str, str], status: int, word: str
) -> None:
    kept = set(stub.service.root.iterdir())
    answer = stub.client.post("/api/jobs", files=[("file", one) for one in files], data=fields)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]
    assert set(stub.service.root.iterdir()) <= kept


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "multipart/form-data; boundary=x", 400),
        (b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.stl\"\r\n\r\ncut",
         "multipart/form-data; boundary=x", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422),
        (b"nonsense", "multipart/form-data; boundary=x", 400),
        (b"--x", "multipart/form-data", 400),
        (b"--x\r\n" + b"A" * 9000 + b": b\r\n\r\n", "multipart/form-data; boundary=x", 400),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"{}", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"example": "bracket", "text": "a plate"}', "application/json", 422),
        (b'{"example": "no such"}', "application/json", 404),
        (b'{"example": "bracket", "seed": true}', "application/json", 422),
        (b'{"text": "   "}', "application/json", 422),
        (b'{"text": "' + b"a" * 5000 + b'"}', "application/json", 413),
        (b"solid", "model/stl", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
    ],
)  # fmt: skip
def test_bodies_that_cannot_be_read_are_refused(
    stub: Any, content: bytes, kind: str, status: int
) -> None:
    answer = stub.client.post("/api/jobs", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_a_mesh_of_too_many_faces_is_refused_in_the_worker(serve_scripted: Any, stub: Any) -> None:
    limits = stub.service.limits
    object.__setattr__(limits, "faces", 100)
    try:
        status = stub.wait(stub.client.post("/api/jobs", json={"example": "bracket"}).json()["id"])
    finally:
        object.__setattr__(limits, "faces", 2_000_000)
    assert status["state"] == "failed" and "bracket.stl" in status["problem"]["detail"]


def test_the_first_example_is_the_one_of_the_repository() -> None:
    own = Path(__file__).parents[3] / "examples" / "bracket.stl"
    assert own.read_bytes() == BRACKET.read_bytes()
    for example in EXAMPLES:
        assert example.path.is_file() and example.thumbnail.is_file()
        assert example.path.stat().st_size < 400_000
