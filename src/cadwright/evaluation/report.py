"""The figures of a report as text for people, and the pictures beside it.

In: what ``summary`` gives and the rows. Out: report.md and PNG files in the report's folder. Every
table names the protocol by which its numbers were taken; nothing is computed here.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import cadwright
from cadwright.evaluation.plots import complexity_plot, distribution_plot, k_curve_plot, worst_sheet
from cadwright.evaluation.predictions import Part, shown
from cadwright.evaluation.protocol import DEFINITIONS
from cadwright.evaluation.summary import Row, best, usable
from cadwright.geometry.atomic import atomic_write

PACKAGES = ("cadquery", "cadquery-ocp", "manifold3d", "numba", "numpy", "scipy", "trimesh")
Figures = dict[str, Any]

_MEANS = (
    ("direct_iou_mean", "IoU direct"),
    ("direct_surface_iou_mean", "surface IoU direct"),
    ("direct_chamfer_median_x1000", "median CD direct"),
    ("box_iou_mean", "IoU own box"),
    ("published_iou_mean", "IoU published"),
    ("published_chamfer_mean_x1000", "mean CD published"),
    ("published_chamfer_median_x1000", "median CD published"),
    ("invalid_ratio", "invalid"),
)


def write_report(
    folder: Path,
    report: Figures,
    rows: Sequence[Row],
    parts: Sequence[Part],
    pool: Any,
    *,
    num_worst: int,
) -> None:
    """Write report.md and the pictures it shows.

    Args:
        folder: of the report.
        report: what report.json holds.
        rows: of all parts.
        parts: the same with their files.
        pool: that draws the worst parts; None draws nothing at all.
        num_worst: parts to be drawn.
    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    worst = worst_parts(rows, parts, num_worst)
    pictures: list[str] = []
    if pool is not None:
        pictures += distribution_plot(rows, folder / "distributions.png")
        pictures += k_curve_plot(report["best_of_k"], folder / "k_curve.png")
        pictures += complexity_plot(report, folder / "complexity.png")
        pictures += _draw_worst(folder, worst, pool)
    with atomic_write(folder / "report.md") as temporary:
        temporary.write_text(report_to_markdown(report, worst, pictures), encoding="utf-8")


def worst_parts(
    rows: Sequence[Row], parts: Sequence[Part], num: int
) -> list[tuple[Part, float | None]]:
    """Parts with a valid prediction by ascending fit, each with the one that counts, and its IoU.

    Parts whose target has no volume come last, by descending chamfer distance.
    """
    by_name = {part.name: part for part in parts}
    found = []
    for row in usable(rows):
        protocol = "direct" if any("direct" in p for p in row["predictions"]) else "published"
        chosen = best(row, protocol)  # type: ignore[arg-type]
        if chosen is None:
            continue
        score, part = chosen[protocol], by_name[row["name"]]
        counted = tuple(p for p in part.predictions if p.k == chosen["k"])
        iou = score["iou"]
        key = (0, iou) if iou is not None else (1, -score["chamfer"])
        found.append((key, row["name"], replace(part, predictions=counted), iou))
    found.sort(key=lambda one: one[:2])
    return [(part, iou) for _, _, part, iou in found[:num]]


def _draw_worst(folder: Path, worst: Sequence[tuple[Part, float | None]], pool: Any) -> list[str]:
    """Pictures worst/01.png, worst/02.png, ... and all of them on one sheet."""
    if not worst:
        return []
    (folder / "worst").mkdir(exist_ok=True)
    paths = {
        part.name: folder / "worst" / f"{number:02}.png"
        for number, (part, _) in enumerate(worst, 1)
    }
    for _ in pool.pictures([(part, paths[part.name]) for part, _ in worst]):
        pass  # what could not be drawn has no file, and the sheet says so
    labelled = []
    for number, (part, iou) in enumerate(worst, 1):
        fit = "no volume" if iou is None else f"IoU {iou:.3f}"
        labelled.append((paths[part.name], f"{number}. {part.name}: {fit}"))
    return worst_sheet(labelled, folder / "worst.png")


def report_to_markdown(
    report: Figures, worst: Sequence[tuple[Part, float | None]], pictures: Sequence[str]
) -> str:
    """The whole of report.md."""
    settings, parts = report["settings"], report["parts"]
    lines = ["# Evaluation", "", *_sources(settings, report), ""]
    if "direct" in report:
        lines += ["## Direct protocol", "", DEFINITIONS["direct"], "", *_headline(report["direct"])]
    if "published" in report:
        lines += ["", "## Published protocol", "", DEFINITIONS["published"], ""]
        lines += _published(report["published"])
        lines += ["", "The same placement, an invalid part counted as IoU 0:", ""]
        lines += _headline(report["box"])
    lines += ["", f"Surface IoU: {DEFINITIONS['surface_iou']}"]
    lines += ["", "## Outcomes", "", *_outcomes(report["outcomes"])]
    lines += ["", "## Best of k", "", "The first k predictions of each part.", ""]
    lines += _means_table(report["best_of_k"], "k")
    for key, title in (("by_faces", "faces of the target"), ("by_bodies", "bodies")):
        lines += ["", f"## By {title}", "", *_means_table(report[key], "class")]
    lines += ["", "## Programs and time", "", *_programs(report)]
    lines += _remarks(parts, report["left_out"])
    if worst:
        lines += ["", f"## The worst {len(worst)} valid parts", "", *_worst_table(worst)]
    for name in pictures:
        lines += ["", f"![{Path(name).stem.replace('_', ' ')}]({name})"]
    found = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return "\n".join([*lines, "", f"Made with {found}.", ""])


def versions() -> dict[str, str]:
    """Of this package, Python and what the figures depend on."""
    found = {"cadwright": cadwright.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # an extra that this run did without
    return found


def _sources(settings: Figures, report: Figures) -> list[str]:
    parts = report["parts"]
    return [
        f"- targets: `{settings['targets']}`, {parts['num']} parts",
        f"- predictions: `{settings['predictions']}`, {parts['num_predictions']}, "
        f"at most {parts['most_predictions']} a part",
        f"- kernel: {settings['kernel']}; seed {settings['seed']}; limits of a prediction "
        f"{settings['timeout_s']:g} s and {settings['memory_mb']} MB",
        "- chamfer distances (CD): UNIT frame, times 1000; in brackets 95 % intervals by "
        f"bootstrap over parts, {settings['num_draws']} draws",
    ]


def _headline(figures: Figures) -> list[str]:
    rows = (
        ("iou_mean_unit", "mean IoU", 4),
        ("iou_median_unit", "median IoU", 4),
        ("surface_iou_mean", "mean surface IoU", 4),
        ("chamfer_mean_x1000_unit", "mean CD x1000 of valid parts", 3),
        ("chamfer_median_x1000_unit", "median CD x1000 of valid parts", 3),
        ("invalid_ratio", "invalid parts", 4),
    )
    lines = ["| figure | value | parts |", "|---|---|---|"]
    return lines + [
        f"| {title} | {_interval(figures[key], digits)} | {figures[key]['num']} |"
        for key, title, digits in rows
    ]


def _published(figures: Figures) -> list[str]:
    less = figures["chamfer_mean_x1000_unit_less_worst"]
    lines = ["| figure | value | parts |", "|---|---|---|"]
    for key, title, digits in (
        ("iou_mean_unit", "mean IoU", 4),
        ("chamfer_mean_x1000_unit", "mean CD x1000", 3),
        ("chamfer_median_x1000_unit", "median CD x1000", 3),
        ("invalid_ratio", "IR", 4),
    ):
        lines.append(f"| {title} | {_interval(figures[key], digits)} | {figures[key]['num']} |")
    series = ", ".join(f"{value:.3f}" for value in less.values())
    return [*lines, f"| mean CD x1000 less the worst {', '.join(less)} | {series} | |"]


def _outcomes(outcomes: Figures) -> list[str]:
    names = list(dict.fromkeys([*outcomes["predictions"], *outcomes["parts"]]))
    lines = ["| outcome | predictions | parts (their best) |", "|---|---|---|"]
    for name in names:
        counts = [outcomes[key].get(name, 0) for key in ("predictions", "parts")]
        lines.append(f"| {name} | {counts[0]} | {counts[1]} |")
    return [*lines, "", "All but 'ok' are invalid; 'unsupported' is Python beyond the dialect."]


def _means_table(rows: Sequence[Figures], first: str) -> list[str]:
    if not rows:
        return ["Nothing to show."]
    shown_keys = [(key, title) for key, title in _MEANS if any(r[key] is not None for r in rows)]
    counted = "num_parts" in rows[0]
    head = [first, *(["parts"] if counted else []), *(title for _, title in shown_keys)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [str(row[first]), *([str(row["num_parts"])] if counted else [])]
        cells += [_number(row[key], 3) for key, _ in shown_keys]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _programs(report: Figures) -> list[str]:
    programs, seconds = report["programs"], report["seconds_a_part"]
    return [
        "| of the programs that count | median | mean |",
        "|---|---|---|",
        *(
            f"| {title} | {_number(programs[f'{key}_median'], 1)} | "
            f"{_number(programs[f'{key}_mean'], 1)} |"
            for key, title in (
                ("chars", "characters"),
                ("num_bodies", "bodies"),
                ("num_numbers", "numbers"),
            )
        ),
        "",
        f"Seconds a part: {_number(seconds['prediction'], 3)} to predict, "
        f"{_number(seconds['evaluation'], 4)} to evaluate.",
    ]


def _remarks(parts: Figures, left_out: Sequence[str]) -> list[str]:
    remarks = (
        (parts["without_prediction"], "targets have no prediction and count as invalid"),
        (left_out, "predictions have no target and are left out"),
        (parts["targets_without_volume"], "targets enclose no volume, so their IoU is empty"),
        (parts["unusable_targets"], "targets cannot be used and are left out of every figure"),
    )
    lines = [f"- {len(names)} {what}: {shown(names)}" for names, what in remarks if names]
    return ["", "## Remarks", "", *lines] if lines else []


def _worst_table(worst: Sequence[tuple[Part, float | None]]) -> list[str]:
    lines = ["| | part | k | IoU |", "|---|---|---|---|"]
    for number, (part, iou) in enumerate(worst, 1):
        lines.append(f"| {number} | {part.name} | {part.predictions[0].k} | {_number(iou, 3)} |")
    return lines


def _interval(figure: Figures, digits: int) -> str:
    if figure["low"] is None:
        return _number(figure["value"], digits)
    ends = (_number(figure[end], digits) for end in ("low", "high"))
    return f"{_number(figure['value'], digits)} [{', '.join(ends)}]"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
