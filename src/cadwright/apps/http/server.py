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

import uvicorn

from cadwright.apps.http.service import Service
from cadwright.errors import InputError

BACKLOG = 512
REQUEST_HEAD_S = 20  # an idle connection is closed after this


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
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, date_header=True,
        timeout_keep_alive=REQUEST_HEAD_S, timeout_graceful_shutdown=3, lifespan="on",
        h11_max_incomplete_event_size=64 << 10, ws="none",
    )  # fmt: skip
    DrainingServer(config, service, say).run(sockets=[listener])
