"""What a run folder keeps besides weights: log lines, and the facts of the run.

In: records of the loop. Out: ``log.jsonl`` (one JSON object a line), ``recipe.yaml``,
``run.jsonl`` and one printed line a record. Not covered: checkpoints.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from tqdm import tqdm

from cadwright.geometry.atomic import atomic_write
from cadwright.training.config import TrainConfig, config_to_yaml

_PACKAGES = (
    "cadwright", "torch", "transformers", "accelerate", "peft", "manifold3d", "fpsample", "numpy",
)  # fmt: skip


class RunLog:
    """Appends to ``log.jsonl`` and prints.

    Args:
        run_dir: made where it is missing.
        step: steps done; what the log holds beyond them was lost with the process that
            wrote it, will be made again, and is taken out.
        total: steps of the whole run, for the time left.
        silent: write and print nothing; for all processes but the first.
    """

    def __init__(self, run_dir: Path, *, step: int, total: int, silent: bool = False) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        path = Path(os.devnull) if silent else run_dir / "log.jsonl"
        if not silent:
            _drop_after(path, step)
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._total, self._silent = total, silent
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def note(self, text: str) -> None:
        """A sentence for a person, above the progress bar if there is one."""
        if not self._silent:
            tqdm.write(text, file=sys.stderr)
            sys.stderr.flush()

    def write(self, record: Mapping[str, Any]) -> None:
        """One record into the file and onto the terminal."""
        self._file.write(json.dumps(dict(record)) + "\n")
        words = [f"{key} {_short(value)}" for key, value in record.items()]
        left_s = self._left_s(int(record["step"]))
        if left_s is not None:
            words.append(f"left {left_s / 60:.0f} min")
        self.note("  ".join(words))

    def _left_s(self, step: int) -> float | None:
        """Seconds to the end at the pace since this process began."""
        now = time.perf_counter()
        if self._first is None:
            self._first = step, now
        first_step, first_s = self._first
        if step == first_step:
            return None
        return (now - first_s) / (step - first_step) * (self._total - step)


def _drop_after(path: Path, step: int) -> None:
    """Take out records beyond ``step``, and a last line that was cut off."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    with atomic_write(path) as draft:
        draft.write_text("".join(kept), encoding="utf-8")


def write_run_facts(run_dir: Path, config: TrainConfig) -> None:
    """Keep the resolved recipe, and per start: command, commit, versions, machine, seed."""
    (run_dir / "recipe.yaml").write_text(config_to_yaml(config), encoding="utf-8")
    facts = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": sys.argv,
        "commit": _commit(),
        "seed": config.seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }
    with (run_dir / "run.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")


def _commit() -> str | None:
    """The source tree's commit, with '-dirty' where files changed; None outside a clone."""
    here = Path(__file__).parent
    try:
        words = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
        done = subprocess.run(words, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    """Installed version, None where it runs from source or is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _short(value: Any) -> str:
    """Four significant digits are enough on a terminal."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
