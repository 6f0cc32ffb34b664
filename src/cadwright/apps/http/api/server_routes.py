"""Routes about the server itself: what it is and allows, how it is, its token, its examples.

In: requests without a job. Out: JSON and the files of the examples. Not covered: jobs
(``job_routes``), the page (``static_files``).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI
from fastapi import Path as PathPart
from starlette.responses import FileResponse, JSONResponse, Response

import cadwright
from cadwright.apps.http.api import schemas
from cadwright.apps.http.api.access_control import TOKEN_COOKIE, Access
from cadwright.apps.http.api.downloads import INACTIVE, download
from cadwright.apps.http.api.examples import EXAMPLES, find_example
from cadwright.apps.http.api.openapi import with_problems
from cadwright.apps.http.jobs.service import Service
from cadwright.apps.http.jobs.worker_slot import resident_mb
from cadwright.apps.http.limits import STAGES
from cadwright.apps.http.problem_details import Problem
from cadwright.geometry.mesh_io import SUFFIXES
from cadwright.inference.prompt import PICTURE_SUFFIXES

ExampleName = Annotated[str, PathPart(max_length=64, description="of an example")]


def add_server_routes(
    app: FastAPI, service: Service, access: Access, default_budget_s: float
) -> None:
    """Add them to an application."""

    @app.get("/api/info", response_model=schemas.Info, responses=with_problems(401))
    async def info() -> Response:
        """What this server is, reads and allows."""
        return JSONResponse(_info(service, access, default_budget_s))

    @app.get("/api/health", response_model=schemas.Health, responses=with_problems())
    async def health() -> Response:
        """How this server is; answered without a token."""
        return JSONResponse(_health(service))

    @app.post(
        "/api/session", status_code=204, responses=with_problems(400, 401, 403, 408, 413, 422)
    )
    async def session(given: schemas.TokenRequest) -> Response:
        """Trade the token for a cookie."""
        if access.token and not access.is_token(given.token):
            raise Problem(401, "token-needed", "Token needed", "this is not the server's token")
        answer = Response(status_code=204)
        if access.token:
            answer.set_cookie(TOKEN_COOKIE, access.token, httponly=True, samesite="strict")
        return answer

    @app.get("/api/examples", response_model=schemas.Examples, responses=with_problems(401))
    async def examples() -> Response:
        """The parts that come with the package."""
        return JSONResponse({"examples": [example.entry() for example in EXAMPLES]})

    @app.get("/api/examples/{name}/file", response_class=Response,
             responses=with_problems(401, 404, ok=(INACTIVE, "the file")))  # fmt: skip
    async def example_file(name: ExampleName) -> Response:
        """The file of an example."""
        example = find_example(name)
        return download(example.path, example.file)

    @app.get("/api/examples/{name}/thumbnail", response_class=Response,
             responses=with_problems(401, 404, ok=("image/png", "a picture")))  # fmt: skip
    async def example_thumbnail(name: ExampleName) -> Response:
        """A picture of an example."""
        return FileResponse(find_example(name).thumbnail, media_type="image/png")


def _info(service: Service, access: Access, default_budget_s: float) -> dict[str, Any]:
    limits = service.limits
    shown = (
        "upload_bytes", "files", "text_characters", "program_characters", "faces", "candidates",
        "budget_s", "queued", "queued_a_client", "keep_s",
    )  # fmt: skip
    return {
        "version": cadwright.__version__,
        "reads": service.reads,
        "suffixes": {"shape": list(SUFFIXES), "picture": list(PICTURE_SUFFIXES)},
        "limits": {name: getattr(limits, name) for name in shown} | {"seed": schemas.SEED_MAX},
        "defaults": {"seed": 0, "candidates": 16, "budget_s": default_budget_s},
        "stages": list(STAGES),
        "token_needed": bool(access.token),
    }


def _health(service: Service) -> dict[str, Any]:
    slots = service.slots
    return {
        "state": service.state,
        "detail": service.trouble,
        "queued": len(service.queue),
        "running": len(service.running),
        "kept": len(service.store),
        "workers": sum(slot.worker is not None and slot.worker.is_alive for slot in slots),
        "restarts": sum(max(0, slot.num_started - 1) for slot in slots),
        "memory_mb": round(resident_mb(), 1),
        "workers_mb": [round(slot.resident_mb(), 1) for slot in slots if slot.worker is not None],
    }
