"""A worker process, seen from inside: the only place where what was uploaded is read.

In: requests over stdin (``program._messages``). Out: events and replies over stdout. A role says
what it loads: 'reconstruct' the pipeline with its model, 'preview' the fast kernel, 'build' the
exact one. Memory is capped by the system (RLIMIT_DATA, Linux), files by RLIMIT_FSIZE, the time of
one core by a timer that children do not inherit. The parent (``jobs.worker_process``) watches the
clock, and kills.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from cadwright.apps.http.jobs.job_files import TMP
from cadwright.errors import CadwrightError, CheckpointError, MissingDependencyError, ProgramError
from cadwright.program._messages import receive, send

Request = dict[str, Any]
_LOG = logging.getLogger(__name__)
FILE_MB = 1024  # the largest file that a worker can write


class Cancelled(Exception):
    """Internal: the parent said that nobody wants this job any more."""


class Child:
    """The roles' requests, done one after the other."""

    def __init__(self, options: dict[str, Any], replies: int) -> None:
        self.options, self.replies = options, replies
        self.role: str = options["role"]
        self.cleanup = ExitStack()

    def start(self) -> dict[str, Any]:
        """Load what the role needs; says what can be read.

        Raises:
            CheckpointError, MissingDependencyError: it cannot be had.
        """
        if self.role == "reconstruct":
            return self._start_pipeline()
        from cadwright.apps.http.worker.edit_program import ProgramEditor

        self.editor = ProgramEditor()
        self.cleanup.callback(self.editor.close)
        self.editor.warm_up()
        if self.role == "build":
            self.editor.start_kernel(self.options["build_s"])
        return {}

    def _start_pipeline(self) -> dict[str, Any]:
        from cadwright.inference.embedded import embedded_kinds
        from cadwright.inference.pipeline import EMBEDDED, Reconstructor

        model = self.options["model"]
        kinds = embedded_kinds()
        self.reconstructor = self.cleanup.enter_context(
            Reconstructor(
                model,
                tokenizer=self.options["tokenizer"],
                device=self.options["device"],
                timeout_s=self.options["build_s"],
            )  # fmt: skip
        )
        decoder = self.reconstructor.load(kinds[0] if kinds else "points")
        reads = kinds if model == EMBEDDED else sorted(decoder.inputs)
        _warm_pictures()
        return {"reads": list(reads)}

    def answer(self, request: Request) -> None:
        """Do one request and reply; what goes wrong is a reply too."""
        # What libraries write on the side stays in the job's folder, and goes with it.
        tempfile.tempdir = str(Path(request["folder"]) / TMP)
        os.makedirs(tempfile.tempdir, exist_ok=True)
        signal.setitimer(signal.ITIMER_PROF, request["cpu_s"])
        try:
            self._do(request)
        except Cancelled:
            self.reply({"event": "cancelled"})
        except MemoryError:
            self.fail("memory", "it needs more memory than one part may take here")
        except (CheckpointError, MissingDependencyError) as error:
            self.fail("model", str(error))
        except ProgramError as error:
            self.fail("program", str(error), line=error.line, column=error.column)
        except CadwrightError as error:
            self.fail("input", str(error))
        except OSError as error:
            self.fail("storage", f"the server cannot store it: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - logged, and told to the client as a defect
            # A defect met by one part must not cost all who wait behind it a new process.
            _LOG.exception("a part met a defect")
            what = f"the server met an error of its own with this part ({type(error).__name__})"
            self.fail("defect", what, trace=traceback.format_exc())
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _do(self, request: Request) -> None:
        if request["do"] == "preview":
            packed = self.editor.preview(request)
            self.reply({"event": "done"}, [np.frombuffer(packed, np.uint8)])
            return
        if request["do"] == "build":
            document = self.editor.build(request)
        else:
            from cadwright.apps.http.worker.reconstruct_job import reconstruct

            document = reconstruct(self.reconstructor, request, self.emit)
        self.reply({"event": "done", "revision": document["revision"]})

    def emit(self, event: dict[str, Any]) -> None:
        """Send an event on the way, unless the parent wants no more of them.

        Raises:
            Cancelled: it said so, or is gone.
        """
        if select.select([0], [], [], 0)[0]:
            message = receive(0)
            if message is None:
                os._exit(0)  # the server died: nobody waits for this
            if message[0]["do"] == "cancel":
                raise Cancelled
        if event["event"] != "pulse":
            self.reply(event)

    def fail(self, kind: str, detail: str, **more: Any) -> None:
        """Reply that a request cannot be done, and why."""
        self.reply({"event": "error", "kind": kind, "detail": detail, **more})

    def reply(self, header: dict[str, Any], arrays: list[Any] | None = None) -> None:
        """Send one message to the parent."""
        send(self.replies, header, arrays or [])


def limit_this_process(memory_mb: int) -> None:
    """No core file, capped memory and files; Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MB << 20, FILE_MB << 20))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))


def _warm_pictures() -> None:
    """Compile what draws, so that the first job need not."""
    from cadwright.geometry.pictures import comparison_picture
    from cadwright.types import Mesh

    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)
    comparison_picture(Mesh(corners, faces), Mesh(corners, faces), size=64)


def main() -> None:
    """Serve until the parent closes stdin."""
    options = json.loads(sys.argv[-1])
    limit_this_process(options["memory_mb"])
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no reply
    child = Child(options, replies)
    with child.cleanup:
        try:
            facts = child.start()
        except CadwrightError as error:
            child.reply({"event": "broken", "detail": str(error)})
            return
        child.reply({"event": "ready", **facts})
        while (message := receive(0)) is not None:
            if message[0]["do"] != "cancel":  # of a job that was done meanwhile
                child.answer(message[0])
