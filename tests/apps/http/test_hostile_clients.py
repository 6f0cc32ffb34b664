"""Clients that are slow, greedy or deceitful: each is refused, and costs the others nothing."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from tests.apps.http.running_server import PATIENCE_S, until

from cadwright.apps.http import server
from cadwright.apps.http.api.examples import folder

Serve = Callable[..., Any]
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.xyz"\r\n\r\n'
JSON = {"Content-Type": "application/json"}


def begin(run: Any, path: str, kind: str, body: bytes, client: str = "slow") -> socket.socket:
    """Announce a thousand bytes and send some of them."""
    host, port = run.url.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nX-Cadwright-Client: {client}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
    )
    line.sendall(head.encode() + body)
    return line


def begin_upload(run: Any) -> socket.socket:
    return begin(run, "/api/jobs", "multipart/form-data; boundary=x", FORM + b"now")


def rest_of(line: socket.socket) -> bytes:
    """All that still comes until the server closes the connection."""
    data = b""
    while more := line.recv(4096):
        data += more
    return data


def test_an_upload_that_stands_still_is_refused_and_leaves_nothing(serve_scripted: Serve) -> None:
    with serve_scripted(body_s=0.3) as run, begin_upload(run) as line:
        answer = rest_of(line)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"].endswith("send it again")
        until(lambda: not list(run.service.root.iterdir()))
        assert run.wait(run.submit())["state"] == "done"


def test_a_body_for_a_preview_may_not_stand_still_either(serve_scripted: Serve) -> None:
    with serve_scripted(body_s=0.3) as run:
        job = run.submit()
        run.wait(job)
        with begin(run, f"/api/jobs/{job}/preview", "application/json", b"{") as line:
            assert rest_of(line).startswith(b"HTTP/1.1 408 ")


def test_a_connection_without_a_request_is_closed(
    serve_scripted: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.5)
    with serve_scripted() as run:
        host, port = run.url.removeprefix("http://").split(":")
        for words in (b"", b"GET /api/health HTTP/1.1\r\nHost: "):
            with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as line:
                line.sendall(words)
                assert rest_of(line) == b""


def test_uploads_on_their_way_count_like_jobs_that_wait(serve_scripted: Serve) -> None:
    with serve_scripted(queued_a_client=2) as run, ExitStack() as lines:
        for _ in range(2):
            lines.enter_context(begin_upload(run))
        until(lambda: len(list(run.service.root.iterdir())) == 2)
        assert run.post(client="slow").status_code == 429
        assert run.post(client="other").status_code == 202
        lines.close()
        until(lambda: run.post(client="slow").status_code == 202)


def test_old_results_make_room_where_the_disk_is_full(serve_scripted: Serve) -> None:
    with serve_scripted(stored_bytes=200_000) as run:
        jobs = [run.submit("now " + "x" * 60_000) for _ in range(2)]
        until(lambda: run.health()["kept"] == 1)
        answers = [run.client.get(f"/api/jobs/{job}").status_code for job in jobs]
        assert sorted(answers) == [200, 410]
        run.wait(run.submit("hold"), "running")
        run.submit("now " + "x" * 250_000)
        answer = run.post()
        assert answer.status_code == 503 and "disk" in answer.json()["detail"]


def test_event_streams_left_open_end_where_there_are_enough(serve_scripted: Serve) -> None:
    with serve_scripted(streams=3) as run:
        job = run.submit("hold")
        path, lines = f"/api/jobs/{job}/events", []
        with ExitStack() as streams:
            for _ in range(3):
                stream = streams.enter_context(run.client.stream("GET", path))
                lines.append(stream.iter_lines())
                next(lines[-1])
            answer = run.client.get(path)
            assert answer.status_code == 503 and "status" in answer.json()["detail"]
        until(lambda: run.service.num_streams == 0)
        run.let_go(job)
        assert '"done"' in run.client.get(path).text


def test_a_job_deleted_while_it_is_built_is_gone_for_good(serve_scripted: Serve) -> None:
    with serve_scripted() as run:
        job = run.submit()
        run.wait(job)
        where = run.service.root / job
        answers: list[Any] = []

        def build() -> None:
            answers.append(run.client.post(f"/api/jobs/{job}/build", json={}))

        builder = threading.Thread(target=build)
        builder.start()
        until((where / "building").exists)
        assert run.client.delete(f"/api/jobs/{job}").status_code == 204
        builder.join(PATIENCE_S)
        assert answers[0].status_code == 410 and "deleted" in answers[0].json()["detail"]
        until(lambda: not where.exists())


@pytest.fixture(scope="module")
def done(stub: Any) -> str:
    """A finished job of the example."""
    options = {"example": "bracket", "budget_s": 0, "candidates": 2}
    job = str(stub.client.post("/api/jobs", json=options).json()["id"])
    assert stub.wait(job)["state"] == "done"
    return job


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"values": {"block_height": NaN}}', "finite"),
        (b'{"values": {"block_height": Infinity}}', "finite"),
        (b'{"values": {"block_height": 1e400}}', "finite"),
        (b'{"values": {"block_height": -1e300}}', "values"),
        (b'{"values": {"\\ud800": 3}}', "number"),
        (b'{"text": "\\ud800"}', "text"),
        (b'{"values": {"L1:1": 3}}', "L1:1"),
        (b'{"text": "' + b"-" * 90_000 + b'1"}', "read"),
    ],
)
def test_values_that_are_no_numbers_are_refused(
    stub: Any, done: str, body: bytes, word: str
) -> None:
    answer = stub.client.post(f"/api/jobs/{done}/preview", content=body, headers=JSON)
    assert answer.status_code == 422 and word in answer.json()["detail"], answer.text


def test_previews_without_a_pause_are_answered_or_told_that_a_newer_one_came(
    stub: Any, done: str
) -> None:
    statuses: list[int] = []

    def flood() -> None:
        for _ in range(5):
            statuses.append(stub.client.post(f"/api/jobs/{done}/preview", json={}).status_code)

    clients = [threading.Thread(target=flood) for _ in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(PATIENCE_S)
    assert len(statuses) == 40 and set(statuses) <= {200, 409} and 200 in statuses


LIES = [
    ("lie.stl", bytes(80) + struct.pack("<I", 4_000_000_000) + bytes(500)),
    ("lie.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\n"
     b"property float y\nproperty float z\nelement face 4000000000\n"
     b"property list uchar int vertex_indices\nend_header\n" + bytes(900)),
    ("list.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\n"
     b"property float y\nproperty float z\nelement face 1\n"
     b"property list uint int vertex_indices\nend_header\n" + bytes(36) + b"\xf0\xff\xff\xff"),
    ("lie.off", b"OFF\n4000000000 4000000000 0\n0 0 0\n"),
    ("lie.npy", b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, "
     b"'shape': (4000000000, 3), }".ljust(117) + b"\n" + bytes(100)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data"), LIES, ids=[row[0] for row in LIES])
def test_sizes_that_a_file_only_claims_cost_nothing(stub: Any, name: str, data: bytes) -> None:
    pid = stub.service.job_slots[0].worker.pid
    answer = stub.client.post("/api/jobs", files={"file": (name, data)})
    status = stub.wait(answer.json()["id"])
    assert status["state"] == "failed" and status["attempt"] == 1
    assert status["problem"]["status"] == 422 and name in status["problem"]["detail"]
    assert stub.service.job_slots[0].worker.pid == pid


def test_files_that_an_obj_names_are_not_opened(stub: Any) -> None:
    """A pipe would hold whoever opens it until the job's time is over."""
    pipe = stub.service.root / "pipe.mtl"
    os.mkfifo(pipe)
    lines = [f"mtllib {pipe}", f"mtllib ../{pipe.name}", "usemtl red"]
    mesh = "v 0 0 0\nv 9 0 0\nv 0 9 0\nv 0 0 9\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    data = "\n".join([*lines, mesh]).encode()
    try:
        answer = stub.client.post(
            "/api/jobs", files={"file": ("a.obj", data)}, data={"budget_s": "0"}
        )
        assert stub.wait(answer.json()["id"], timeout_s=25.0)["state"] == "done"
    finally:
        pipe.unlink()


def test_an_example_is_never_changed_by_a_job(stub: Any) -> None:
    before = {path.name: path.read_bytes() for path in folder().iterdir() if path.is_file()}
    stub.wait(
        stub.client.post("/api/jobs", json={"example": "bracket", "budget_s": 0}).json()["id"]
    )
    assert before == {path.name: path.read_bytes() for path in folder().iterdir() if path.is_file()}


def test_beyond_its_connections_the_server_answers_with_a_problem(
    serve_scripted: Serve,
) -> None:
    with serve_scripted(connections=3) as run, ExitStack() as stack:
        host, port = run.url.removeprefix("http://").split(":")
        address = (host, int(port))
        idle = [stack.enter_context(socket.create_connection(address)) for _ in range(4)]
        until(lambda: len(run.server.server_state.connections) >= 4)
        with socket.create_connection(address, timeout=PATIENCE_S) as line:
            line.sendall(f"GET /api/health HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            head, _, body = rest_of(line).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ") and b"application/problem+json" in head
        assert b"retry-after: 10" in head.lower() and b"connection: close" in head.lower()
        document = json.loads(body)
        assert (document["status"], document["instance"]) == (503, "/api/health")
        assert "3 connections" in document["detail"]
        for line in idle:
            line.close()
        until(lambda: len(run.server.server_state.connections) <= 2)
        assert run.client.get("/api/health").status_code == 200
