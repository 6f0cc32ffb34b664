"""Who is let in: hosts, origins, tokens, sizes; and the headers of every answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from cadwright.apps.http.api.access_control import Access, is_loopback
from cadwright.apps.http.api.app import make_app
from cadwright.apps.http.jobs.service import Service
from cadwright.apps.http.jobs.worker_process import WorkerOptions
from cadwright.apps.http.limits import Limits

TOKEN = "a-token-of-this-test"


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    """Asks an application that has no workers."""

    def one(method: str, path: str, *, access: Access | None = None, **options: Any) -> Any:
        async def go() -> Any:
            service = Service(Limits(body_bytes=500), WorkerOptions(), root=tmp_path)
            app = make_app(service, access or Access())
            transport = httpx.ASGITransport(app=app)
            base = options.pop("base", "http://127.0.0.1:8737")
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **options)

        return asyncio.run(go())

    return one


@pytest.mark.parametrize("host", ["127.0.0.1:8737", "localhost", "[::1]:80", "LOCALHOST:1"])
def test_names_of_this_machine_are_known(ask: Any, host: str) -> None:
    assert ask("GET", "/api/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8737", "192.168.0.9", "", "["]
)
def test_other_names_are_misdirected(ask: Any, host: str) -> None:
    answer = ask("GET", "/api/info", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_public_server_knows_addresses_and_named_hosts_only(ask: Any) -> None:
    access = Access("0.0.0.0", TOKEN, frozenset({"cad.example"}))
    for host, status in (("10.0.0.7:80", 200), ("cad.example", 200), ("evil.example", 421)):
        assert (
            ask("GET", "/api/health", access=access, headers={"Host": host}).status_code == status
        )


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_change_nothing(ask: Any, headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", "/api/jobs"),
        ("DELETE", "/api/jobs/x"),
        ("POST", "/api/session"),
    ):
        answer = ask(method, path, headers=headers)
        assert answer.status_code == 403, path
    own = {"Origin": "http://127.0.0.1:8737", "Sec-Fetch-Site": "same-origin"}
    assert ask("DELETE", "/api/jobs/x", headers=own).status_code == 404


def test_a_token_opens_the_api_as_header_or_cookie_and_nothing_else_does(ask: Any) -> None:
    access = Access("0.0.0.0", TOKEN)

    def status(**headers: str) -> int:
        return int(ask("GET", "/api/info", access=access, headers=headers).status_code)

    assert status() == 401
    assert status(Authorization=f"Bearer {TOKEN}x") == 401
    assert status(Authorization=f"Basic {TOKEN}") == 401
    assert status(Cookie="cadwright_token=") == 401
    assert status(Authorization=f"Bearer {TOKEN}") == 200
    assert status(Cookie=f"cadwright_token={TOKEN}") == 200
    refused = ask("GET", "/api/info", access=access)
    assert refused.headers["www-authenticate"] == "Bearer"
    assert ask("GET", "/api/health", access=access).status_code == 200


def test_the_token_can_be_traded_for_a_cookie(ask: Any) -> None:
    access = Access("0.0.0.0", TOKEN)
    answer = ask("GET", f"/?token={TOKEN}", access=access)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = next(c for c in answer.headers.get_list("set-cookie") if TOKEN in c)
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert ask("GET", "/?token=wrong", access=access).status_code == 401
    good = ask("POST", "/api/session", access=access, json={"token": TOKEN})
    assert good.status_code == 204 and TOKEN in good.headers["set-cookie"]
    assert ask("POST", "/api/session", access=access, json={"token": "x"}).status_code == 401


def test_answers_say_what_browsers_may_not_do_with_them(ask: Any) -> None:
    for path in ("/api/info", "/api/jobs/none", "/static/none.js", "/api/examples/bracket/file"):
        headers = ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"], path
        assert "access-control-allow-origin" not in headers, path
    example = ask("GET", "/api/examples/bracket/file")
    assert example.headers["content-disposition"].startswith("attachment")
    assert example.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "path",
    [
        "../guard.py",
        "..%2fapp.py",
        "%2e%2e/cli.py",
        "/etc/passwd",
        "%00",
        "..\\app.py",
        "a/../../cli.py",
    ],
)
def test_no_path_leads_out_of_the_page_s_folder(ask: Any, path: str) -> None:
    assert ask("GET", f"/static/{path}").status_code == 404


def test_large_bodies_are_refused_with_and_without_a_length(ask: Any) -> None:
    async def chunks() -> Any:
        for _ in range(10):
            yield b" " * 100

    for content in (b" " * 1000, chunks()):
        headers = {"Content-Type": "application/json"}
        answer = ask("POST", "/api/jobs/x/preview", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.0.0.53", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("example.org", False)],
)  # fmt: skip
def test_only_this_machine_s_own_addresses_need_no_token(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
