"""Reports of several models -> how they differ on the same parts.

In: report folders. Out: figures of each model over the parts that all have, per-part differences
from the first model with bootstrap intervals, compare.json, compare.md, radar.png and
differences.png. Different sets of parts are an error unless the common ones were asked for.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cadwright.errors import InputError
from cadwright.evaluation.bootstrap import NUM_DRAWS, estimate
from cadwright.evaluation.plots import difference_plot, radar_plot
from cadwright.evaluation.predictions import shown
from cadwright.evaluation.rows import read_rows
from cadwright.evaluation.run import REPORT_JSON, ROWS, SETTINGS
from cadwright.evaluation.summary import Row, table_of, usable
from cadwright.geometry.atomic import atomic_write
from cadwright.types import FloatArray

Figures = dict[str, Any]

SAME_SHARE = 1e-3  # targets whose size or volume differ by more are not the same
# settings without which two numbers cannot be held against each other
MUST_AGREE = ("protocols", "kernel", "seed", "surface_iou")
# key of a per-part figure: title, whether more is better
COMPARED = {
    "direct_iou": ("IoU direct", True),
    "direct_surface_iou": ("surface IoU direct", True),
    "direct_chamfer": ("CD x1000 direct", False),
    "box_iou": ("IoU own box", True),
    "box_surface_iou": ("surface IoU own box", True),
    "published_chamfer": ("CD x1000 published", False),
    "valid": ("valid", True),
}
GOOD_IOU, EXACT_IOU = 0.9, 0.99
GOOD_CHAMFER = 1.0  # x1000


@dataclass(frozen=True, slots=True)
class Model:
    """One report.

    Attributes:
        name: of the folder, or as given.
        settings: by which it was made.
        rows: of usable targets, by part name.
    """

    name: str
    settings: Figures
    rows: dict[str, Row]


def compare(
    reports: Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    common: bool = False,
    seed: int = 0,
    num_draws: int = NUM_DRAWS,
) -> Figures:
    """Hold reports against each other and write what differs.

    Args:
        reports: name to report folder; the first is what the others are compared with.
        out: folder for compare.json, compare.md and the plots.
        common: whether only the parts that all have are wanted, where they have not the same.
        seed: of the bootstrap.
        num_draws: of the bootstrap.
    Returns:
        What compare.json holds.
    Raises:
        InputError: fewer than two reports, one that is none, other settings, other parts, or a
            part that is not the same target everywhere.
        MissingDependencyError: matplotlib is not installed.
    """
    if len(reports) < 2:
        raise InputError("a comparison needs two reports or more")
    models = [_load(name, Path(folder)) for name, folder in reports.items()]
    _check_settings(models)
    names = _common_parts(models, common)
    _check_targets(models, names)
    tables = {m.name: table_of([m.rows[name] for name in names]) for m in models}
    figures = _figures(models, names, tables, seed, num_draws)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    plots = radar_plot(figures["radar"], folder / "radar.png")
    plots += _difference_plots(tables, folder)
    for name, text in (
        ("compare.json", json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False) + "\n"),
        ("compare.md", comparison_to_markdown(figures, plots)),
    ):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return figures


def _load(name: str, folder: Path) -> Model:
    if not (folder / REPORT_JSON).is_file():
        raise InputError(f"{folder}: there is no finished report in it (no {REPORT_JSON})")
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    return Model(name, settings, {row["name"]: row for row in usable(read_rows(folder / ROWS))})


def _check_settings(models: Sequence[Model]) -> None:
    first = models[0]
    for other in models[1:]:
        for key in MUST_AGREE:
            mine, theirs = first.settings[key], other.settings[key]
            if mine != theirs:
                raise InputError(
                    f"'{first.name}' was scored with {key} {mine!r} and '{other.name}' with "
                    f"{theirs!r}: their numbers cannot be compared"
                )


def _common_parts(models: Sequence[Model], common: bool) -> list[str]:
    """Names of the parts that every model has, sorted."""
    names = set(models[0].rows).intersection(*(model.rows for model in models[1:]))
    if not names:
        raise InputError("the reports have no part in common")
    if not common and any(len(model.rows) != len(names) for model in models):
        counts = ", ".join(f"'{model.name}' {len(model.rows)}" for model in models)
        alone = [name for model in models for name in model.rows if name not in names]
        raise InputError(
            f"the reports are not about the same parts ({counts}; {len(names)} in common; not in "
            f"all: {shown(alone)}): --common compares those in common"
        )
    return sorted(names)


def _check_targets(models: Sequence[Model], names: Sequence[str]) -> None:
    first = models[0]
    for other in models[1:]:
        for name in names:
            mine, theirs = first.rows[name]["target"], other.rows[name]["target"]
            for key in ("volume", "size"):
                a, b = mine[key], theirs[key]
                same = (a is None) == (b is None)
                if not same or (a is not None and not math.isclose(a, b, rel_tol=SAME_SHARE)):
                    raise InputError(
                        f"part '{name}' is not the same target in '{first.name}' and "
                        f"'{other.name}': its {key} is {a} and {b}"
                    )


def _figures(
    models: Sequence[Model],
    names: Sequence[str],
    tables: Mapping[str, Mapping[str, FloatArray]],
    seed: int,
    num_draws: int,
) -> Figures:
    first = models[0].name
    means = {
        name: {
            key: asdict(estimate(table[key], seed=seed, num_draws=num_draws)) for key in COMPARED
        }
        for name, table in tables.items()
    }
    differences = {
        name: {
            key: _difference(tables[first][key], table[key], key, seed, num_draws)
            for key in COMPARED
        }
        for name, table in tables.items()
        if name != first
    }
    return {
        "first": first,
        "num_parts": len(names),
        "parts_of_each": {model.name: len(model.rows) for model in models},
        "means": means,
        "differences": differences,
        "radar": {name: radar_values(table) for name, table in tables.items()},
    }


def _difference(a: FloatArray, b: FloatArray, key: str, seed: int, num_draws: int) -> Figures:
    """Of b from a, part by part; only parts for which both have a value."""
    both = b - a
    found = asdict(estimate(both, seed=seed, num_draws=num_draws))
    known = both[np.isfinite(both)] * (1 if COMPARED[key][1] else -1)
    ends = (found["low"], found["high"])
    return {
        **found,
        "better": int((known > 0).sum()),
        "worse": int((known < 0).sum()),
        "equal": int((known == 0).sum()),
        "clear": None not in ends and (ends[0] > 0 or ends[1] < 0),
    }


def radar_values(table: Mapping[str, FloatArray]) -> dict[str, float | None]:
    """Shares and means from 0 to 1, of which more is better."""

    def mean(values: FloatArray) -> float | None:
        known = values[np.isfinite(values)]
        return float(known.mean()) if len(known) else None

    def share(key: str, limit: float, at_least: bool) -> float | None:
        values = table[key]
        if not np.isfinite(values).any():
            return None
        good = values >= limit if at_least else values <= limit  # nan is neither
        return float(good.mean())

    return {
        "IoU direct": mean(table["direct_iou"]),
        "IoU own box": mean(table["box_iou"]),
        "surface IoU": mean(table["direct_surface_iou"]),
        "valid": mean(table["valid"]),
        f"IoU over {GOOD_IOU}": share("direct_iou", GOOD_IOU, True),
        f"IoU over {EXACT_IOU}": share("direct_iou", EXACT_IOU, True),
        f"CD x1000 under {GOOD_CHAMFER:g}": share("direct_chamfer", GOOD_CHAMFER, False),
    }


def _difference_plots(tables: Mapping[str, Mapping[str, FloatArray]], folder: Path) -> list[str]:
    (first, base), *others = tables.items()
    key = "direct_iou" if np.isfinite(base["direct_iou"]).any() else "box_iou"
    known = {name: table[key] - base[key] for name, table in others}
    title = f"{COMPARED[key][0]}: difference from {first}"
    return difference_plot(known, folder / "differences.png", title=title)


def comparison_to_markdown(figures: Figures, plots: Sequence[str]) -> str:
    """The whole of compare.md."""
    counts = ", ".join(f"{name} {num}" for name, num in figures["parts_of_each"].items())
    lines = ["# Comparison", "", f"{figures['num_parts']} parts in common (parts with a usable "]
    lines[-1] += f"target: {counts}). In brackets 95 % intervals by bootstrap over parts."
    models = list(figures["means"])
    lines += ["", f"| mean of | {' | '.join(models)} |", "|" + "---|" * (len(models) + 1)]
    for key, (title, _) in COMPARED.items():
        cells = [_interval(figures["means"][name][key]) for name in models]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    for name, differences in figures["differences"].items():
        lines += ["", f"## {name} less {figures['first']}, part by part", ""]
        lines += ["| figure | mean difference | better | worse | equal | clear |"]
        lines += ["|---|---|---|---|---|---|"]
        for key, (title, _) in COMPARED.items():
            found = differences[key]
            if found["num"]:
                lines.append(
                    f"| {title} | {_interval(found)} | {found['better']} | {found['worse']} | "
                    f"{found['equal']} | {'yes' if found['clear'] else 'no'} |"
                )
    lines += ["", "Clear: the interval does not hold 0. CD: parts valid in both."]
    for plot in plots:
        lines += ["", f"![{Path(plot).stem}]({plot})"]
    return "\n".join([*lines, ""])


def _interval(figure: Figures) -> str:
    if figure["value"] is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.4f}"
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"
