"""Real servers on loopback with real worker processes, whose work is a stub; and how to wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from cadwright.apps.http.api.access_control import Access
from cadwright.apps.http.api.app import make_app
from cadwright.apps.http.jobs.service import Service
from cadwright.apps.http.jobs.worker_process import WorkerOptions
from cadwright.apps.http.limits import Limits
from cadwright.apps.http.server import DrainingServer, bind, configured

PATIENCE_S = 180.0  # machines that run tests are busy
LIMITS = Limits(
    upload_bytes=2 << 20, job_s=30.0, cpu_s=20.0, memory_mb=1024, drain_s=5.0, queued_a_client=1000
)


def until(ready: Callable[[], Any], timeout_s: float = PATIENCE_S) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end, f"this did not happen in {timeout_s:g} s"
        time.sleep(0.02)


@dataclass
class Running:
    """A server of a test."""

    service: Service
    server: DrainingServer
    url: str
    client: Any

    def post(self, words: str = "now", *, client: str = "one", **fields: Any) -> Any:
        """Upload a text as a cloud."""
        files = {"file": ("part.xyz", words.encode())}
        headers = {"X-Cadwright-Client": client}
        return self.client.post("/api/jobs", files=files, data=fields, headers=headers)

    def submit(self, words: str = "now", **fields: Any) -> str:
        answer = self.post(words, **fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def status(self, job_id: str) -> Any:
        return self.client.get(f"/api/jobs/{job_id}").json()

    def wait(self, job_id: str, *states: str, timeout_s: float = PATIENCE_S) -> Any:
        """The status once it is final, or one of ``states``."""
        wanted = states or ("done", "failed", "cancelled", "handed_back")
        end = time.monotonic() + timeout_s
        while (status := self.status(job_id))["state"] not in wanted:
            assert time.monotonic() < end, f"{job_id} is not {wanted}: {status}"
            time.sleep(0.02)
        return status

    def let_go(self, *job_ids: str) -> None:
        """End jobs whose words are ``hold``."""
        for job_id in job_ids:
            (self.service.root / job_id / "go").touch()

    def ready(self) -> None:
        until(lambda: self.health()["state"] == "ready")

    def health(self) -> Any:
        return self.client.get("/api/health").json()


@contextmanager
def running(
    child: str, folder: Path, *, access: Access | None = None, num_workers: int = 1, **limits: Any
) -> Iterator[Running]:
    """Serve in a thread until the block ends."""
    options = WorkerOptions(child=child, memory_mb=limits.get("memory_mb", 1024))
    service = Service(replace(LIMITS, **limits), options, num_workers=num_workers, root=folder)
    app = make_app(service, access or Access(), default_budget_s=0.2)
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = configured(app, service)
    config.timeout_graceful_shutdown = 1
    server = DrainingServer(config, service, lambda line: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
        run = Running(service, server, url, client)
        try:
            run.ready()
            yield run
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            listener.close()
    assert not thread.is_alive()
