"""What every request passes first, and what every answer carries: the service's own fence.

In: requests. Out: the same, with the client's name beside them, or a problem: a wrong Host header
(421, against DNS rebinding), a write from another site (403), no token where one is needed (401), a
body that is too large (413). Answers get headers under which no browser runs what was uploaded.
Not covered: what the requests mean (the routes).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cadwright.apps.http.limits import Limits
from cadwright.apps.http.problem_details import Problem, too_large

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
API_POLICY = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/api/session", "/api/health"})  # without a token
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
CLIENT_COOKIE, TOKEN_COOKIE = "cadwright_client", "cadwright_token"
CLIENT_HEADER = "x-cadwright-client"
_CLIENT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may talk to this server.

    Attributes:
        host: the address that it is bound to.
        token: that every call of the API must carry; empty where none is needed.
        names: further host names under which it may be called.
    """

    host: str = "127.0.0.1"
    token: str = ""
    names: frozenset[str] = field(default_factory=frozenset)

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this server."""
        name = _host_name(header)
        if name in LOOPBACK_NAMES or name == self.host or name in self.names:
            return True
        # DNS rebinding needs a name; an address that was typed in is what it says.
        return not is_loopback(self.host) and _is_address(name)

    def has_token(self, headers: Headers) -> bool:
        """Whether a request carries the token, in its header or its cookie."""
        if not self.token:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        cookie = _cookies(headers).get(TOKEN_COOKIE, "")
        given = bearer.strip() if scheme.lower() == "bearer" else cookie
        return self.is_token(given)

    def is_token(self, given: str) -> bool:
        """Compare in a time that does not depend on how much is right."""
        own, other = (hashlib.sha256(one.encode()).digest() for one in (self.token, given))
        return hmac.compare_digest(own, other)


def is_loopback(host: str) -> bool:
    """Whether an address to bind to is reached from this machine only."""
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        access: who may talk to it.
        limits: of the server: how large and how slow a body may be.
        upload_path: of the one that may be larger, which counts for itself.
    """

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, *, upload_path: str) -> None:
        self.app, self.access = app, access
        self.limits, self.upload_path = limits, upload_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        is_api = path.startswith("/api")
        name = _client_name(headers)
        peer = (scope.get("client") or ("?",))[0]
        scope.setdefault("state", {})["client"] = f"{peer}/{name}" if name else peer
        fresh = "" if name or not (is_api or path == "/") else secrets.token_urlsafe(12)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), is_api=is_api, fresh=fresh)
            await send(message)

        problem = self._problem(scope, headers)
        if problem is not None:
            await problem.response(path)(scope, receive, send_guarded)
            return
        receive = _paced(receive, self.limits)
        if path != self.upload_path:
            receive = _limited(receive, self.limits.body_bytes)
        await self.app(scope, receive, send_guarded)

    def _problem(self, scope: Scope, headers: Headers) -> Problem | None:
        path, method = scope["path"], scope["method"]
        if not self.access.knows_host(headers.get("host", "")):
            detail = "this server is not called by that name: use the address that it printed"
            return Problem(421, "wrong-host", "Misdirected request", detail)
        if method not in SAFE_METHODS and _is_foreign(headers):
            detail = "pages of other sites may not change anything here"
            return Problem(403, "cross-origin", "From another site", detail)
        is_open = not path.startswith("/api") or path in OPEN_PATHS
        if not is_open and not self.access.has_token(headers):
            detail = "this server asks for the token that it printed when it was started"
            return Problem(401, "token-needed", "Token needed", detail)
        length = headers.get("content-length", "0")
        most = self.limits.body_bytes
        if path != self.upload_path and length.isdecimal() and int(length) > most:
            return too_large(f"the body may have {most} bytes, not {length}")
        return None


def _paced(receive: Receive, limits: Limits) -> Receive:
    """The same body, unless it trickles: who sends a byte now and then holds a place of others."""
    started, taken, is_whole = time.monotonic(), 0, False

    async def timed() -> Message:
        nonlocal taken, is_whole
        if is_whole:  # what follows is the end of the connection, whenever that comes
            return await receive()
        left = started + limits.body_s + taken / limits.body_rate - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(left, 0.01))
        except (asyncio.TimeoutError, TimeoutError):
            raise HTTPException(408, "the request came too slowly; send it again") from None
        taken += len(message.get("body", b""))
        is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return timed


def _limited(receive: Receive, most: int) -> Receive:
    """The same body, unless it goes on for too long."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise HTTPException(413, f"the body may have {most} bytes")
        return message

    return counted


def _add_headers(headers: MutableHeaders, *, is_api: bool, fresh: str) -> None:
    for name, value in ALWAYS.items():
        headers[name] = value
    headers["content-security-policy"] = API_POLICY if is_api else PAGE_POLICY
    if is_api:
        headers.setdefault("cache-control", "no-store")
    if fresh:
        cookie = f"{CLIENT_COOKIE}={fresh}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
        headers.append("set-cookie", cookie)


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site makes it send this."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _client_name(headers: Headers) -> str:
    """What a client calls itself, which counts for taking turns only."""
    given = headers.get(CLIENT_HEADER) or _cookies(headers).get(CLIENT_COOKIE, "")
    return given if _CLIENT_NAME.fullmatch(given) else ""


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {key: one.value for key, one in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _host_name(header: str) -> str:
    """'[::1]:80' -> '::1', 'LocalHost:80' -> 'localhost'."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
