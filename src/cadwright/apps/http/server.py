"""The server's life: bind, say where, serve, and on the first signal finish what runs.

In: an application and its service. Out: the end of the process. The first Ctrl-C or SIGTERM drains:
nothing new is taken, what waits is handed back, what runs may end; clients can go on asking
meanwhile. The second one ends at once. Not covered: the command line (``commands.serve``).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cadwright.apps.http.jobs.service import Service
from cadwright.apps.http.problem_details import unavailable
from cadwright.errors import InputError

BACKLOG = 512
HEAD_S = 20.0  # for the first line and the headers of a request; an idle connection as well


class PromptProtocol(H11Protocol):
    """HTTP/1.1 that closes connections on which no whole request head comes; uvicorn waits.

    Beyond ``limit_concurrency`` connections a request gets a problem document, not plain text.
    """

    _head: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The application answers beyond the limit: the library would do so in plain text.
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._admitted, self.app = self.app, self._admit

    async def _admit(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it where too many connections are open."""
        if self._most is None or len(self.connections) <= self._most:
            await self._admitted(scope, receive, send)
            return
        refusal = unavailable(f"the server has its {self._most} connections open: try again later")
        answer = refusal.response(scope["path"])
        answer.headers["Connection"] = "close"
        await answer(scope, receive, send)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Read; what is no whole head yet must become one in time, however often more comes."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        elif self._head is not None:
            self._head.cancel()
            self._head = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        super().connection_lost(exc)
        if self._head is not None:
            self._head.cancel()

    def _expect_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_S, self.transport.close)


class DrainingServer(uvicorn.Server):
    """A server that ends when its service has nothing more to do.

    Args:
        config: of uvicorn.
        service: that the application stands on.
        say: prints a line for the person who started it.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, say: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self.service, self.say = service, say
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: drain first, end at the second one."""
        if self._loop is None or self._draining is not None:
            self.should_exit = self.force_exit = True
            return
        self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        if self._draining is None:
            running = len(self.service.running)
            self.say(f"stopping: {running} running, {len(self.service.queue)} handed back")
            self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        await self.service.drain()
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        InputError: the address cannot be bound to.
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = infos[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot listen on {host}, port {port}: {reason}") from error
    return listener


def run(app: Any, service: Service, listener: socket.socket, say: Callable[[str], None]) -> None:
    """Serve until a signal, and what runs is done."""
    DrainingServer(configured(app, service), service, say).run(sockets=[listener])


def configured(app: Any, service: Service) -> uvicorn.Config:
    """How uvicorn is to serve an application."""
    return uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, date_header=True,
        timeout_keep_alive=round(HEAD_S), timeout_graceful_shutdown=3, lifespan="on",
        h11_max_incomplete_event_size=64 << 10, ws="none",
        http=PromptProtocol, limit_concurrency=service.limits.connections,
    )  # fmt: skip
