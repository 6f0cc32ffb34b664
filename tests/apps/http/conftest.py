"""Servers for the tests of this folder; all are skipped where the extra ``serve`` is absent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

for package in ("fastapi", "uvicorn", "python_multipart"):
    pytest.importorskip(package, reason="the extra 'serve' is not installed")
pytest.importorskip("httpx")

from tests.apps.http.running_server import Running, running  # noqa: E402

HERE = Path(__file__).parent


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
def serve_scripted(tmp_path: Path) -> Callable[..., Any]:
    """Makes servers whose workers do what the upload says."""
    return lambda **limits: running("scripted_worker", tmp_path, **limits)


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server whose worker does what the upload says."""
    with running("scripted_worker", tmp_path_factory.mktemp("jobs")) as run:
        yield run


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server with the true pipeline, a stub decoder and the fast kernel."""
    with running("stub_worker", tmp_path_factory.mktemp("jobs")) as run:
        yield run
