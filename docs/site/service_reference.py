"""The HTTP service's own routes and limits -> tables of the page "The page and the service".

In: the application of ``cadwright.apps.http`` (extra ``serve``), made but not started. Out:
Markdown for the marks ``<!-- made: routes -->`` and ``<!-- made: limits -->``.
"""

from __future__ import annotations

import inspect
from typing import Any

from command_reference import _cell
from settings_reference import load, settings

ORDER = {"GET": 0, "POST": 1, "DELETE": 2}
PREFIX = "/api/"


def fill_marks(markdown: str) -> str:
    """The page with its tables."""
    for name, make in (("routes", routes_to_markdown), ("limits", limits_to_markdown)):
        mark = f"<!-- made: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return markdown


def routes_to_markdown() -> str:
    """Every address under /api, and what it is for."""
    lines = ["| request | what |", "|---|---|"]
    for path, method, words in routes():
        lines.append(f"| `{method} {path}` | {_cell(words)} |")
    return "\n".join(lines)


def routes() -> list[tuple[str, str, str]]:
    """Path, method and first sentence of each route."""
    found = []
    for route in _application().routes:
        if route.path.startswith(PREFIX) and getattr(route, "endpoint", None) is not None:
            words = (inspect.getdoc(route.endpoint) or "").partition("\n\n")[0]
            found += [
                (route.path, method, words) for method in sorted(set(route.methods) - {"HEAD"})
            ]
    return sorted(found, key=lambda row: (row[0], ORDER.get(row[1], 9)))


def limits_to_markdown() -> str:
    """Every limit with its default."""
    lines = ["| limit | default | what |", "|---|---|---|"]
    for key, default, words in settings(load("cadwright.apps.http.limits:Limits")):
        lines.append(f"| `{key}` | {default} | {_cell(words)} |")
    return "\n".join(lines)


def _application() -> Any:
    """The framework's own application, without what guards it."""
    from cadwright.apps.http.api.access_control import Access
    from cadwright.apps.http.api.app import make_app
    from cadwright.apps.http.jobs.service import Service
    from cadwright.apps.http.jobs.worker_process import WorkerOptions
    from cadwright.apps.http.limits import Limits

    return make_app(Service(Limits(), WorkerOptions()), Access()).app
