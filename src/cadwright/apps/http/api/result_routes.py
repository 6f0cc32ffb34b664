"""Routes of finished jobs: the result document, files, geometry; previews and builds of edits.

In: requests about a job. Out: JSON, packed geometry, files. Not covered: jobs on their way
(``job_routes``), what the documents hold (``worker.job_results``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from fastapi import Path as PathPart
from starlette.responses import FileResponse, JSONResponse, Response

from cadwright.apps.http.api import schemas
from cadwright.apps.http.api.downloads import INACTIVE, download
from cadwright.apps.http.api.job_routes import JobId
from cadwright.apps.http.api.openapi import with_problems
from cadwright.apps.http.jobs.job import Job
from cadwright.apps.http.jobs.job_files import (
    OUT,
    RESULT_DOCUMENT,
    RESULT_DRAWN,
    TARGET_DRAWN,
    thumbnail_name,
)
from cadwright.apps.http.jobs.service import Service
from cadwright.apps.http.problem_details import conflict, not_found

FileName = Literal["part.step", "part.stl", "part.py", "report.json", "part.png"]


def add_result_routes(app: FastAPI, service: Service) -> None:
    """Add them to an application."""

    def done(job_id: str) -> Job:
        job = service.store.get(job_id)
        job.require_done()
        return job

    @app.get("/api/jobs/{job_id}/result", response_model=schemas.Result,
             responses=with_problems(401, 404, 409, 410))  # fmt: skip
    async def result(job_id: JobId) -> Response:
        """Report, program with its numbers, candidates and files of a finished job."""
        return JSONResponse(_result(done(job_id)))

    @app.get("/api/jobs/{job_id}/files/{name}", response_class=Response,
             responses=with_problems(401, 404, 409, 410, 422,
                                     ok=(INACTIVE, "the file")))  # fmt: skip
    async def file(job_id: JobId, name: FileName) -> Response:
        """A file of the result, to download."""
        job = done(job_id)
        return download(job.folder / OUT / name, name)

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
                                     ok=(INACTIVE, "packed geometry (CWG1)")))  # fmt: skip
    async def geometry(job_id: JobId, which: Literal["target", "result"]) -> Response:
        """Target or result for a 3-D view."""
        job = service.store.get(job_id)
        if which == "target":
            return FileResponse(_target_file(service, job), media_type=INACTIVE)
        job.require_done()
        return FileResponse(job.folder / RESULT_DRAWN, media_type=INACTIVE)

    edits = with_problems(400, 401, 403, 404, 408, 409, 410, 413, 422, 500, 503)

    @app.post("/api/jobs/{job_id}/preview", response_class=Response,
              responses=edits | with_problems(ok=(INACTIVE, "packed geometry (CWG1)")))  # fmt: skip
    async def preview(job_id: JobId, given: schemas.EditRequest) -> Response:
        """A changed program by the fast kernel; nothing is kept."""
        job = service.store.get(job_id)
        data = await service.edit("preview", job, given.model_dump(exclude_none=True))
        return Response(data, media_type=INACTIVE)

    @app.post("/api/jobs/{job_id}/build", response_model=schemas.Result, responses=edits)
    async def build(job_id: JobId, given: schemas.EditRequest) -> Response:
        """A changed program by the exact kernel; it becomes the job's result."""
        job = service.store.get(job_id)
        await service.edit("build", job, given.model_dump(exclude_none=True))
        return JSONResponse(_result(job))


def _target_file(service: Service, job: Job) -> Path:
    if job.spec.kind != "shape":
        raise not_found(f"the input of this job is a {job.spec.kind}, which has no geometry")
    path = job.folder / TARGET_DRAWN
    if not (job.has_target and path.is_file()):
        job.require_done()
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
