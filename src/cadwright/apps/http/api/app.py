"""The application: all routes behind one guard.

In: a service and who may talk to it. Out: an ASGI application. Not covered: what the routes do
(``server_routes``, ``job_routes``, ``result_routes``), how the server starts and stops
(``server``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

import cadwright
from cadwright.apps.http import problem_details
from cadwright.apps.http.api.access_control import Access, Guard
from cadwright.apps.http.api.job_routes import add_job_routes
from cadwright.apps.http.api.openapi import describe
from cadwright.apps.http.api.result_routes import add_result_routes
from cadwright.apps.http.api.server_routes import add_server_routes
from cadwright.apps.http.api.static_files import install_page
from cadwright.apps.http.jobs.service import Service


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
    problem_details.install(app)
    add_server_routes(app, service, access, default_budget_s)
    add_job_routes(app, service, default_budget_s)
    add_result_routes(app, service)
    install_page(app, access)
    describe(app)
    return Guard(app, access, service.limits, upload_path="/api/jobs")
