"""Queue, pool and store by HTTP: turns, cancels, deaths, limits, expiry, the end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

Serve = Callable[..., Any]


def test_clients_take_turns_whatever_they_queue(sleeper: Any) -> None:
    first = sleeper.submit("sleep 0.5", client="many")
    many = [sleeper.submit(client="many") for _ in range(6)]
    few = [sleeper.submit(client="few") for _ in range(2)]
    assert sleeper.status(few[0])["position"] <= 1
    assert sleeper.status(few[1])["position"] <= 3
    for job in (first, *many, *few):
        sleeper.wait(job)
    ends = {job: sleeper.service.store.get(job).ended for job in (*many, *few)}
    assert ends[few[0]] < ends[many[1]] and ends[few[1]] < ends[many[2]]


def test_a_job_that_waits_or_runs_can_be_cancelled_once(sleeper: Any) -> None:
    running, waiting = sleeper.submit("sleep 60"), sleeper.submit("sleep 60")
    sleeper.wait(running, "running")
    pid = sleeper.service.makers[0].worker.pid
    for job in (waiting, running):
        answer = sleeper.client.post(f"/api/jobs/{job}/cancel")
        assert answer.status_code == 200 and answer.json()["state"] == "cancelled"
        again = sleeper.client.post(f"/api/jobs/{job}/cancel")
        assert again.status_code == 409 and "cancelled already" in again.json()["detail"]
    assert sleeper.wait(sleeper.submit())["state"] == "done"
    assert sleeper.service.makers[0].worker.pid == pid  # it listened, and stayed warm


def test_a_worker_that_is_deaf_to_a_cancel_is_killed(sleeper: Any) -> None:
    job = sleeper.submit("hang")
    sleeper.wait(job, "running")
    sleeper.client.post(f"/api/jobs/{job}/cancel")
    assert sleeper.wait(sleeper.submit())["state"] == "done"
    assert sleeper.status(job)["state"] == "cancelled"


def test_a_job_whose_worker_died_gets_a_second_worker(sleeper: Any) -> None:
    status = sleeper.wait(sleeper.submit("die once"))
    assert status["state"] == "done" and status["attempt"] == 2


def test_a_job_that_kills_two_workers_ends_in_a_clear_error(sleeper: Any) -> None:
    job = sleeper.submit("die")
    status = sleeper.wait(job)
    assert status["state"] == "failed" and status["attempt"] == 2
    assert status["problem"]["status"] == 500
    assert "SIGKILL" in status["problem"]["detail"]
    answer = sleeper.client.get(f"/api/jobs/{job}/result")
    assert answer.status_code == 409
    assert answer.json()["cause"] == status["problem"]
    assert sleeper.wait(sleeper.submit())["state"] == "done"


def test_kill_minus_nine_under_load_loses_no_job(sleeper: Any) -> None:
    jobs = [sleeper.submit("sleep 0.15", client=f"c{k % 3}", seed=k) for k in range(12)]
    for _ in range(2):
        slot = sleeper.service.makers[0]
        before = slot.worker.pid
        os.kill(before, signal.SIGKILL)
        while slot.worker.pid in (before, None):
            time.sleep(0.01)
    for k, job in enumerate(jobs):
        status = sleeper.wait(job)
        assert status["state"] in ("done", "failed")
        if status["state"] == "done":
            result = sleeper.client.get(f"/api/jobs/{job}/result").json()
            assert result["report"]["seed"] == k
        else:
            assert status["problem"]["detail"]
    assert sleeper.client.get("/api/health").json()["restarts"] >= 2


def test_limits_end_a_job_with_their_name(sleepy: Serve) -> None:
    with sleepy(job_s=4.0, cpu_s=0.6, memory_mb=700) as run:
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


def test_finished_jobs_expire_with_their_folder(sleepy: Serve) -> None:
    with sleepy(keep_s=0.8) as run:
        job = run.submit()
        run.wait(job)
        folder = run.service.root / job
        assert folder.is_dir()
        time.sleep(1.8)
        for path in ("", "/result", "/events", "/files/part.py"):
            answer = run.client.get(f"/api/jobs/{job}{path}")
            assert answer.status_code == 410, path
        assert not folder.exists()


def test_only_so_many_finished_jobs_are_kept(sleepy: Serve) -> None:
    with sleepy(kept=2, keep_s=4.0) as run:
        jobs = [run.submit() for _ in range(4)]
        for job in jobs:
            run.wait(job)
        time.sleep(1.3)
        answers = [run.client.get(f"/api/jobs/{job}").status_code for job in jobs]
        assert sorted(answers) == [200, 200, 410, 410]
        assert len(list(run.service.root.iterdir())) == 2


def test_a_deleted_job_is_gone_also_while_it_runs(sleeper: Any) -> None:
    job = sleeper.submit("sleep 60")
    sleeper.wait(job, "running")
    assert sleeper.client.delete(f"/api/jobs/{job}").status_code == 204
    assert sleeper.client.get(f"/api/jobs/{job}").status_code == 410
    sleeper.wait(sleeper.submit())
    assert not (sleeper.service.root / job).exists()


def test_clients_and_queue_have_limits(sleepy: Serve) -> None:
    with sleepy(queued_a_client=2, queued=3) as run:
        run.wait(run.submit("sleep 60", client="a"), "running")
        run.submit(client="a")
        answer = run.post(client="a")
        assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0
        run.submit(client="b")
        run.submit(client="c")
        answer = run.post(client="d")
        assert answer.status_code == 503 and answer.json()["type"].endswith("full")


def test_events_tell_the_way_to_the_end(sleeper: Any) -> None:
    job = sleeper.submit("sleep 0.2")
    with sleeper.client.stream("GET", f"/api/jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = list(stream.iter_lines())
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names[-1] == "end" and set(names[:-1]) == {"status"}
    assert any('"state": "running"' in line for line in lines)
    assert '"state": "done"' in [line for line in lines if line.startswith("data: ")][-2]


def test_shutdown_finishes_what_runs_and_hands_back_what_waits(sleepy: Serve) -> None:
    with sleepy() as run:
        running = run.submit("sleep 0.8")
        run.wait(running, "running")
        waiting = run.submit()
        seen: list[str] = []

        def follow() -> None:
            with run.client.stream("GET", f"/api/jobs/{running}/events") as stream:
                seen.extend(stream.iter_lines())

        follower = threading.Thread(target=follow)
        follower.start()
        run.server.handle_exit(signal.SIGTERM, None)
        status = run.wait(waiting, timeout_s=5)
        assert status["state"] == "handed_back"
        assert "submit it again" in status["problem"]["detail"]
        assert run.post().status_code == 503
        assert run.client.get("/api/health").json()["state"] == "stopping"
        follower.join(10)
        assert any('"state": "done"' in line for line in seen)


def test_what_runs_too_long_at_shutdown_is_handed_back(sleepy: Serve) -> None:
    with sleepy(drain_s=0.2) as run:
        job = run.submit("sleep 60")
        run.wait(job, "running")
        seen: list[str] = []
        with run.client.stream("GET", f"/api/jobs/{job}/events") as stream:
            run.server.handle_exit(signal.SIGTERM, None)
            seen.extend(stream.iter_lines())
        assert any('"state": "handed_back"' in line for line in seen)
