"""A result as a job's folder keeps it: the files to download, the 3-D view, the other candidates.

In: a ``Reconstruction`` or a program that somebody edited. Out: files in the job's folder, the
document ``result.json`` last, so that what it names is there. Written by workers only. Not covered:
how results are found (``inference.pipeline``), who may fetch them (``api``).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from cadwright.apps.http.jobs.job_files import OUT, RESULT_DOCUMENT, RESULT_DRAWN, thumbnail_name
from cadwright.apps.http.view_geometry.binary_format import pack
from cadwright.apps.http.view_geometry.mesh_to_buffers import Arrays, mesh_to_buffers
from cadwright.apps.http.view_geometry.shape_distance import ShapeDistance, describe
from cadwright.apps.http.worker.program_numbers import text_to_numbers
from cadwright.apps.http.worker.stored_target import StoredTarget, drawn_positions
from cadwright.geometry.atomic import atomic_write
from cadwright.geometry.frames import longest_side
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.pictures import render_mesh, save_png
from cadwright.inference.candidates import Candidate
from cadwright.inference.finding import Found
from cadwright.inference.report import NO_UNIT_NOTE, UNIT_NOTE
from cadwright.inference.result import FILES, Reconstruction
from cadwright.program.program_to_script import user_program_to_script
from cadwright.program.program_to_user import program_to_user
from cadwright.types import Mesh

MOST_CANDIDATES = 8  # shown
THUMBNAIL = 200  # pixels
ROUNDING = 0.0003  # of a candidate's faces, as a share of the size; see ``inference.exact``


def save_result(
    result: Reconstruction,
    target: StoredTarget,
    folder: Path,
    *,
    text: str,
    revision: int,
    edited: bool,
    candidates: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write everything that a finished job or a new build hands out.

    Args:
        result: in the USER frame; its own text is not used.
        target: of the job.
        folder: of the job.
        text: the program as it is to be shown and handed out.
        revision: 1 for the first result, one more after each build.
        edited: whether somebody changed the program.
        candidates: as ``save_candidates`` gave them.
    Returns:
        The document, but for addresses.
    """
    temporary = folder / f"new-{revision}"
    try:
        made = result.save(temporary)
        (made / "part.py").write_text(text, encoding="utf-8")
        (folder / OUT).mkdir(exist_ok=True)
        header, arrays = result_to_buffers(result.mesh, target, exact=True)
        header |= {"revision": revision, "volume": result.mesh.signed_volume}
        header["unit_note"] = UNIT_NOTE if target.distance is not None else NO_UNIT_NOTE
        arrays |= _target_deviation(result.mesh, target, folder)
        with atomic_write(folder / RESULT_DRAWN) as path:
            path.write_bytes(pack(header, arrays))
        for name in FILES:
            os.replace(made / name, folder / OUT / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = longest_side(result.mesh.bounds)
    document = {
        "name": result.report["name"],
        "revision": revision,
        "edited": edited,
        "report": result.report,
        "program": {"text": text, "numbers": text_to_numbers(text, size=size)},
        "candidates": candidates,
        "files": [{"name": name, "bytes": (folder / OUT / name).stat().st_size} for name in FILES],
    }
    with atomic_write(folder / RESULT_DOCUMENT) as path:
        path.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    return document


def load_document(folder: Path) -> dict[str, Any]:
    """The document that ``save_result`` wrote last."""
    document: dict[str, Any] = json.loads((folder / RESULT_DOCUMENT).read_text(encoding="utf-8"))
    return document


def result_to_buffers(
    mesh: Mesh, target: StoredTarget, *, exact: bool
) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a solid for the 3-D view, coloured by its deviation.

    Args:
        mesh: USER frame.
        target: what it is compared with, if that is a shape.
        exact: which kernel built the solid.
    """
    arrays = mesh_to_buffers(mesh, origin=target.origin)
    header: dict[str, Any] = {
        "what": "result",
        "exact": exact,
        "origin": target.origin.tolist(),
        "bounds": mesh.bounds.tolist(),
        "size": longest_side(mesh.bounds),
        "deviation": None,
    }
    if target.distance is not None:
        positions = arrays["positions"].astype(np.float64) + target.origin
        distances = target.distance.distances(positions)
        header["deviation"] = describe(distances, signed=target.distance.signed)
        arrays["deviation"] = distances.astype(np.float32)
    return header, arrays


def save_candidates(found: Found, result: Reconstruction, folder: Path) -> list[dict[str, Any]]:
    """Describe and draw the best programs, each once; the chosen one is among them."""
    each: list[Candidate] = []
    for one in found.ranked:
        if all(one.program != other.program for other in each):
            each.append(one)
    ranked = each[:MOST_CANDIDATES]
    chosen = [one for one in each[MOST_CANDIDATES:] if one.program == result.program]
    if chosen:
        ranked[-1] = chosen[0]
    entries = []
    for index, one in enumerate(ranked):
        is_chosen = one.program == result.program
        user = program_to_user(one.program, found.goal.to_user, tolerance=ROUNDING)
        save_png(render_mesh(one.mesh, size=THUMBNAIL), folder / thumbnail_name(index))
        entries.append(
            {
                "index": index,
                "chosen": is_chosen,
                "source": one.source,
                "fit": float(one.fit),
                "bodies": len(one.program.bodies),
                "text": result.text if is_chosen else user_program_to_script(user),
            }
        )
    return entries


def _target_deviation(mesh: Mesh, target: StoredTarget, folder: Path) -> Arrays:
    """How far each drawn point of the target lies from the result, without a sign."""
    positions = None if target.distance is None else drawn_positions(folder, target.origin)
    if positions is None:
        return {}
    away = np.abs(ShapeDistance(Shape("result", mesh, None, "solid")).distances(positions))
    return {"target_deviation": away.astype(np.float32)}
