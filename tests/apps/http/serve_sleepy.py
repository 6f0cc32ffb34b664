"""A server of its own process whose workers do what uploads say: ``serve_sleepy.py FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from cadwright.apps.http.app import make_app
from cadwright.apps.http.guard import Access
from cadwright.apps.http.limits import Limits
from cadwright.apps.http.pool import WorkerOptions
from cadwright.apps.http.server import bind, run
from cadwright.apps.http.service import Service

if __name__ == "__main__":
    limits = Limits(kept=100, recycle_after=100_000)
    options = WorkerOptions(child="sleepy_child", memory_mb=1024)
    service = Service(limits, options, num_workers=2, root=Path(sys.argv[1]))
    listener = bind("127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    run(make_app(service, Access()), service, listener, lambda line: None)
