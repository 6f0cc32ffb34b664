"""The figures of one reconstruction, as report.json holds them.

In: the target and the exact result, USER frame, and the record of how it was found. Out: plain
values for JSON. Distances are measured on the exact solid that is handed out, by
``geometry.metrics``; what has no meaning for this input is null, with the reason beside it.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import numpy as np

import cadwright
from cadwright.errors import GeometryError
from cadwright.geometry.frames import longest_side, normalise, placement_to_unit
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.metrics import NUM_POINTS, Target, chamfer_distance, deviation
from cadwright.inference.candidates import shape_to_points
from cadwright.inference.search.search import SearchResult
from cadwright.types import FloatArray, Mesh, Outcome

UNIT_NOTE = (
    "lengths are in the input file's own unit, which mesh files do not name; "
    "part.step calls it millimetres"
)
NO_UNIT_NOTE = (
    "neither a picture nor words say how large a part is: lengths are those of the program, whose "
    "longest side is about 200; part.step calls them millimetres"
)
NOT_MEASURED = "no distance was measured: the input is {}, and there is no shape to measure against"
PROTOCOL = (
    f"direct: target and result moved together so that the target fills the unit cube, "
    f"{NUM_POINTS} points on each (of a point cloud: at most so many of its own), "
    f"mean squared distance to the nearest point, both ways added, not times 1000"
)
DEVIATION_NOTE = "from {} points of the target to the result's surface, in the user's unit"
DEVIATION_POINTS = 2048  # each is measured exactly, which takes up to 0.3 ms on a poor result
PACKAGES = ("cadquery", "cadquery-ocp", "manifold3d", "numpy", "torch", "transformers")


def measure(target: Shape, result: Mesh, *, no_iou: str, seed: int) -> dict[str, Any]:
    """Distances between target and result, both in the USER frame.

    Args:
        target: what was handed in.
        result: the exact solid's surface.
        no_iou: why IoU has no meaning here; empty for a solid.
        seed: of the points drawn.
    """
    iou, chamfer = None, None
    if target.mesh is not None and not no_iou:
        try:
            score = Target(target.mesh, seed=seed, num_points=NUM_POINTS).direct(result)
            iou, chamfer = score.iou, score.chamfer
        except GeometryError as error:
            no_iou = str(error)
    if chamfer is None:
        chamfer = _surface_chamfer(target, result, seed)
    size = longest_side(target.bounds)
    away = deviation(shape_to_points(target, DEVIATION_POINTS, seed=seed), result)
    return {
        "iou": iou,
        "iou_note": no_iou or None,
        "chamfer": chamfer,
        "chamfer_protocol": PROTOCOL,
        "deviation": {"mean": away.mean, "p95": away.p95, "max": away.max},
        "deviation_note": DEVIATION_NOTE.format(DEVIATION_POINTS),
        "size": size,
        "bounds_gap": float(np.abs(result.bounds - target.bounds).max()),
    }


def leave_unmeasured(kind: str, result: Mesh, *, notes: list[str]) -> dict[str, Any]:
    """What stands in the place of ``measure`` where no shape was handed in.

    Args:
        kind: "views" or "words".
        result: the exact solid's surface, PROGRAM frame.
        notes: what else is to be said of the choice.
    """
    why = NOT_MEASURED.format("a picture" if kind == "views" else "a description")
    return {
        "iou": None,
        "iou_note": "; ".join([why, *notes]),
        "chamfer": None,
        "chamfer_protocol": None,
        "deviation": None,
        "deviation_note": why,
        "size": longest_side(result.bounds),
        "bounds_gap": None,
    }


def describe_candidates(outcomes: dict[Outcome, int]) -> dict[str, Any]:
    """How many candidates were tried and what became of them."""
    by_outcome = {outcome.value: outcomes[outcome] for outcome in Outcome if outcome in outcomes}
    return {
        "tried": sum(outcomes.values()),
        "valid": outcomes.get(Outcome.OK, 0),
        "by_outcome": by_outcome,
    }


def describe_search(
    found: SearchResult | None, budget_s: float, *, start_fit: float | None, end_fit: float | None
) -> dict[str, Any]:
    """What search did.

    Args:
        found: its answer; None where it was switched off or had nothing to go on from.
        budget_s: seconds it was given.
        start_fit: of the best candidate before, by the scorer: IoU for a solid, else minus the
            chamfer distance. None where there was none.
        end_fit: of the first program after it.
    """
    facts: dict[str, Any] = {"budget_s": budget_s, "start_fit": start_fit, "end_fit": end_fit}
    if found is None:
        return facts | {"tries": 0}
    return facts | {"tries": found.tries, "from_slices": found.from_slices}


def versions() -> dict[str, str]:
    """Of this package, Python and what the result depends on."""
    found = {"cadwright": cadwright.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # an extra that this run did without
    return found


def _surface_chamfer(target: Shape, result: Mesh, seed: int) -> float:
    """Chamfer distance where there is no volume, by the words of ``PROTOCOL``."""
    placement = placement_to_unit(target.bounds)
    points: FloatArray = placement.apply(shape_to_points(target, NUM_POINTS, seed=seed))
    rng = np.random.default_rng([seed, 1])
    return chamfer_distance(points, sample_surface(normalise(result, placement), NUM_POINTS, rng))
