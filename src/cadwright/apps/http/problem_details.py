"""Problem documents (RFC 9457): every error of the service in one form, with a sentence to act on.

In: a ``Problem``, raised anywhere below a route, or what the framework raises. Out: answers of type
``application/problem+json``. Not covered: which problem when (the modules that raise them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"
URN = "urn:cadwright:problem:"


@dataclass(eq=False)
class Problem(Exception):
    """Something that could not be done.

    Attributes:
        status: of the answer.
        slug: names the kind of problem for programs.
        title: names it for people.
        detail: one sentence for a person.
        more: further members of the document.
        retry_after_s: when to try again, where that helps.
    """

    status: int
    slug: str
    title: str
    detail: str
    more: dict[str, Any] = field(default_factory=dict)
    retry_after_s: int | None = None

    def document(self, instance: str | None = None) -> dict[str, Any]:
        """The problem as JSON."""
        found: dict[str, Any] = {
            "type": URN + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return found | ({"instance": instance} if instance else {}) | self.more

    def response(self, instance: str | None = None) -> Response:
        """The problem as an answer."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == HTTPStatus.REQUEST_TIMEOUT:
            headers["Connection"] = "close"
        document = self.document(instance)
        # Names of numbers and fields come from outside, where half a character is possible.
        document["detail"] = self.detail.encode("utf-8", "replace").decode()
        return JSONResponse(document, self.status, headers=headers, media_type=MEDIA_TYPE)


def bad_request(detail: str) -> Problem:
    """400: the request itself is broken."""
    return Problem(400, "bad-request", "The request cannot be read", detail)


def not_found(detail: str) -> Problem:
    """404: there is no such thing, and there was none."""
    return Problem(404, "not-found", "There is no such thing", detail)


def conflict(slug: str, detail: str, **more: Any) -> Problem:
    """409: not in this state."""
    return Problem(409, slug, "Not in this state", detail, more)


def gone(detail: str) -> Problem:
    """410: there was one."""
    return Problem(410, "gone", "No longer kept", detail)


def too_large(detail: str) -> Problem:
    """413: more than this server takes."""
    return Problem(413, "too-large", "Too large", detail)


def unknown_kind(detail: str) -> Problem:
    """415: a kind of file or body that is not read."""
    return Problem(415, "unknown-kind", "Unknown kind of content", detail)


def unusable(detail: str, **more: Any) -> Problem:
    """422: readable, but nothing can be made of it."""
    return Problem(422, "unusable", "Nothing can be made of this", detail, more)


def too_many(detail: str) -> Problem:
    """429: this client has enough of them."""
    return Problem(429, "too-many", "Too many at a time", detail, retry_after_s=5)


def unavailable(detail: str, *, slug: str = "unavailable") -> Problem:
    """503: not now."""
    return Problem(503, slug, "Not available now", detail, retry_after_s=10)


def install(app: FastAPI) -> None:
    """Answer all errors of an application with problem documents."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(Exception, _answer_defect)


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(request.url.path)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    slug = title.lower().replace(" ", "-")
    detail = str(error.detail)
    if detail == title:  # the framework's own, which is no sentence
        detail = f"{request.method} is not possible at this address: /api/openapi.json says what is"
    answer = Problem(error.status_code, slug, title, detail).response(request.url.path)
    answer.headers.update(error.headers or {})
    return answer


async def _answer_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    if first["type"] == "json_invalid":
        return bad_request("the body is not valid JSON").response(request.url.path)
    return unusable(f"{where}: {first['msg']}").response(request.url.path)


async def _answer_defect(request: Request, error: Exception) -> Response:
    """A defect of this service: its log (uvicorn's) says which, the answer does not."""
    detail = "the server met an error of its own; its log says which"
    return Problem(500, "defect", "Error of the server", detail).response(request.url.path)
