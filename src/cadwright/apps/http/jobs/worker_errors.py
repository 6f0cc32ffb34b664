"""What a worker could not do, or how it ended, as a problem document.

In: the reply of a worker, or the error that stands for its end (``worker_process``). Out: a
``Problem`` whose detail is a sentence for the person whose part it was. Not covered: second
attempts (``service``).
"""

from __future__ import annotations

import logging
from typing import Any

from cadwright.apps.http.jobs.worker_process import OutOfMemory, OutOfTime
from cadwright.apps.http.problem_details import Problem, unavailable, unusable
from cadwright.errors import CadwrightError

_LOG = logging.getLogger(__name__)

SLUGS = {"memory": "too-much-memory", "program": "not-a-program", "input": "unusable"}


def worker_problem(header: dict[str, Any]) -> Problem:
    """Of a reply that says what went wrong."""
    kind, detail = header["kind"], header["detail"]
    if kind in ("model", "storage"):
        return unavailable(detail, slug=kind)
    if kind == "defect":
        _LOG.error("a worker met a defect:\n%s", header["trace"])
        return Problem(500, kind, "Error of the server", detail)
    more = {key: header[key] for key in ("line", "column") if header.get(key)}
    problem = unusable(detail, **more)
    problem.slug = SLUGS[kind]
    return problem


def death_problem(error: CadwrightError, attempts: int) -> Problem:
    """Of a worker that is gone.

    Args:
        error: how it ended.
        attempts: how many workers were given to the part.
    """
    if isinstance(error, OutOfMemory):
        return Problem(422, "too-much-memory", "Too much for this server", str(error))
    if isinstance(error, OutOfTime):
        return Problem(422, "too-much-time", "Too much for this server", str(error))
    detail = str(error)
    if attempts > 1:
        detail += f", {attempts} times; other parts may do better"
    return Problem(500, "worker-died", "The worker died", detail)
