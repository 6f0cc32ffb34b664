"""``evaluate``: targets and predictions in, a report folder out. The one entry of this folder.

In: ``Settings``. Out: parts.jsonl, which grows as parts get done, then parts.parquet, report.json,
report.md and pictures. A run that ended early goes on with ``resume``. The numbers depend on the
settings alone, not on the number of workers or machines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cadwright.errors import InputError
from cadwright.evaluation.bootstrap import NUM_DRAWS
from cadwright.evaluation.pool import LocalPool
from cadwright.evaluation.predictions import (
    Pairing,
    Part,
    find_predictions,
    find_targets,
    pair,
)
from cadwright.evaluation.protocol import PROTOCOLS, PredictionFrame, Protocol
from cadwright.evaluation.report import versions, write_report
from cadwright.evaluation.rows import append_row, rows_to_go_on, write_parquet, write_sorted
from cadwright.evaluation.scoring import Kernel, ScoringOptions
from cadwright.evaluation.summary import Row, summarise
from cadwright.geometry.atomic import atomic_write

SETTINGS, ROWS, PARQUET = "settings.json", "parts.jsonl", "parts.parquet"
REPORT_JSON, REPORT_MD = "report.json", "report.md"
PLOTS = ("distributions.png", "k_curve.png", "complexity.png", "worst.png")
WORST = "worst"  # folder of pictures
OWN_FILES = (SETTINGS, ROWS, PARQUET, REPORT_JSON, REPORT_MD, *PLOTS)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a report depends on.

    Attributes:
        targets: folder of shapes.
        predictions: folder or JSONL file.
        protocols: to score by.
        kernel: that builds programs.
        frame: of the predictions' coordinates; None for what their kind says.
        surface_iou: whether to measure it.
        seed: of the points and of the bootstrap.
        timeout_s, memory_mb: limits of one prediction.
        num_draws: of the bootstrap.
        most: only the first so many predictions of a part; None for all.
        allow_missing: whether names may differ.
    """

    targets: Path
    predictions: Path
    protocols: tuple[Protocol, ...] = PROTOCOLS
    kernel: Kernel = "fast"
    frame: PredictionFrame | None = None
    surface_iou: bool = True
    seed: int = 0
    timeout_s: float = 10.0
    memory_mb: int = 2048
    num_draws: int = NUM_DRAWS
    most: int | None = None
    allow_missing: bool = False

    @property
    def scoring(self) -> ScoringOptions:
        """The part of it that a worker needs."""
        return ScoringOptions(
            protocols=self.protocols,
            kernel=self.kernel,
            surface_iou=self.surface_iou,
            seed=self.seed,
            timeout_s=self.timeout_s,
            memory_mb=self.memory_mb,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, paths as they were given."""
        paths = {"targets": str(self.targets), "predictions": str(self.predictions)}
        return asdict(self) | paths | {"protocols": list(self.protocols)}


def evaluate(
    settings: Settings,
    out: str | os.PathLike[str],
    *,
    num_workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    num_worst: int = 20,
    plots: bool = True,
    ray_address: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score every prediction of every part and write the report.

    Args:
        settings: what to score and how.
        out: the report's folder.
        num_workers: processes; with Ray 0 stands for as many as the cluster has CPUs.
        resume: go on with the report that is in the folder.
        overwrite: begin anew; files of an earlier report are removed.
        num_worst: parts that are drawn, target against result.
        plots: whether to draw anything.
        ray_address: of a Ray cluster, or "local"; None for processes of this machine.
        progress: called with parts done and parts in all.
    Returns:
        What report.json holds.
    Raises:
        InputError: names do not match, the folder exists, or is that of other settings.
        MissingDependencyError: a package of the extra 'report' is missing.
    """
    folder = Path(out)
    pairing = pair(
        find_targets(settings.targets),
        find_predictions(settings.predictions, frame=settings.frame),
        allow_missing=settings.allow_missing,
    )
    parts = [_shortened(part, settings.most) for part in pairing.parts]
    open_folder(folder, settings.to_json(), resume=resume, overwrite=overwrite)
    known = rows_to_go_on(folder / ROWS)
    names = {row["name"] for row in known}
    left = [part for part in parts if part.name not in names]
    with _pool(settings, num_workers, ray_address) as pool:
        known += _score(folder / ROWS, pool.rows(left), len(known), len(parts), progress)
        write_sorted(folder / ROWS, known)
        write_parquet(folder / PARQUET, sorted(known, key=lambda row: str(row["name"])))
        report = _report(settings, pairing, known)
        with atomic_write(folder / REPORT_JSON) as temporary:
            temporary.write_text(_to_json(report), encoding="utf-8")
        write_report(folder, report, known, parts, pool if plots else None, num_worst=num_worst)
    return report


def open_folder(folder: Path, settings: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the report's folder, or take one that is there.

    Raises:
        InputError: it is there and neither ``resume`` nor ``overwrite`` was asked for, it holds
            the report of other settings, or something that is no report.
    """
    if resume and overwrite:
        raise InputError("either --resume or --overwrite, not both")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: the report's folder is a file")
    used = folder.is_dir() and any(folder.iterdir())
    if used and not (folder / SETTINGS).is_file():
        raise InputError(f"{folder}: the folder exists and holds no report of cadwright's")
    if used and not (resume or overwrite):
        raise InputError(f"{folder}: the report exists; --resume goes on, --overwrite begins anew")
    if used and resume:
        _check_same(folder, settings)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    for picture in (folder / WORST).glob("*.png"):
        picture.unlink()
    with atomic_write(folder / SETTINGS) as temporary:
        temporary.write_text(_to_json(settings), encoding="utf-8")


def _check_same(folder: Path, settings: dict[str, Any]) -> None:
    stored = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    plain = json.loads(_to_json(settings))
    changed = sorted(key for key in plain if stored.get(key) != plain[key])
    if changed:
        key = changed[0]
        raise InputError(
            f"{folder}: cannot go on with other settings: {key} was {stored.get(key)!r} "
            f"and is {plain[key]!r}"
        )


def _pool(settings: Settings, num_workers: int, ray_address: str | None) -> Any:
    if ray_address is None:
        return LocalPool(settings.scoring, num_workers=num_workers)
    from cadwright.evaluation.ray_pool import RayPool

    return RayPool(settings.scoring, address=ray_address, num_workers=num_workers)


def _score(
    path: Path, rows: Iterable[Row], done: int, total: int, progress: Progress | None
) -> Iterator[Row]:
    """Write rows as they come."""
    with path.open("a", encoding="utf-8") as file:
        if progress is not None:
            progress(done, total)
        for row in rows:
            append_row(file, row)
            done += 1
            if progress is not None:
                progress(done, total)
            yield row


def _shortened(part: Part, most: int | None) -> Part:
    return Part(part.name, part.target, part.predictions[:most])


def _report(settings: Settings, pairing: Pairing, rows: Sequence[Row]) -> dict[str, Any]:
    figures = summarise(
        rows, protocols=settings.protocols, seed=settings.seed, num_draws=settings.num_draws
    )
    return {
        "settings": settings.to_json(),
        "left_out": list(pairing.extra),
        **figures,
        "versions": versions(),
    }


def _to_json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
