"""A model and a folder of targets -> a folder of ``NAME+K.py``, by the pipeline that users call.

In: targets and how to reconstruct them. Out: the chosen program of each, PROGRAM frame, one for
each of K seeds, seconds.jsonl and failures.jsonl. A run that ended early goes on: programs that are
there are kept. Not covered: scoring (``run``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cadwright.errors import (
    CadwrightError,
    CheckpointError,
    InputError,
    MissingDependencyError,
)
from cadwright.evaluation.predictions import SECONDS_FILE
from cadwright.geometry.atomic import atomic_write
from cadwright.inference.pipeline import Reconstructor
from cadwright.program.program_to_text import program_to_text

FAILURES_FILE, MODEL_FILE = "failures.jsonl", "model.json"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ModelRun:
    """How targets are reconstructed.

    Attributes:
        model: 'embedded', a folder or a Hub id.
        tokenizer: where it is, if not with the model.
        device: 'auto', 'cpu', 'cuda', ...
        candidates: programs decoded.
        budget_s: seconds of search; 0 switches it off.
        seed: of the first program of each part; the k-th has ``seed + k``.
        num_programs: K, programs a part.
    """

    model: str = "embedded"
    tokenizer: str | None = None
    device: str = "auto"
    candidates: int = 16
    budget_s: float = 5.0
    seed: int = 0
    num_programs: int = 1


def predict(
    targets: Mapping[str, Path],
    folder: Path,
    run: ModelRun,
    *,
    progress: Progress | None = None,
    reconstructor: Reconstructor | None = None,
) -> None:
    """Reconstruct every target and keep the chosen programs.

    Args:
        targets: name to file.
        folder: gets the programs.
        run: how.
        progress: called with programs done and programs in all.
        reconstructor: one that is loaded already; by default it is made from ``run``.
    Raises:
        CheckpointError, MissingDependencyError: the model cannot be used.
        InputError: the folder holds programs that were made otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, asdict(run))
    jobs = [(name, k) for k in range(run.num_programs) for name in targets]
    left = [(name, k) for name, k in jobs if not (folder / f"{name}+{k}.py").exists()]
    if progress is not None:
        progress(len(jobs) - len(left), len(jobs))
    if not left:
        return
    (folder / FAILURES_FILE).unlink(missing_ok=True)  # what failed is tried again
    own = reconstructor or Reconstructor(run.model, tokenizer=run.tokenizer, device=run.device)
    try:
        if reconstructor is None:
            own.load()  # so that no part is blamed for the seconds that takes
        for done, (name, k) in enumerate(left, len(jobs) - len(left) + 1):
            _predict_one(own, run, targets[name], folder, name, k)
            if progress is not None:
                progress(done, len(jobs))
    finally:
        if reconstructor is None:
            own.close()


def _predict_one(
    reconstructor: Reconstructor, run: ModelRun, target: Path, folder: Path, name: str, k: int
) -> None:
    """One program, or a line in failures.jsonl: then the part has none and counts as invalid."""
    started = time.perf_counter()
    try:
        found = reconstructor.reconstruct(
            target, candidates=run.candidates, budget_s=run.budget_s, seed=run.seed + k
        )
    except (CheckpointError, MissingDependencyError):
        raise
    except CadwrightError as error:
        _append(folder / FAILURES_FILE, {"name": name, "k": k, "error": str(error)})
        return
    seconds = time.perf_counter() - started
    with atomic_write(folder / f"{name}+{k}.py") as temporary:
        temporary.write_text(program_to_text(found.program) + "\n", encoding="utf-8")
    _append(folder / SECONDS_FILE, {"name": name, "k": k, "seconds": round(seconds, 3)})


def _claim(folder: Path, values: dict[str, Any]) -> None:
    """Note how programs are made, or check that those that are there were made so."""
    path = folder / MODEL_FILE
    if not path.is_file():
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        return
    stored = json.loads(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        if stored.get(key) != value and key != "num_programs":
            raise InputError(
                f"{folder}: its programs were made with {key} {stored.get(key)!r}, not {value!r}"
            )


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
