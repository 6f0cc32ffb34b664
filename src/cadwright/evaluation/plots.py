"""Plots of a report and of a comparison: rows and figures in, PNG files out.

matplotlib is drawn on its own canvas, never through a window system. Every function gives back
the names of the files it wrote, none where there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cadwright.evaluation.summary import Row, table_of, usable
from cadwright.geometry.atomic import atomic_write
from cadwright.optional import require

Figures = dict[str, Any]
COLOURS = ("#2f6db3", "#d9772b", "#3d9a6a", "#8a5bb0", "#b8433f", "#77787b")
DPI = 110
COLUMNS = 2  # of the sheet of the worst parts


def distribution_plot(rows: Sequence[Row], path: Path) -> list[str]:
    """How IoU and chamfer distance spread over the parts."""
    table = table_of(usable(rows))
    panels = [
        (table["direct_iou"], "IoU, direct (invalid: 0)", False),
        (table["box_iou"], "IoU, own box (invalid: 0)", False),
        (table["direct_chamfer"], "CD x1000, direct", True),
        (table["published_chamfer"], "CD x1000, published", True),
    ]
    panels = [panel for panel in panels if np.isfinite(panel[0]).any()]
    if not panels:
        return []
    figure, axes = _figure(len(panels), width=3.4 * len(panels), height=2.9)
    for axis, (values, title, is_log) in zip(axes, panels, strict=True):
        known = values[np.isfinite(values)]
        bins: Any = np.linspace(0, 1, 41)
        if is_log:
            low = max(float(known.min()), 1e-3)
            bins = np.geomspace(low, max(float(known.max()), low * 1.1) * 1.01, 41)
            axis.set_xscale("log")
            axis.tick_params(axis="x", which="minor", labelbottom=False)
        axis.hist(known, bins=bins, color=COLOURS[0])
        axis.axvline(float(np.median(known)), color=COLOURS[1], linewidth=1.2, label="median")
        axis.set(title=title, ylabel="parts")
        axis.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def k_curve_plot(curve: Sequence[Figures], path: Path) -> list[str]:
    """Best of k against k."""
    if len(curve) < 2:
        return []
    figure, axes = _figure(2, width=7.5, height=3.0)
    ks = [row["k"] for row in curve]
    lines = (
        (0, "direct_iou_mean", "IoU direct"),
        (0, "box_iou_mean", "IoU own box"),
        (0, "direct_surface_iou_mean", "surface IoU direct"),
        (1, "invalid_ratio", "invalid parts"),
        (1, "published_invalid_ratio", "IR published"),
    )
    for colour, (place, key, label) in enumerate(lines):
        values = [np.nan if row[key] is None else row[key] for row in curve]
        if np.isfinite(values).any():
            axes[place].plot(
                ks, values, marker="o", markersize=3, label=label, color=COLOURS[colour]
            )
    for axis, title in zip(axes, ("best of the first k", "invalid of the first k"), strict=True):
        axis.set(title=title, xlabel="k", ylim=(0, 1.02))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def complexity_plot(report: Figures, path: Path) -> list[str]:
    """Mean IoU by class of faces and of bodies."""
    groups = [("by_faces", "faces of the target"), ("by_bodies", "bodies of the target")]
    groups = [(key, title) for key, title in groups if report[key]]
    if not groups:
        return []
    figure, axes = _figure(len(groups), width=3.8 * len(groups), height=2.9)
    for axis, (key, title) in zip(axes, groups, strict=True):
        names = [f"{row['class']}\n({row['num_parts']})" for row in report[key]]
        for shift, (figure_key, label) in enumerate(
            (("direct_iou_mean", "direct"), ("box_iou_mean", "own box"))
        ):
            values = [np.nan if row[figure_key] is None else row[figure_key] for row in report[key]]
            if np.isfinite(values).any():
                places = np.arange(len(names)) + 0.4 * shift
                axis.bar(places, values, width=0.38, label=label, color=COLOURS[shift])
        axis.set_xticks(np.arange(len(names)) + 0.2, names, fontsize=8)
        axis.set(title=f"mean IoU by {title}", ylim=(0, 1))
        axis.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def worst_sheet(pictures: Sequence[tuple[Path, str]], path: Path) -> list[str]:
    """Pictures of parts under each other, each with its line of text."""
    images = require("PIL.Image", extra="report")
    known = [(picture, text) for picture, text in pictures if picture.is_file()]
    if not known:
        return []
    num_rows = -(-len(known) // COLUMNS)
    figure, axes = _figure(COLUMNS * num_rows, width=11.0, height=2.3 * num_rows, columns=COLUMNS)
    for axis in axes:
        axis.axis("off")
    for axis, (picture, text) in zip(axes, known, strict=False):
        with images.open(picture) as image:
            axis.imshow(np.asarray(image.convert("RGB")))
        axis.set_title(text, fontsize=8)
    return _save(figure, path)


def radar_plot(models: Mapping[str, Mapping[str, float | None]], path: Path) -> list[str]:
    """Models over the same axes, each from 0 (middle) to 1."""
    names = list(next(iter(models.values())))
    names = [n for n in names if all(values[n] is not None for values in models.values())]
    if len(names) < 3:
        return []
    angles = np.linspace(0, 2 * np.pi, len(names), endpoint=False)
    closed = np.append(angles, angles[0])
    figure = _new_figure(6.2, 5.2)
    axis = figure.add_subplot(projection="polar")
    for number, (model, values) in enumerate(models.items()):
        line = [float(values[name] or 0.0) for name in names]
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(closed, [*line, line[0]], color=colour, label=model)
        axis.fill(closed, [*line, line[0]], color=colour, alpha=0.08)
    axis.set_xticks(angles, names, fontsize=8)
    axis.set_ylim(0, 1)
    axis.tick_params(axis="x", pad=14)
    axis.tick_params(axis="y", labelsize=7)
    axis.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1.32, 1.12))
    return _save(figure, path)


def difference_plot(
    differences: Mapping[str, np.ndarray[Any, Any]], path: Path, *, title: str
) -> list[str]:
    """Sorted per-part differences of each model from the first."""
    known = {name: np.sort(values[np.isfinite(values)]) for name, values in differences.items()}
    known = {name: values for name, values in known.items() if len(values)}
    if not known:
        return []
    figure, axes = _figure(1, width=5.6, height=3.2)
    for number, (name, values) in enumerate(known.items(), 1):
        share = np.linspace(0, 1, len(values))
        axes[0].plot(share, values, label=name, color=COLOURS[number % len(COLOURS)])
    axes[0].axhline(0, color="black", linewidth=0.8)
    axes[0].set(title=title, xlabel="share of parts", ylabel="difference")
    axes[0].legend(frameon=False, fontsize=8)
    return _save(figure, path)


def _figure(num: int, *, width: float, height: float, columns: int | None = None) -> Any:
    """A figure with ``num`` axes, by default side by side."""
    figure = _new_figure(width, height)
    columns = columns or num
    grid = figure.subplots(-(-num // columns), columns, squeeze=False)
    return figure, list(grid.ravel())


def _new_figure(width: float, height: float) -> Any:
    figures = require("matplotlib.figure", extra="report")
    return figures.Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _save(figure: Any, path: Path) -> list[str]:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return [path.name]
