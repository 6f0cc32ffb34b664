"""``cadwright serve``: the pipeline as a web page and an HTTP API on this machine.

In: where to listen and what the workers may take. Out: a server until Ctrl-C, which finishes what
runs. It listens on this machine only unless ``--host`` says otherwise, and then asks for a token.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from dataclasses import replace
from typing import Any

from cadwright.apps.terminal import at_least, seconds
from cadwright.errors import InputError
from cadwright.optional import require

PORT = 8737


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "serve",
        help="a web page and an HTTP API for all of this, on this machine",
        description="Serve the web page and the API (described at /api/openapi.json). What is "
        "uploaded is read by limited processes only. The first Ctrl-C lets running jobs end, the "
        "second ends at once.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; another than this machine's "
        "own asks every caller for a token",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=PORT, help="0 takes any free one")
    parser.add_argument(
        "--token", default=None, help="that callers must know; by default one is made and printed "
        "where --host needs one",
    )  # fmt: skip
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="a further name under which callers reach this server",
    )  # fmt: skip
    parser.add_argument("--model", default="embedded", help="'embedded', a folder, or a hub id")
    parser.add_argument(
        "--tokenizer", metavar="MODEL", help="where the tokenizer is, if not with the model"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--workers", type=at_least(1), default=1, help="parts made at a time")
    parser.add_argument(
        "--budget", type=seconds, default=5.0, metavar="SECONDS",
        help="search time where a request names none",
    )  # fmt: skip
    parser.add_argument("--upload-mb", type=at_least(1), default=64, help="largest upload")
    parser.add_argument("--memory-mb", type=at_least(1024), default=4096, help="of one worker")
    parser.add_argument("--queue", type=at_least(1), default=200, help="jobs that may wait")
    parser.add_argument(
        "--keep", type=seconds, default=3600.0, metavar="SECONDS",
        help="how long a finished job is kept after it was used last",
    )  # fmt: skip
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Serve until a signal.

    Raises:
        InputError: the address cannot be listened on, or an option makes no sense.
        MissingDependencyError: a package is missing.
    """
    for package in ("fastapi", "uvicorn", "python_multipart"):
        require(package, extra="serve")
    require("numba", extra="render")
    if sys.platform == "win32":
        raise InputError("cadwright serve needs the process limits of Linux or macOS")
    from cadwright.apps.http.api.access_control import Access, is_loopback
    from cadwright.apps.http.api.app import make_app
    from cadwright.apps.http.jobs.service import Service
    from cadwright.apps.http.jobs.worker_process import WorkerOptions
    from cadwright.apps.http.limits import MB, Limits
    from cadwright.apps.http.server import bind, run

    if not 0 <= args.port < 65536:
        raise InputError(f"there is no port {args.port}")
    if args.token is not None and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,200}", args.token):
        raise InputError("--token needs at least 8 letters, digits or -._~+/=")
    token = args.token or ("" if is_loopback(args.host) else secrets.token_urlsafe(24))
    access = Access(args.host, token, frozenset(name.lower() for name in args.allow_host))
    limits = Limits()
    limits = replace(
        limits, upload_bytes=args.upload_mb * MB, memory_mb=args.memory_mb, queued=args.queue,
        keep_s=max(1.0, args.keep), budget_s=max(limits.budget_s, args.budget),
    )  # fmt: skip
    options = WorkerOptions(
        args.model, args.tokenizer, args.device, limits.memory_mb, limits.build_s
    )
    listener = bind(args.host, args.port)
    service = Service(limits, options, num_workers=args.workers)
    address = _address(args.host, listener.getsockname()[1])
    print(f"cadwright serves at {address}{f'/?token={token}' if token else ''}", flush=True)
    print("Ctrl-C ends it.", file=sys.stderr, flush=True)

    def say(line: str) -> None:
        print(f"cadwright: {line}", file=sys.stderr, flush=True)

    run(make_app(service, access, default_budget_s=args.budget), service, listener, say)
    return 0


def _address(host: str, port: int) -> str:
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
