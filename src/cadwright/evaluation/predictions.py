"""Folders and files of targets and predictions -> parts: which prediction belongs to which target.

Targets are a folder of meshes, point clouds or STEP files, a part each. Predictions are a folder
of ``NAME+K.py`` as CAD-Recode and cadrille write them (``NAME.py`` is ``NAME+0.py``), the same with
meshes or STEP files, the output folder of ``cadwright reconstruct``, or a JSONL file of CADBench's
``{"file_id", "generated"}``. Nothing but names and JSONL text is read here.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cadwright.errors import InputError
from cadwright.evaluation.protocol import PredictionFrame
from cadwright.geometry.mesh_io import SUFFIXES

PROGRAM_SUFFIXES = (".py", ".txt")
MESH_SUFFIXES = (".stl", ".obj", ".ply", ".off", ".glb", ".step", ".stp")
SECONDS_FILE = "seconds.jsonl"  # {"name", "k", "seconds"} of who made the predictions
LISTED = 5  # names that a message shows
_NUMBERED = re.compile(r"(?P<name>.+)\+(?P<k>\d+)")
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction; exactly one of ``path`` and ``text`` is set.

    Attributes:
        k: its number among those of its part.
        path: a program, mesh or STEP file.
        text: a program.
        frame: what its coordinates are in, for the direct protocol.
        seconds: what it took to make, where that is known.
    """

    k: int
    path: Path | None = None
    text: str | None = None
    frame: PredictionFrame = "program"
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A target and what was predicted for it, by ascending k; possibly nothing."""

    name: str
    target: Path
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True)
class Pairing:
    """What ``pair`` found.

    Attributes:
        parts: one for each target, by name.
        missing: names of targets without a prediction.
        extra: names of predictions without a target, which are left out.
    """

    parts: tuple[Part, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def find_targets(folder: Path) -> dict[str, Path]:
    """Name to file of every shape in a folder, by name.

    Raises:
        InputError: it is no folder, holds no shape, or two of one name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: this is not a folder of targets")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(f"{folder}: both {found[path.stem].name} and {path.name} are targets")
        found[path.stem] = path
    if not found:
        raise InputError(f"{folder}: there is no mesh, point cloud or STEP file in it")
    return found


def find_predictions(
    source: Path, *, frame: PredictionFrame | None = None
) -> dict[str, tuple[Prediction, ...]]:
    """Predictions by part name, each part's by ascending k.

    Args:
        source: a folder or a JSONL file.
        frame: of their coordinates; by default PROGRAM for programs, the target's for meshes, STEP
            files and folders written by ``cadwright reconstruct``.
    Raises:
        InputError: there are none, a line cannot be read, or a part has one k twice.
    """
    if source.is_dir():
        found = _from_folder(source)
    elif source.is_file():
        found = _from_jsonl(source)
    else:
        raise InputError(f"{source}: there is no such folder or file of predictions")
    if not found:
        raise InputError(f"{source}: there is no NAME+K.py, mesh or STEP file in it")
    ordered = {}
    for name, predictions in sorted(found.items()):
        own = sorted(predictions, key=lambda one: one.k)
        for one, two in zip(own, own[1:], strict=False):
            if one.k == two.k:
                raise InputError(f"{source}: part '{name}' has two predictions of number {one.k}")
        ordered[name] = tuple(replace(one, frame=frame) if frame else one for one in own)
    return ordered


def pair(
    targets: dict[str, Path],
    predictions: dict[str, tuple[Prediction, ...]],
    *,
    allow_missing: bool,
) -> Pairing:
    """Put predictions beside their targets, by name.

    Raises:
        InputError: a target has none or a prediction no target, and that is not allowed; or no
            name is in both.
    """
    missing = tuple(name for name in targets if name not in predictions)
    extra = tuple(name for name in predictions if name not in targets)
    both = len(targets) - len(missing)
    if not both or ((missing or extra) and not allow_missing):
        problems = [f"{both} of {len(targets)} targets have a prediction"]
        for names, what in ((missing, "without a prediction"), (extra, "without a target")):
            if names:
                problems.append(f"{len(names)} {what} ({shown(names)})")
        hint = "; --allow-missing counts targets without one as invalid and leaves out the rest"
        raise InputError("names do not match: " + ", ".join(problems) + (hint if both else ""))
    parts = (Part(name, path, predictions.get(name, ())) for name, path in sorted(targets.items()))
    return Pairing(tuple(parts), missing, extra)


def shown(names: Iterable[str]) -> str:
    """The first few of some names, and that there are more."""
    known = list(names)
    return ", ".join(known[:LISTED]) + (", ..." if len(known) > LISTED else "")


def _from_folder(folder: Path) -> dict[str, list[Prediction]]:
    found: dict[str, list[Prediction]] = defaultdict(list)
    seconds = _read_seconds(folder / SECONDS_FILE)
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            continue
        if path.is_dir() and (path / "part.py").is_file():
            found[path.name].append(Prediction(0, path / "part.py", frame="target"))
        elif suffix in PROGRAM_SUFFIXES + MESH_SUFFIXES and path.is_file():
            numbered = _NUMBERED.fullmatch(path.stem)
            name, k = (numbered["name"], int(numbered["k"])) if numbered else (path.stem, 0)
            frame: PredictionFrame = "program" if suffix in PROGRAM_SUFFIXES else "target"
            found[name].append(Prediction(k, path, frame=frame, seconds=seconds.get((name, k))))
    return found


def _from_jsonl(path: Path) -> dict[str, list[Prediction]]:
    """CADBench's lines; a ``file_id`` that comes again is the next k of that part."""
    found: dict[str, list[Prediction]] = defaultdict(list)
    for number, row in enumerate(_read_lines(path), 1):
        name, text = row.get("file_id"), row.get("generated")
        if not isinstance(name, (str, int)) or not (text is None or isinstance(text, str)):
            raise InputError(f"{path}: line {number} has no file_id and generated text")
        stem = re.sub(r"\.(stl|step|stp)$", "", str(name), flags=re.IGNORECASE)
        found[stem].append(Prediction(len(found[stem]), text=without_fence(text or "")))
    return found


def without_fence(text: str) -> str:
    """The program in a Markdown answer: what stands between the first fences, if there are any."""
    fenced = _FENCE.search(text)
    return fenced[1] if fenced else text


def _read_seconds(path: Path) -> dict[tuple[str, int], float]:
    if not path.is_file():
        return {}
    return {(str(row["name"]), int(row["k"])): float(row["seconds"]) for row in _read_lines(path)}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: line {number} is not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is not a JSON object")
        rows.append(row)
    return rows
