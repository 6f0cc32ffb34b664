"""Real servers on loopback with real worker processes, whose work is a stub."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")

from cadwright.apps.http.app import make_app  # noqa: E402
from cadwright.apps.http.guard import Access  # noqa: E402
from cadwright.apps.http.limits import Limits  # noqa: E402
from cadwright.apps.http.pool import WorkerOptions  # noqa: E402
from cadwright.apps.http.server import DrainingServer, bind  # noqa: E402
from cadwright.apps.http.service import Service  # noqa: E402

HERE = Path(__file__).parent
LIMITS = Limits(
    upload_bytes=2 << 20, job_s=30.0, cpu_s=20.0, memory_mb=1024, drain_s=5.0, queued_a_client=1000
)


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

    def wait(self, job_id: str, *states: str, timeout_s: float = 60.0) -> Any:
        """The status once it is final, or one of ``states``."""
        wanted = states or ("done", "failed", "cancelled", "handed_back")
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            status = self.status(job_id)
            if status["state"] in wanted:
                return status
            time.sleep(0.02)
        raise AssertionError(f"{job_id} is not {wanted}: {status}")

    def ready(self) -> None:
        end = time.monotonic() + 120
        while self.client.get("/api/health").json()["state"] != "ready":
            assert time.monotonic() < end
            time.sleep(0.02)


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
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    server = DrainingServer(config, service, lambda line: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        run = Running(service, server, url, client)
        try:
            run.ready()
            yield run
        finally:
            server.should_exit = True
            thread.join(20)
            listener.close()
    assert not thread.is_alive()


@pytest.fixture(scope="session", autouse=True)
def children_can_be_imported() -> Iterator[None]:
    """Put the stub workers within reach of the processes."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *([before] if before else [])])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def sleepy(tmp_path: Path) -> Callable[..., Any]:
    """Makes servers whose workers do what the upload says."""
    return lambda **limits: running("sleepy_child", tmp_path, **limits)


@pytest.fixture(scope="session")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server whose worker does what the upload says."""
    with running("sleepy_child", tmp_path_factory.mktemp("jobs")) as run:
        yield run


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server with the true pipeline, a stub decoder and the fast kernel."""
    with running("stub_child", tmp_path_factory.mktemp("jobs")) as run:
        yield run
