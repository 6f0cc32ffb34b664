"""Many clients at once on loopback: nothing lost, nothing mixed up, memory flat."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.apps.http.running_server import until

KEPT = 100  # as serve_scripted.py has it
Serve = Callable[..., Any]


async def one_client(url: str, number: int, until: float, found: list[str]) -> None:
    """Submit, follow and fetch until the time is over; every answer must be this client's own."""
    headers = {"X-Cadwright-Client": f"client-{number}"}
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, headers=headers) as web:
        turn = done = 0
        while not done or time.monotonic() < until:
            turn += 1
            mark = f"{number}-{turn}"
            files = {"file": (f"{mark}.xyz", f"now {mark}".encode())}
            seed = number * 1000 + turn
            answer = await web.post("/api/jobs", files=files, data={"seed": seed, "budget_s": 0})
            if answer.status_code in (429, 503):
                await asyncio.sleep(0.05)
                continue
            assert answer.status_code == 202, answer.text
            job = answer.json()["id"]
            if turn % 2:
                state = await followed(web, job)
            else:
                state = await polled(web, job)
            assert state == "done"
            result = (await web.get(f"/api/jobs/{job}/result")).json()
            assert result["id"] == job and result["name"] == mark
            assert result["report"]["words"] == ["now", mark]
            assert result["report"]["seed"] == seed
            found.append(job)
            done += 1
            if turn % 3 == 0:
                assert (await web.delete(f"/api/jobs/{job}")).status_code == 204


async def followed(web: httpx.AsyncClient, job: str) -> str:
    state = ""
    async with web.stream("GET", f"/api/jobs/{job}/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: {") and '"state": "' in line:
                assert f'"id": "{job}"' in line
                state = line.split('"state": "')[1].split('"')[0]
    return state


async def polled(web: httpx.AsyncClient, job: str) -> str:
    while True:
        status = (await web.get(f"/api/jobs/{job}")).json()
        assert status["id"] == job
        if status["state"] not in ("queued", "running"):
            return str(status["state"])
        await asyncio.sleep(0.05)


def load(url: str, *, clients: int, seconds: float) -> list[str]:
    found: list[str] = []

    async def all_of_them() -> None:
        until = time.monotonic() + seconds
        jobs = (one_client(url, k, until, found) for k in range(clients))
        await asyncio.gather(*jobs)

    asyncio.run(all_of_them())
    assert len(set(found)) == len(found) >= clients
    return found


def test_ten_clients_get_their_own_results(serve_scripted: Serve) -> None:
    with serve_scripted(kept=30) as run:
        load(run.url, clients=10, seconds=2.0)
        until(lambda: run.health()["running"] == 0 and run.health()["kept"] <= 30)
        assert run.health()["queued"] == 0
        assert len(list(run.service.root.iterdir())) == len(run.service.store)


@pytest.mark.slow
def test_fifty_clients_for_a_minute_leave_memory_flat(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    command = [sys.executable, str(Path(__file__).with_name("serve_scripted.py")), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            load(url, clients=50, seconds=20)  # pools, caches and buffers find their size
            before = settled(url)
            found = load(url, clients=50, seconds=60)
            after = settled(url)
        finally:
            process.terminate()
    record_property("jobs", len(found))
    for name, health in (("before", before), ("after", after)):
        record_property(f"{name}_mb", [health["memory_mb"], *health["workers_mb"]])
    assert after["queued"] == after["running"] == after["restarts"] == 0
    assert after["memory_mb"] - before["memory_mb"] < 8
    assert max(after["workers_mb"]) - max(before["workers_mb"]) < 4
    assert after["kept"] <= KEPT and len(list(tmp_path.iterdir())) == after["kept"]


def settled(url: str) -> Any:
    """The server's health once nothing is left to clear away."""
    time.sleep(2.0)
    return httpx.get(f"{url}/api/health", trust_env=False).json()
