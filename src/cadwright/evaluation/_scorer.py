"""Child side of the pool: reads parts from stdin, writes events to stdout, a line of JSON each.

Started as a process of its own with its options as the last argument. Memory is capped by the
system where that can be done (RLIMIT_DATA, Linux); time is watched by the parent, which kills.
"""

from __future__ import annotations

import json
import os
import sys
from typing import IO

from cadwright.errors import MissingDependencyError
from cadwright.evaluation.pictures import draw_pair
from cadwright.evaluation.scoring import Event, PartScorer, ScoringOptions, json_to_part


def main() -> None:
    """Serve until the parent closes stdin."""
    values = json.loads(sys.argv[-1])
    options = ScoringOptions(**{**values, "protocols": tuple(values["protocols"])})
    _limit_memory(options.memory_mb)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no reply
    with PartScorer(options) as scorer:
        _reply(replies, {"event": "ready"})
        for line in sys.stdin:
            try:
                _serve(scorer, json.loads(line), replies)
            except MissingDependencyError as error:
                _reply(replies, {"event": "fatal", "error": str(error)})
                return


def _serve(scorer: PartScorer, request: Event, replies: IO[str]) -> None:
    part = json_to_part(request["part"])
    if request["do"] == "draw":
        _reply(replies, draw_pair(scorer, part, request["path"]))
    else:
        for event in scorer.events(part):
            _reply(replies, event)
    _reply(replies, {"event": "done"})


def _reply(replies: IO[str], event: Event) -> None:
    replies.write(json.dumps(event) + "\n")
    replies.flush()


def _limit_memory(memory_mb: int) -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
