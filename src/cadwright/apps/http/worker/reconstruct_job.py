"""One job from upload to files, in a limited worker, by the pipeline of the command line.

In: the job's folder with what was uploaded, and the options. Out: files in that folder, and events
on the way: what the input is, that the target can be drawn, how far the stages are. Not covered:
the process around it (``child``), edits afterwards (``edit_program``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cadwright.apps.http.limits import STAGES
from cadwright.apps.http.worker.job_results import save_candidates, save_result
from cadwright.apps.http.worker.stored_target import StoredTarget, describe_given, save_target
from cadwright.errors import CadwrightError
from cadwright.geometry.mesh_io import Shape, load_shape
from cadwright.inference.pipeline import Reconstructor
from cadwright.inference.prompt import views_to_prompt, words_to_prompt
from cadwright.inference.target import read_part

Emit = Callable[[dict[str, Any]], None]

FILES_SHARE = 0.05  # of the bar, for what comes after the pipeline
LEAST_PAUSE_S = 0.08  # between two events of one stage


class Reporter:
    """Turns what the pipeline says into events, not too many a second.

    Args:
        emit: called with each event.
        candidates: how many programs the model is asked for.
    """

    def __init__(self, emit: Emit, candidates: int) -> None:
        self._emit, self._candidates = emit, candidates
        self._stage, self._last = "", 0.0
        self._facts: dict[str, Any] = {"tried": 0, "fit": None}

    def progress(self, what: str, share: float) -> None:
        """The pipeline's progress function."""
        begins = what in STAGES and what != self._stage and not self._inside_search(what)
        if begins:
            self._stage = what
            if what == "rank":
                self._facts["candidates"] = self._candidates
        if what == "done" or (not begins and time.monotonic() < self._last + LEAST_PAUSE_S):
            self._emit({"event": "pulse"})  # nothing to say, but a chance to be cancelled
            return
        self._last = time.monotonic()
        step = what if what != self._stage else None
        self._emit(
            {"event": "progress", "stage": self._stage, "step": step}
            | {"share": round(share * (1 - FILES_SHARE), 4)}
            | self._facts
        )

    def watch(self, tries: int, fit: float) -> None:
        """Numbers of a running search."""
        self._facts |= {"tried": tries, "fit": round(float(fit), 5)}

    def _inside_search(self, what: str) -> bool:
        """Search has a step called 'rank' too."""
        return self._stage == "search" and STAGES.index(what) < STAGES.index("search")


def reconstruct(
    reconstructor: Reconstructor, request: dict[str, Any], emit: Emit
) -> dict[str, Any]:
    """Do one job.

    Args:
        reconstructor: with its model loaded.
        request: ``folder``, ``files`` (names in it) or ``text``, ``kind``, ``name``, ``seed``,
            ``candidates``, ``budget_s``, ``max_faces``.
        emit: called with each event.
    Returns:
        The result document, but for addresses.
    Raises:
        CadwrightError: as ``Reconstructor.reconstruct``; messages name the upload by its name.
    """
    folder = Path(request["folder"])
    reporter = Reporter(emit, request["candidates"])
    started = time.perf_counter()
    reporter.progress("read", 0.0)
    try:
        given = _given(reconstructor, request, folder)
        # What can be read can still be no part, and the page should not draw that.
        shape = given.get("source")
        if isinstance(shape, Shape):
            shape = given["source"] = read_part(
                shape, name="part", step_reader=reconstructor.kernel.step_to_mesh
            )
        target = _save_target(given, request, folder, emit)
        read_s = time.perf_counter() - started
        result = reconstructor.reconstruct(
            **given, candidates=request["candidates"], budget_s=request["budget_s"],
            seed=request["seed"], name="part", progress=reporter.progress,
            watch=reporter.watch, steady=True,
        )  # fmt: skip
    except CadwrightError as error:
        raise _renamed(error, request) from error
    report = result.report
    report["name"], report["input"] = request["name"], request["text"] or request["shown"]
    report["seconds"]["read"] = round(report["seconds"]["read"] + read_s, 3)
    counts = report["candidates"]
    emit(
        {"event": "progress", "stage": "files", "step": None, "share": 1 - FILES_SHARE}
        | {"candidates": counts["tried"], "valid": counts["valid"]}
        | {"tried": report["search"]["tries"], "fit": report["iou"] or report["chosen_fit"]}
    )
    assert result.found is not None
    candidates = save_candidates(result.found, result, folder)
    return save_result(
        result, target, folder, text=result.text, revision=1, edited=False, candidates=candidates
    )


def _given(reconstructor: Reconstructor, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The input as ``Reconstructor.reconstruct`` takes it, read here with this service's limits."""
    paths = [folder / name for name in request["files"]]
    if request["kind"] == "text":
        return {"text": request["text"]}
    if request["kind"] == "picture":
        return {"views": paths if len(paths) > 1 else paths[0]}
    reader = reconstructor.kernel.step_to_mesh
    return {"source": load_shape(paths[0], step_reader=reader, max_faces=request["max_faces"])}


def _save_target(
    given: dict[str, Any], request: dict[str, Any], folder: Path, emit: Emit
) -> StoredTarget:
    if "source" in given:
        kept: Any = given["source"]
    elif "views" in given:
        kept = views_to_prompt(given["views"], name="part")
    else:
        kept = words_to_prompt(given["text"], name="part")
    save_target(kept, folder)
    emit({"event": "input", "input": describe_given(kept), "has_target": isinstance(kept, Shape)})
    return StoredTarget(kept)


def _renamed(error: CadwrightError, request: dict[str, Any]) -> CadwrightError:
    """The error with the upload's own name, which no path of this server ever had."""
    message = str(error)
    for stored, shown in zip(request["files"], request["shown_files"], strict=True):
        message = message.replace(str(Path(request["folder"]) / stored), shown)
        message = message.replace(stored, shown)
    renamed = type(error).__new__(type(error))
    CadwrightError.__init__(renamed, message)
    renamed.__dict__.update(error.__dict__)
    return renamed
