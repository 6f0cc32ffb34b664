"""Rows of parts -> the figures of a report, by the published protocol and by ours.

In: rows as ``pool`` gives them. Out: plain values, keys carrying protocol and unit. Chamfer
distances come times 1000, UNIT frame. Rows are sorted by name first, so that neither the order in
which parts got done nor the number of workers changes a figure. Not covered: how they are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cadwright.evaluation.bootstrap import NUM_DRAWS, Statistic, estimate
from cadwright.evaluation.complexity import BODY_CLASSES, FACE_CLASSES, class_names, class_of
from cadwright.evaluation.protocol import Protocol
from cadwright.types import FloatArray, Outcome

Row = dict[str, Any]
Figures = dict[str, Any]

MISSING = "missing"  # a target without a prediction
WORST_SKIPPED = (0, 1, 2, 3, 4)  # the published script prints the mean less the worst few
NAN = float("nan")


def usable(rows: Sequence[Row]) -> list[Row]:
    """Rows whose target could be read, by name."""
    return sorted((r for r in rows if "error" not in r["target"]), key=lambda r: str(r["name"]))


def best(row: Row, protocol: Protocol, k: int | None = None) -> Row | None:
    """The prediction that a part counts by our rule: the largest IoU of the first k.

    Where the target has no volume, the least chamfer distance. None if none is valid.
    """
    valid = [p for p in row["predictions"][:k] if p["outcome"] == "ok" and protocol in p]
    if not valid:
        return None
    if row["target"]["no_iou"]:
        return min(valid, key=lambda p: (p[protocol]["chamfer"], p["k"]))
    return min(valid, key=lambda p: (-p[protocol]["iou"], p[protocol]["chamfer"], p["k"]))


def part_values(row: Row, k: int | None = None) -> dict[str, float]:
    """What one part counts, nan where it has no value.

    Args:
        row: of a usable target.
        k: only the first so many predictions; None for all.
    """
    no_iou = bool(row["target"]["no_iou"])
    values = {"valid": float(any(p["outcome"] == "ok" for p in row["predictions"][:k]))}
    published = [p["published"] for p in row["predictions"][:k] if "published" in p]
    ious = [score["iou"] for score in published if score["iou"] is not None]
    values["published_iou"] = max(ious, default=NAN)
    values["published_chamfer"] = min((s["chamfer"] * 1000 for s in published), default=NAN)
    values["published_valid"] = float(bool(published))
    chosen = best(row, "direct", k)
    score = None if chosen is None else chosen["direct"]
    values["direct_iou"] = NAN if no_iou else score["iou"] if score else 0.0
    values["direct_chamfer"] = score["chamfer"] * 1000 if score else NAN
    surface = score["surface_iou"] if score else 0.0
    values["direct_surface_iou"] = NAN if surface is None else surface
    # the same by the placement that forgives scale and offset, as CADBench counts it
    boxed = best(row, "published", k)
    values["box_iou"] = NAN if no_iou else boxed["published"]["iou"] if boxed else 0.0
    surface = boxed["published"]["surface_iou"] if boxed else 0.0
    values["box_surface_iou"] = NAN if surface is None else surface
    return values


def table_of(rows: Sequence[Row], k: int | None = None) -> dict[str, FloatArray]:
    """(N,) values of every figure, a row each, in the rows' order."""
    lines = [part_values(row, k) for row in rows]
    keys = lines[0] if lines else part_values({"target": {"no_iou": ""}, "predictions": []})
    return {key: np.array([line[key] for line in lines], dtype=np.float64) for key in keys}


def summarise(
    rows: Sequence[Row],
    *,
    protocols: Sequence[Protocol],
    seed: int,
    num_draws: int = NUM_DRAWS,
) -> Figures:
    """All figures of a report.

    Args:
        rows: of all parts, in any order.
        protocols: those by which they were scored.
        seed: of the bootstrap.
        num_draws: of the bootstrap; 0 leaves out the intervals.
    """
    known, table = usable(rows), table_of(usable(rows))

    def figure(key: str, statistic: Statistic = "mean") -> Figures:
        return asdict(estimate(table[key], statistic, seed=seed, num_draws=num_draws))

    figures: Figures = {"parts": _parts(rows, known), "outcomes": _outcomes(known)}
    if "published" in protocols:
        figures["published"] = _published(table, figure)
    if "direct" in protocols:
        figures["direct"] = _ours(table, figure, "direct")
    if "published" in protocols:
        figures["box"] = _ours(table, figure, "box")
    figures["best_of_k"] = _k_curve(known)
    figures["by_faces"] = _by_class(known, "num_faces", FACE_CLASSES)
    figures["by_bodies"] = _by_class(known, "num_bodies", BODY_CLASSES)
    figures["programs"] = _programs(known, protocols)
    figures["seconds_a_part"] = _seconds(known)
    return figures


def _parts(rows: Sequence[Row], known: Sequence[Row]) -> Figures:
    unusable = sorted(str(row["name"]) for row in rows if "error" in row["target"])
    without = [str(row["name"]) for row in known if row["target"]["no_iou"]]
    return {
        "num": len(rows),
        "num_usable": len(known),
        "num_predictions": sum(len(row["predictions"]) for row in known),
        "most_predictions": max((len(row["predictions"]) for row in known), default=0),
        "without_prediction": [str(row["name"]) for row in known if not row["predictions"]],
        "unusable_targets": unusable,
        "targets_without_volume": without,
    }


def _outcomes(rows: Sequence[Row]) -> Figures:
    """How many predictions, and how many parts, came to which outcome."""
    predictions = Counter(p["outcome"] for row in rows for p in row["predictions"])
    order = [outcome.value for outcome in Outcome]
    parts: Counter[str] = Counter()
    for row in rows:
        own = {p["outcome"] for p in row["predictions"]}
        parts[min(own, key=order.index) if own else MISSING] += 1
    ordered = [*order, MISSING]
    return {
        "predictions": {name: predictions[name] for name in ordered if predictions[name]},
        "parts": {name: parts[name] for name in ordered if parts[name]},
    }


def _published(table: dict[str, FloatArray], figure: Callable[..., Figures]) -> Figures:
    """Means of valid parts, as the published script prints them."""
    distances = np.sort(table["published_chamfer"][np.isfinite(table["published_chamfer"])])
    skipped = {
        str(worst): float(distances[: len(distances) - worst].mean())
        for worst in WORST_SKIPPED
        if len(distances) > worst
    }
    valid = figure("published_valid")
    return {
        "iou_mean_unit": figure("published_iou"),
        "chamfer_mean_x1000_unit": figure("published_chamfer"),
        "chamfer_median_x1000_unit": figure("published_chamfer", "median"),
        "chamfer_mean_x1000_unit_less_worst": skipped,
        "invalid_ratio": _complement(valid),
    }


def _ours(table: dict[str, FloatArray], figure: Callable[..., Figures], name: str) -> Figures:
    chamfer = "direct_chamfer" if name == "direct" else "published_chamfer"
    return {
        "iou_mean_unit": figure(f"{name}_iou"),
        "iou_median_unit": figure(f"{name}_iou", "median"),
        "surface_iou_mean": figure(f"{name}_surface_iou"),
        "chamfer_mean_x1000_unit": figure(chamfer),
        "chamfer_median_x1000_unit": figure(chamfer, "median"),
        "invalid_ratio": _complement(figure("valid")),
    }


def _complement(share: Figures) -> Figures:
    def flip(value: float | None) -> float | None:
        return None if value is None else 1.0 - value

    low, high = flip(share["high"]), flip(share["low"])
    return {"value": flip(share["value"]), "low": low, "high": high, "num": share["num"]}


def _k_curve(rows: Sequence[Row]) -> list[Figures]:
    """Figures when only the first k predictions of each part are known, for each k."""
    most = max((len(row["predictions"]) for row in rows), default=0)
    return [{"k": k, **_means(table_of(rows, k))} for k in range(1, most + 1)]


def _by_class(rows: Sequence[Row], count: str, bounds: Sequence[int]) -> list[Figures]:
    classes: dict[str, list[Row]] = {name: [] for name in class_names(bounds)}
    for row in rows:
        if count in row["target"]:  # a point cloud has neither faces nor bodies
            classes[class_of(row["target"][count], bounds)].append(row)
    return [
        {"class": name, "num_parts": len(own), **_means(table_of(own))}
        for name, own in classes.items()
        if own
    ]


def _means(table: dict[str, FloatArray]) -> Figures:
    def value(key: str, statistic: Statistic = "mean") -> float | None:
        return estimate(table[key], statistic, seed=0, num_draws=0).value

    valid, published = value("valid"), value("published_valid")
    return {
        "direct_iou_mean": value("direct_iou"),
        "direct_surface_iou_mean": value("direct_surface_iou"),
        "direct_chamfer_median_x1000": value("direct_chamfer", "median"),
        "box_iou_mean": value("box_iou"),
        "published_iou_mean": value("published_iou"),
        "published_chamfer_mean_x1000": value("published_chamfer"),
        "published_chamfer_median_x1000": value("published_chamfer", "median"),
        "published_invalid_ratio": None if published is None else 1 - published,
        "invalid_ratio": None if valid is None else 1 - valid,
    }


def _programs(rows: Sequence[Row], protocols: Sequence[Protocol]) -> Figures:
    """Lengths of the programs that count, medians."""
    chosen = [best(row, protocols[-1]) for row in rows]
    found: Figures = {}
    for key in ("chars", "num_bodies", "num_numbers"):
        values = [one[key] for one in chosen if one is not None and key in one]
        found[f"{key}_median"] = float(np.median(values)) if values else None
        found[f"{key}_mean"] = float(np.mean(values)) if values else None
    return found


def _seconds(rows: Sequence[Row]) -> Figures:
    """Mean seconds of a part: to evaluate it, and to make its predictions where that is known."""
    spent = [sum(p["seconds"] for p in row["predictions"]) for row in rows]
    made = [
        sum(p["made_in_s"] for p in row["predictions"])
        for row in rows
        if row["predictions"] and all("made_in_s" in p for p in row["predictions"])
    ]
    return {
        "evaluation": float(np.mean(spent)) if spent else None,
        "prediction": float(np.mean(made)) if made else None,
    }
