"""The command: what it prints, refuses and asks for; once with everything real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from cadwright.apps.cli import main
from cadwright.apps.http import server
from cadwright.geometry.mesh_io import load_shape
from cadwright.program.program_to_solid import ExactKernel


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be served, instead of serving it."""
    calls: list[Any] = []
    monkeypatch.setattr(server, "run", lambda *given: calls.append(given))
    return calls


def test_this_machine_alone_needs_no_token(
    started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "0", "--budget", "2"]) == 0
    out = capsys.readouterr().out
    (app, _, listener, _) = started[0]
    assert out.split()[-1] == f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert app.access.token == ""
    listener.close()


def test_another_address_gets_a_token_of_its_own(
    started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 0
    first, second = (call[0].access.token for call in started)
    assert len(first) > 30 and first != second
    assert f"/?token={first}" in capsys.readouterr().out
    for call in started:
        call[2].close()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "70000"], "no port 70000"),
        (["--host", "192.0.2.1", "--port", "0"], "cannot listen on 192.0.2.1"),
        (["--token", ""], "--token needs"),
        (["--token", "kurz"], "--token needs"),
        (["--token", "mit leerzeichen"], "--token needs"),
    ],
)
def test_what_cannot_be_served_is_said(
    started: list[Any], capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["serve", *words]) == 1
    assert sentence in capsys.readouterr().err
    assert not started


def test_a_taken_port_is_named(started: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    assert f"port {port}" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_server_makes_the_example_and_ends_on_a_signal(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("cadquery")
    command = [sys.executable, "-m", "cadwright", "serve", "--port", "0", "--budget", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=600, trust_env=False) as client:
            job = client.post("/api/jobs", json={"example": "bracket"}).json()["id"]
            with client.stream("GET", f"/api/jobs/{job}/events") as stream:
                data = [line for line in stream.iter_lines() if line.startswith("data: ")]
            assert '"state": "done"' in data[-2]  # the last one is the end itself
            result = client.get(f"/api/jobs/{job}/result").json()
            assert result["report"]["iou"] > 0.99
            step = client.get(f"/api/jobs/{job}/files/part.step").content
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    path = tmp_path / "part.step"
    path.write_bytes(step)
    with ExactKernel() as kernel:
        shape = load_shape(path, step_reader=kernel.step_to_mesh)
    assert shape.kind == "solid"
    bracket = load_shape(Path(__file__).parents[3] / "examples" / "bracket.stl")
    assert abs(shape.bounds - bracket.bounds).max() < 0.05
