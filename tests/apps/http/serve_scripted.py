"""A server of its own process whose workers do what uploads say: ``serve_scripted.py FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from cadwright.apps.http.api.access_control import Access
from cadwright.apps.http.api.app import make_app
from cadwright.apps.http.jobs.service import Service
from cadwright.apps.http.jobs.worker_process import WorkerOptions
from cadwright.apps.http.limits import Limits
from cadwright.apps.http.server import bind, run

if __name__ == "__main__":
    limits = Limits(kept=100, recycle_after=100_000)
    options = WorkerOptions(child="scripted_worker", memory_mb=1024)
    service = Service(limits, options, num_workers=2, root=Path(sys.argv[1]))
    listener = bind("127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    run(make_app(service, Access()), service, listener, lambda line: None)
