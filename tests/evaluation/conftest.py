"""Fixtures of the evaluation's tests; what they are made of is in ``evaluation_parts``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # tests are not a package

from evaluation_parts import SHAPES, published_program, true_program  # noqa: E402

from cadwright.evaluation.pool import LocalPool  # noqa: E402
from cadwright.evaluation.scoring import ScoringOptions  # noqa: E402


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    """Four of the golden shapes."""
    folder = tmp_path / "targets"
    folder.mkdir()
    for number in (0, 4, 7, 10):
        shutil.copy(SHAPES / f"{number:02}.stl", folder)
    return folder


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Changed programs as K = 0 for all four, and the true one as K = 1 for one of them."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for number in (0, 4, 7, 10):
        (folder / f"{number:02}+0.py").write_text(published_program(number))
    (folder / "07+1.py").write_text(true_program(7))
    return folder


@pytest.fixture(scope="session")
def pool() -> Iterator[LocalPool]:
    """One worker for tests that need no limits of their own: it takes a second to start."""
    with LocalPool(ScoringOptions(timeout_s=60)) as started:
        yield started
