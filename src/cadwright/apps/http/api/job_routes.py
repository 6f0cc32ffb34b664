"""Routes of jobs: submit, follow, cancel, delete.

In: requests. Out: status documents, once or as a stream of events. Not covered: reading what is
submitted (``submission``), which job is next (``jobs.service``), results (``result_routes``).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Request
from fastapi import Path as PathPart
from starlette.responses import JSONResponse, Response, StreamingResponse

from cadwright.apps.http.api import schemas
from cadwright.apps.http.api.openapi import with_problems
from cadwright.apps.http.api.submission import read_submission
from cadwright.apps.http.jobs.job import Job
from cadwright.apps.http.jobs.service import Service
from cadwright.apps.http.problem_details import unavailable

HEARTBEAT_S = 15.0
JobId = Annotated[str, PathPart(max_length=64, description="of a job")]


def add_job_routes(app: FastAPI, service: Service, default_budget_s: float) -> None:
    """Add them to an application."""

    @app.post("/api/jobs", status_code=202, response_model=schemas.JobStatus,
              responses=with_problems(400, 401, 403, 404, 408, 413, 415, 422, 429,
                                      503))  # fmt: skip
    async def submit(request: Request) -> Response:
        """Make a part of a file, of four pictures, of a text or of an example."""
        client = request.state.client
        with service.arriving(client) as (job_id, folder):
            spec = await read_submission(
                request, folder, service.limits,
                reads=service.reads, default_budget_s=default_budget_s,
            )  # fmt: skip
            job = service.submit(job_id, folder, client, spec)
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
