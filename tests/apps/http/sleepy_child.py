"""A worker that makes no parts: it does what the upload's text says, to test queue and pool.

Words of an upload: ``sleep SECONDS``, ``die``, ``die once``, ``hang`` (deaf to cancels), ``spin``
(uses the processor), ``eat`` (memory), ``bad`` (an error); anything else is done at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from cadwright.apps.http.worker import Child, limit_this_process
from cadwright.errors import InputError
from cadwright.program._messages import receive


class SleepyChild(Child):
    """Answers 'make' only."""

    def start(self) -> dict[str, Any]:
        return {"reads": ["points"]} if self.role == "make" else {}

    def _do(self, request: dict[str, Any]) -> None:
        folder = Path(request["folder"])
        words = (folder / request["files"][0]).read_text().split()
        self.emit({"event": "progress", "stage": "read", "step": None, "share": 0.1})
        self.obey(words, folder)
        document = {"name": request["name"], "revision": 1, "files": [], "candidates": []}
        document["report"] = {"seed": request["seed"], "words": words, "pid": os.getpid()}
        (folder / "result.json").write_text(json.dumps(document))
        self.reply({"event": "done", "revision": 1})

    def obey(self, words: list[str], folder: Path) -> None:
        verb, *rest = words
        if verb == "sleep":
            end = time.monotonic() + float(rest[0])
            while time.monotonic() < end:
                self.emit({"event": "pulse"})
                time.sleep(0.01)
        elif verb == "die" and not (rest and (folder / "died").exists()):
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif verb == "hang":
            time.sleep(600)
        elif verb == "spin":
            while True:
                pass
        elif verb == "eat":
            bytearray(4 << 30)
        elif verb == "bad":
            raise InputError("this part is bad")


def main() -> None:
    options = json.loads(sys.argv[-1])
    limit_this_process(options["memory_mb"])
    child = SleepyChild(options, os.dup(1))
    child.reply({"event": "ready", **child.start()})
    while (message := receive(0)) is not None:
        if message[0]["do"] != "cancel":
            child.answer(message[0])
