"""A worker that makes no parts: it does what the upload's text says, to test queue and pool.

Words of an upload: ``sleep SECONDS``, ``hold`` (until its folder has a file ``go``), ``die``,
``die once``, ``hang`` (deaf to cancels), ``spin`` (uses the processor), ``eat`` (memory), ``bad``
(an error); anything else is done at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from cadwright.apps.http.worker.child import Child, limit_this_process
from cadwright.errors import InputError
from cadwright.program._messages import receive


class ScriptedChild(Child):
    """Reads nothing; a build lasts until somebody deletes the job."""

    def start(self) -> dict[str, Any]:
        return {"reads": ["points"]} if self.role == "reconstruct" else {}

    def _do(self, request: dict[str, Any]) -> None:
        folder = Path(request["folder"])
        if request["do"] == "build":
            self.build(folder)
            return
        words = (folder / request["files"][0]).read_text().split()
        self.emit({"event": "progress", "stage": "read", "step": None, "share": 0.1})
        self.obey(words, folder)
        document = {"name": request["name"], "revision": 1, "files": [], "candidates": []}
        document["report"] = {"seed": request["seed"], "words": words, "pid": os.getpid()}
        (folder / "result.json").write_text(json.dumps(document))
        self.reply({"event": "done", "revision": 1})

    def build(self, folder: Path) -> None:
        """As a worker does whose job went meanwhile: it writes where the folder was."""
        (folder / "building").touch()
        while folder.exists():
            time.sleep(0.01)
        folder.mkdir()
        self.reply({"event": "done", "revision": 2})

    def obey(self, words: list[str], folder: Path) -> None:
        verb, *rest = words
        if verb == "sleep":
            end = time.monotonic() + float(rest[0])
            while time.monotonic() < end:
                self.emit({"event": "pulse"})
                time.sleep(0.01)
        elif verb == "hold":
            while not (folder / "go").exists():
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
    child = ScriptedChild(options, os.dup(1))
    child.reply({"event": "ready", **child.start()})
    while (message := receive(0)) is not None:
        if message[0]["do"] != "cancel":
            child.answer(message[0])
