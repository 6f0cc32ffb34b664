"""Puts the stubs of ``tests/reconstruct_stubs.py`` within reach of the tests in this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # tests are not a package

from reconstruct_stubs import StubKernel  # noqa: E402


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> type[StubKernel]:
    """The stub in the place of the exact kernel; set ``num_refused`` on it. Few points measured."""
    monkeypatch.setattr("cadwright.inference.pipeline.ExactKernel", StubKernel)
    monkeypatch.setattr("cadwright.inference.report.NUM_POINTS", 512)
    monkeypatch.setattr(StubKernel, "num_refused", 0)
    return StubKernel
