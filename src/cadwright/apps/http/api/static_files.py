"""The static page: files of ``apps/web``, each with its type, and nothing outside that folder.

In: the path of a request. Out: the file. ``/?token=T`` trades the token for a cookie. Not covered:
what the page does, who may load it (``access_control``).
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, RedirectResponse, Response

import cadwright.apps
from cadwright.apps.http.api.access_control import TOKEN_COOKIE, Access
from cadwright.apps.http.problem_details import Problem, not_found

INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".map": "application/json",
}


def web_folder() -> Path:
    """Where the page's files are."""
    return Path(cadwright.apps.__path__[0]) / "web"


def install_page(app: FastAPI, access: Access) -> None:
    """Serve the page at ``/`` and its files under ``/static``."""

    @app.get("/", include_in_schema=False)
    async def home(token: str = "") -> Response:
        if not token:
            return _file(INDEX)
        if access.token and not access.is_token(token):
            raise Problem(401, "token-needed", "Token needed", "this is not the server's token")
        answer = RedirectResponse("/", 303)
        if access.token:
            answer.set_cookie(TOKEN_COOKIE, access.token, httponly=True, samesite="strict")
        return answer

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return _file("icon.svg")

    @app.get("/static/{path:path}", include_in_schema=False)
    async def static(path: str) -> Response:
        return _file(path)


def _file(name: str) -> Response:
    """A file of the folder.

    Raises:
        Problem: 404, there is none of that name, or it is of no kind that the page has.
    """
    folder = web_folder().resolve()
    path = (folder / name).resolve() if "\0" not in name else folder
    media_type = TYPES.get(path.suffix)
    if media_type is None or not path.is_relative_to(folder) or not path.is_file():
        raise not_found("there is no such file")
    return FileResponse(path, media_type=media_type, headers={"Cache-Control": "no-cache"})
