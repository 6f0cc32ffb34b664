"""The OpenAPI description: what the routes cannot say for themselves.

In: an application with its routes. Out: the same, whose description names the problem documents of
every status, and both forms in which a part may be sent. Not covered: the documents (``schemas``).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from cadwright.apps.http.api.schemas import SEED_MAX, JobRequest, ProblemDocument
from cadwright.apps.http.problem_details import MEDIA_TYPE

SHARED = (421,)  # what any address may answer
_SCHEMA = {"$ref": "#/components/schemas/ProblemDocument"}


def with_problems(*statuses: int, ok: tuple[str, str] | None = None) -> dict[int | str, Any]:
    """Answers of a route: problem documents, and content that is not JSON.

    Args:
        statuses: of the problems.
        ok: media type and meaning of the answer 200, where that is not a document.
    """
    answers: dict[int | str, Any] = {}
    for status in (*statuses, *SHARED):
        title = HTTPStatus(status).phrase
        answers[status] = {"description": title, "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
    if ok is not None:
        media, meaning = ok
        binary = {"type": "string", "format": "binary"}
        answers[200] = {"description": meaning, "content": {media: {"schema": binary}}}
    return answers


def describe(app: FastAPI) -> None:
    """Put the description in the place of the framework's own."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _made(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _made(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = found["components"]["schemas"]
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
    schemas["JobRequest"] = JobRequest.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in found["paths"].values():
        for operation in path.values():
            answer = operation["responses"].get("422")
            if answer is not None and "application/json" in answer.get("content", {}):
                answer["content"] = {MEDIA_TYPE: {"schema": _SCHEMA}}
    found["paths"]["/api/jobs"]["post"]["requestBody"] = _part_body()
    return found


def _part_body() -> dict[str, Any]:
    """A form with files or a text, or JSON."""
    files = {
        "type": "array", "minItems": 1, "maxItems": 4,
        "items": {"type": "string", "format": "binary"},
        "description": "one shape, one picture of four views, or four pictures in order",
    }  # fmt: skip
    form = {
        "type": "object",
        "properties": {
            "file": files,
            "text": {"type": "string", "description": "instead of files"},
            "seed": {"type": "integer", "minimum": 0, "maximum": SEED_MAX},
            "candidates": {"type": "integer", "minimum": 1},
            "budget_s": {"type": "number", "minimum": 0},
        },
    }
    json_schema = {"$ref": "#/components/schemas/JobRequest"}
    content = {
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": json_schema},
    }
    return {"required": True, "content": content}
