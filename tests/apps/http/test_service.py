"""Queue, pool and store by HTTP: turns, cancels, deaths, limits, expiry, the end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.apps.http.running_server import PATIENCE_S, until

from cadwright.apps.http.jobs import worker_process

Serve = Callable[..., Any]


def test_clients_take_turns_whatever_they_queue(scripted: Any) -> None:
    first = scripted.submit("hold", client="many")
    scripted.wait(first, "running")
    many = [scripted.submit(client="many") for _ in range(6)]
    few = [scripted.submit(client="few") for _ in range(2)]
    assert scripted.status(few[0])["position"] <= 1
    assert scripted.status(few[1])["position"] <= 3
    scripted.let_go(first)
    for job in (first, *many, *few):
        scripted.wait(job)
    ends = {job: scripted.service.store.get(job).ended for job in (*many, *few)}
    assert ends[few[0]] < ends[many[1]] and ends[few[1]] < ends[many[2]]


def test_a_job_that_waits_or_runs_can_be_cancelled_once(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "CANCEL_GRACE_S", 120.0)
    running, waiting = scripted.submit("hold"), scripted.submit("hold")
    scripted.wait(running, "running")
    pid = scripted.service.job_slots[0].worker.pid
    for job in (waiting, running):
        answer = scripted.client.post(f"/api/jobs/{job}/cancel")
        assert answer.status_code == 200 and answer.json()["state"] == "cancelled"
        again = scripted.client.post(f"/api/jobs/{job}/cancel")
        assert again.status_code == 409 and "cancelled already" in again.json()["detail"]
    assert scripted.wait(scripted.submit())["state"] == "done"
    assert scripted.service.job_slots[0].worker.pid == pid  # it listened, and stayed warm


def test_a_worker_that_is_deaf_to_a_cancel_is_killed(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "CANCEL_GRACE_S", 0.1)
    job = scripted.submit("hang")
    scripted.wait(job, "running")
    scripted.client.post(f"/api/jobs/{job}/cancel")
    assert scripted.wait(scripted.submit())["state"] == "done"
    assert scripted.status(job)["state"] == "cancelled"


def test_a_job_whose_worker_died_gets_a_second_worker(scripted: Any) -> None:
    status = scripted.wait(scripted.submit("die once"))
    assert status["state"] == "done" and status["attempt"] == 2


def test_a_job_that_kills_two_workers_ends_in_a_clear_error(scripted: Any) -> None:
    job = scripted.submit("die")
    status = scripted.wait(job)
    assert status["state"] == "failed" and status["attempt"] == 2
    assert status["problem"]["status"] == 500
    assert "SIGKILL" in status["problem"]["detail"]
    answer = scripted.client.get(f"/api/jobs/{job}/result")
    assert answer.status_code == 409
    assert answer.json()["cause"] == status["problem"]
    assert scripted.wait(scripted.submit())["state"] == "done"


def test_kill_minus_nine_under_load_loses_no_job(scripted: Any) -> None:
    jobs = [scripted.submit("sleep 0.15", client=f"c{k % 3}", seed=k) for k in range(12)]
    for _ in range(2):
        slot = scripted.service.job_slots[0]
        before = slot.worker.pid
        os.kill(before, signal.SIGKILL)
        until(lambda slot=slot, before=before: slot.worker.pid not in (before, None))
    for k, job in enumerate(jobs):
        status = scripted.wait(job)
        assert status["state"] in ("done", "failed")
        if status["state"] == "done":
            result = scripted.client.get(f"/api/jobs/{job}/result").json()
            assert result["report"]["seed"] == k
        else:
            assert status["problem"]["detail"]
    assert scripted.health()["restarts"] >= 2


def test_limits_end_a_job_with_their_name(serve_scripted: Serve) -> None:
    with serve_scripted(job_s=4.0, cpu_s=0.6, memory_mb=700) as run:
        for words, slug, word in (
            ("hang", "too-much-time", "within"),
            ("spin", "too-much-time", ""),
            ("eat", "too-much-memory", "memory"),
        ):
            status = run.wait(run.submit(words, budget_s=0))
            assert status["state"] == "failed" and status["attempt"] == 1
            assert status["problem"]["type"].endswith(slug)
            assert word in status["problem"]["detail"]
            assert status["problem"]["status"] == 422
        assert run.wait(run.submit(budget_s=0))["state"] == "done"


def test_finished_jobs_expire_with_their_folder(serve_scripted: Serve) -> None:
    with serve_scripted(keep_s=0.5) as run:
        job = run.submit("hold")
        folder = run.service.root / job
        assert folder.is_dir()
        run.let_go(job)
        until(lambda: run.health()["kept"] == 0)
        for path in ("", "/result", "/events", "/files/part.py"):
            answer = run.client.get(f"/api/jobs/{job}{path}")
            assert answer.status_code == 410, path
        assert not folder.exists()


def test_only_so_many_finished_jobs_are_kept(serve_scripted: Serve) -> None:
    with serve_scripted(kept=2) as run:
        jobs = [run.submit() for _ in range(4)]
        until(lambda: run.health()["kept"] == 2)
        answers = [run.client.get(f"/api/jobs/{job}").status_code for job in jobs]
        assert sorted(answers) == [200, 200, 410, 410]
        assert len(list(run.service.root.iterdir())) == 2


def test_a_deleted_job_is_gone_also_while_it_runs(scripted: Any) -> None:
    job = scripted.submit("hold")
    scripted.wait(job, "running")
    assert scripted.client.delete(f"/api/jobs/{job}").status_code == 204
    assert scripted.client.get(f"/api/jobs/{job}").status_code == 410
    scripted.wait(scripted.submit())
    assert not (scripted.service.root / job).exists()


def test_clients_and_queue_have_limits(serve_scripted: Serve) -> None:
    with serve_scripted(queued_a_client=2, queued=3) as run:
        run.wait(run.submit("hold", client="a"), "running")
        run.submit(client="a")
        answer = run.post(client="a")
        assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0
        run.submit(client="b")
        run.submit(client="c")
        answer = run.post(client="d")
        assert answer.status_code == 503 and answer.json()["type"].endswith("full")


def test_events_tell_the_way_to_the_end(scripted: Any) -> None:
    job = scripted.submit("hold")
    lines = []
    with scripted.client.stream("GET", f"/api/jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            lines.append(line)
            if '"state": "running"' in line:
                scripted.let_go(job)
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names[-1] == "end" and set(names[:-1]) == {"status"}
    assert any('"state": "running"' in line for line in lines)
    assert '"state": "done"' in [line for line in lines if line.startswith("data: ")][-2]


def test_shutdown_finishes_what_runs_and_hands_back_what_waits(serve_scripted: Serve) -> None:
    with serve_scripted(drain_s=PATIENCE_S) as run:
        running = run.submit("hold")
        run.wait(running, "running")
        waiting = run.submit()
        seen: list[str] = []

        def follow() -> None:
            with run.client.stream("GET", f"/api/jobs/{running}/events") as stream:
                seen.extend(stream.iter_lines())

        follower = threading.Thread(target=follow)
        follower.start()
        run.server.handle_exit(signal.SIGTERM, None)
        status = run.wait(waiting)
        assert status["state"] == "handed_back"
        assert "submit it again" in status["problem"]["detail"]
        assert run.post().status_code == 503
        assert run.health()["state"] == "stopping"
        run.let_go(running)
        follower.join(PATIENCE_S)
        assert any('"state": "done"' in line for line in seen)


def test_what_runs_too_long_at_shutdown_is_handed_back(serve_scripted: Serve) -> None:
    with serve_scripted(drain_s=0.2) as run:
        job = run.submit("hold")
        run.wait(job, "running")
        seen: list[str] = []
        with run.client.stream("GET", f"/api/jobs/{job}/events") as stream:
            run.server.handle_exit(signal.SIGTERM, None)
            seen.extend(stream.iter_lines())
        assert any('"state": "handed_back"' in line for line in seen)
