"""The addresses of the service: each reads a request, asks the service, and prints an answer.

In: HTTP. Out: JSON, packed geometry, files, event streams, and the static page. Everything of
substance is elsewhere: ``orders`` and ``uploads`` read, ``service`` decides, workers do. Not
covered: who may ask (``guard``), how the server starts and stops (``server``).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi import Path as PathPart
from starlette.responses import (
    FileResponse,
    JSONResponse,
    Response,
    StreamingResponse,
)

import cadwright
from cadwright.apps.http import problems, schemas
from cadwright.apps.http.description import describe, with_problems
from cadwright.apps.http.examples import EXAMPLES, find_example
from cadwright.apps.http.guard import TOKEN_COOKIE, Access, Guard
from cadwright.apps.http.jobs import Job
from cadwright.apps.http.layout import (
    OUT,
    RESULT_DOCUMENT,
    RESULT_DRAWN,
    TARGET_DRAWN,
    thumbnail_name,
)
from cadwright.apps.http.limits import STAGES
from cadwright.apps.http.orders import read_order
from cadwright.apps.http.pool import resident_mb
from cadwright.apps.http.problems import Problem, conflict, not_found, unavailable
from cadwright.apps.http.service import Service
from cadwright.apps.http.web_files import install_page
from cadwright.geometry.mesh_io import SUFFIXES
from cadwright.inference.prompt import PICTURE_SUFFIXES

HEARTBEAT_S = 15.0
PACKED = "application/octet-stream"  # geometry, and whatever no browser should open by itself
FileName = Literal["part.step", "part.stl", "part.py", "report.json", "part.png"]
ExampleName = Annotated[str, PathPart(max_length=64, description="of an example")]
JobId = Annotated[str, PathPart(max_length=64, description="of a job")]


def make_app(service: Service, access: Access, *, default_budget_s: float = 5.0) -> Any:
    """The whole application, guarded.

    Args:
        service: started and closed by the application's lifespan.
        access: who may talk to it.
        default_budget_s: seconds of search where a request names none.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="cadwright", version=cadwright.__version__, openapi_url="/api/openapi.json",
        docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False,
        description="Shapes in, CAD programs out: submit a part, follow it, fetch it.",
    )  # fmt: skip
    problems.install(app)
    _add_server(app, service, access, default_budget_s)
    _add_jobs(app, service, default_budget_s)
    _add_results(app, service)
    install_page(app, access)
    describe(app)
    return Guard(app, access, body_bytes=service.limits.body_bytes, upload_path="/api/jobs")


def _add_server(app: FastAPI, service: Service, access: Access, default_budget_s: float) -> None:
    @app.get("/api/info", response_model=schemas.Info, responses=with_problems(401))
    async def info() -> Response:
        """What this server is, reads and allows."""
        return JSONResponse(_info(service, access, default_budget_s))

    @app.get("/api/health", response_model=schemas.Health, responses=with_problems())
    async def health() -> Response:
        """How this server is; answered without a token."""
        return JSONResponse(_health(service))

    @app.post("/api/session", status_code=204, responses=with_problems(400, 401, 413, 422))
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
             responses=with_problems(401, 404, ok=(PACKED, "the file")))  # fmt: skip
    async def example_file(name: ExampleName) -> Response:
        """The file of an example."""
        example = find_example(name)
        return _download(example.path, example.file)

    @app.get("/api/examples/{name}/thumbnail", response_class=Response,
             responses=with_problems(401, 404, ok=("image/png", "a picture")))  # fmt: skip
    async def example_thumbnail(name: ExampleName) -> Response:
        """A picture of an example."""
        return FileResponse(find_example(name).thumbnail, media_type="image/png")


def _add_jobs(app: FastAPI, service: Service, default_budget_s: float) -> None:
    @app.post("/api/jobs", status_code=202, response_model=schemas.JobStatus,
              responses=with_problems(400, 401, 403, 404, 413, 415, 422, 429, 503))  # fmt: skip
    async def submit(request: Request) -> Response:
        """Make a part of a file, of four pictures, of a text or of an example."""
        client = request.state.client
        service.admit(client)
        job_id, folder = service.store.new_folder()
        try:
            order = await read_order(
                request, folder, service.limits,
                reads=service.reads, default_budget_s=default_budget_s,
            )  # fmt: skip
            service.admit(client)  # others may have come while this was uploaded
        except BaseException:
            service.store.remove_folder(folder)
            raise
        job = service.submit(job_id, folder, client, order)
        headers = {"Location": f"/api/jobs/{job.id}"}
        return JSONResponse(service.document(job), 202, headers=headers)

    @app.get("/api/jobs/{job_id}", response_model=schemas.JobStatus,
             responses=with_problems(401, 404, 410))  # fmt: skip
    async def status(job_id: JobId) -> Response:
        """How far a job is."""
        return JSONResponse(service.document(service.store.get(job_id)))

    @app.get("/api/jobs/{job_id}/events", response_class=Response,
             responses=with_problems(401, 404, 410, 503,
                                     ok=("text/event-stream", "status documents")))  # fmt: skip
    async def events(job_id: JobId) -> Response:
        """The job's status documents as they change, as server-sent events."""
        job = service.store.get(job_id)
        if service.num_streams >= service.limits.streams:
            raise unavailable("too many event streams are open; ask for the status instead")
        return StreamingResponse(_stream(service, job), media_type="text/event-stream")

    @app.post("/api/jobs/{job_id}/cancel", response_model=schemas.JobStatus,
              responses=with_problems(401, 403, 404, 409, 410))  # fmt: skip
    async def cancel(job_id: JobId) -> Response:
        """End a job that waits or runs."""
        job = service.store.get(job_id)
        service.cancel(job)
        return JSONResponse(service.document(job))

    @app.delete("/api/jobs/{job_id}", status_code=204,
                responses=with_problems(401, 403, 404, 410))  # fmt: skip
    async def delete(job_id: JobId) -> Response:
        """End a job if need be, and remove all that there is of it."""
        service.delete(service.store.get(job_id))
        return Response(status_code=204)


def _add_results(app: FastAPI, service: Service) -> None:
    def done(job_id: str) -> Job:
        job = service.store.get(job_id)
        service.require_done(job)
        return job

    @app.get("/api/jobs/{job_id}/result", response_model=schemas.Result,
             responses=with_problems(401, 404, 409, 410))  # fmt: skip
    async def result(job_id: JobId) -> Response:
        """Report, program with its numbers, candidates and files of a finished job."""
        return JSONResponse(_result(done(job_id)))

    @app.get("/api/jobs/{job_id}/files/{name}", response_class=Response,
             responses=with_problems(401, 404, 409, 410, 422, ok=(PACKED, "the file")))  # fmt: skip
    async def file(job_id: JobId, name: FileName) -> Response:
        """A file of the result, to download."""
        job = done(job_id)
        return _download(job.folder / OUT / name, name)

    @app.get("/api/jobs/{job_id}/candidates/{index}/thumbnail", response_class=Response,
             responses=with_problems(401, 404, 409, 410, 422,
                                     ok=("image/png", "a picture")))  # fmt: skip
    async def thumbnail(job_id: JobId, index: Annotated[int, PathPart(ge=0, le=99)]) -> Response:
        """A picture of a candidate."""
        path = done(job_id).folder / thumbnail_name(index)
        if not path.is_file():
            raise not_found("this job has no such candidate")
        return FileResponse(path, media_type="image/png")

    @app.get("/api/jobs/{job_id}/geometry/{which}", response_class=Response,
             responses=with_problems(401, 404, 409, 410, 422,
                                     ok=(PACKED, "packed geometry (CWG1)")))  # fmt: skip
    async def geometry(job_id: JobId, which: Literal["target", "result"]) -> Response:
        """Target or result for a 3-D view."""
        job = service.store.get(job_id)
        if which == "target":
            return FileResponse(_target_file(service, job), media_type=PACKED)
        service.require_done(job)
        return FileResponse(job.folder / RESULT_DRAWN, media_type=PACKED)

    edits = with_problems(400, 401, 403, 404, 409, 410, 413, 422, 500, 503)

    @app.post("/api/jobs/{job_id}/preview", response_class=Response,
              responses=edits | with_problems(ok=(PACKED, "packed geometry (CWG1)")))  # fmt: skip
    async def preview(job_id: JobId, given: schemas.EditRequest) -> Response:
        """A changed program by the fast kernel; nothing is kept."""
        job = service.store.get(job_id)
        data = await service.edit("preview", job, given.model_dump(exclude_none=True))
        return Response(data, media_type=PACKED)

    @app.post("/api/jobs/{job_id}/build", response_model=schemas.Result, responses=edits)
    async def build(job_id: JobId, given: schemas.EditRequest) -> Response:
        """A changed program by the exact kernel; it becomes the job's result."""
        job = service.store.get(job_id)
        await service.edit("build", job, given.model_dump(exclude_none=True))
        return JSONResponse(_result(job))


async def _stream(service: Service, job: Job) -> AsyncIterator[bytes]:
    service.num_streams += 1
    try:
        async for is_news in job.versions(heartbeat_s=HEARTBEAT_S):
            if not is_news:
                yield b": still here\n\n"
                continue
            text = json.dumps(service.document(job))
            yield f"id: {job.version}\nevent: status\ndata: {text}\n\n".encode()
        yield b"event: end\ndata: {}\n\n"
    finally:
        service.num_streams -= 1


def _target_file(service: Service, job: Job) -> Path:
    if job.order.kind != "shape":
        raise not_found(f"the input of this job is a {job.order.kind}, which has no geometry")
    path = job.folder / TARGET_DRAWN
    if not (job.has_target and path.is_file()):
        service.require_done(job)
        raise conflict("not-done", "the input was not read yet")
    return path


def _result(job: Job) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((job.folder / RESULT_DOCUMENT).read_bytes())
    base = f"/api/jobs/{job.id}"
    for one in document["candidates"]:
        one["thumbnail"] = f"{base}/candidates/{one['index']}/thumbnail"
    for one in document["files"]:
        one["href"] = f"{base}/files/{one['name']}"
    return {"id": job.id, **document}


def _download(path: Path, name: str) -> Response:
    """A file that no browser opens by itself."""
    return FileResponse(path, media_type=PACKED, filename=name)


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
