"""How fast ``cadwright serve`` answers: slider to mesh on the example part, and jobs a second.

In: the package with the extra ``serve``; a server is started for the run, with true workers. Out:
a table: milliseconds from sending a slider's value to holding the mesh, seconds of an exact build
and of a job, jobs and status answers a second, memory of the server and its workers.

    python benchmarks/serve.py [--previews 200] [--jobs 5] [--budget 1] [--load 20]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np

EXAMPLE = "bracket"


@contextmanager
def served(*options: str) -> Iterator[httpx.Client]:
    """A client of a server that is ready."""
    command = [sys.executable, "-m", "cadwright", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
            started = time.perf_counter()
            while client.get("/api/health").json()["state"] == "starting":
                time.sleep(0.1)
            print(f"| start to first job possible | {time.perf_counter() - started:.1f} s |")
            yield client
    finally:
        process.terminate()
        process.wait()


def timed(action: Callable[[], httpx.Response]) -> tuple[float, httpx.Response]:
    """Seconds and the answer of one request."""
    started = time.perf_counter()
    answer = action()
    seconds = time.perf_counter() - started
    if answer.is_error:
        raise SystemExit(answer.text)
    return seconds, answer


def make_part(client: httpx.Client, budget_s: float, seed: int) -> tuple[float, str]:
    """Seconds from submitting the example to its result, and the job."""
    started = time.perf_counter()
    given = {"example": EXAMPLE, "budget_s": budget_s, "seed": seed}
    job = client.post("/api/jobs", json=given).json()["id"]
    with client.stream("GET", f"/api/jobs/{job}/events") as stream:
        for _ in stream.iter_lines():
            pass
    status = client.get(f"/api/jobs/{job}").json()
    if status["state"] != "done":
        raise SystemExit(status["problem"]["detail"])
    return time.perf_counter() - started, job


def drag(client: httpx.Client, job: str, num: int) -> tuple[list[float], list[float]]:
    """Seconds of previews as a slider moves, by the client's clock and by the worker's."""
    numbers = client.get(f"/api/jobs/{job}/result").json()["program"]["numbers"]
    slider = next(one for one in numbers if one["named"])
    own, inside = [], []
    for k in range(num + 5):
        value = slider["value"] + (k % 40) * slider["step"]
        body = {"values": {slider["id"]: value}}

        def move(body: dict[str, Any] = body) -> httpx.Response:
            return client.post(f"/api/jobs/{job}/preview", json=body)

        seconds, answer = timed(move)
        header = answer.content[8 : 8 + int.from_bytes(answer.content[4:8], "little")]
        own.append(seconds)
        inside.append(float(header.split(b'"ms": ')[1].split(b",")[0]) / 1000)
    return own[5:], inside[5:]


def jobs_a_second(client: httpx.Client, num: int) -> float:
    """Of examples without search, all handed in at once by four clients."""
    started = time.perf_counter()
    given = {"example": EXAMPLE, "budget_s": 0, "candidates": 2}
    waiting = [
        client.post("/api/jobs", json=given, headers={"X-Cadwright-Client": f"c{k % 4}"}).json()
        for k in range(num)
    ]
    for job in waiting:
        while (state := client.get(f"/api/jobs/{job['id']}").json()["state"]) != "done":
            if state not in ("queued", "running"):
                raise SystemExit(f"a job is {state}")
            time.sleep(0.02)
    return num / (time.perf_counter() - started)


def memory_row(client: httpx.Client, when: str) -> None:
    """Resident memory of the server and of each worker."""
    health = client.get("/api/health").json()
    workers = " + ".join(f"{size:.0f}" for size in health["workers_mb"])
    print(f"| memory {when}: server + workers | {health['memory_mb']:.0f} + {workers} MB |")


def row(name: str, seconds: list[float]) -> None:
    """Median, 95th percentile and worst, in milliseconds."""
    low, high, worst = (1000 * np.percentile(seconds, q) for q in (50, 95, 100))
    print(f"| {name} | median {low:.0f} ms, p95 {high:.0f} ms, worst {worst:.0f} ms |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--previews", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=5)
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--load", type=int, default=20, help="jobs handed in at once")
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| what | value |\n|---|---|")
    with served("--budget", str(args.budget)) as client:
        memory_row(client, "idle")
        seconds, jobs = [], []
        for seed in range(args.jobs):
            took, job = make_part(client, args.budget, seed)
            seconds.append(took)
            jobs.append(job)
        print(f"| the example part, {args.budget:g} s of search | {np.median(seconds):.1f} s |")
        own, inside = drag(client, jobs[0], args.previews)
        row("slider to mesh, by the client", own)
        row("of that in the worker", inside)
        builds = [
            timed(lambda: client.post(f"/api/jobs/{jobs[0]}/build", json={}))[0] for _ in range(6)
        ]
        row("exact build with all files", builds[1:])
        rate = jobs_a_second(client, args.load)
        print(
            f"| jobs a minute without search, {args.load} at once, one worker | {60 * rate:.0f} |"
        )
        started = time.perf_counter()
        for k in range(100):
            timed(lambda k=k: client.get(f"/api/jobs/{jobs[k % len(jobs)]}"))
        print(
            f"| status answers a second, one client | {100 / (time.perf_counter() - started):.0f} |"
        )
        memory_row(client, "after all that")


if __name__ == "__main__":
    main()
