"""How the commands speak to a person: one sentence for an error, a progress bar on a terminal.

Errors and progress go to stderr, so that stdout holds results only. Nothing heavy is imported
before it is needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cadwright.errors import CadwrightError, MissingDependencyError


def print_error(error: BaseException, *, about: str = "") -> str:
    """Print ``cadwright: part.stl: what is wrong`` on stderr.

    Args:
        error: its message is one sentence.
        about: the file in question; left out where the message begins with its name.
    Returns:
        The sentence without the leading ``cadwright: ``.
    """
    sentence = " ".join(describe(error).split())
    if about and not sentence.startswith(f"{about}: "):
        tail = about.replace("\\", "/").rsplit("/", 1)[-1]
        sentence = sentence.removeprefix(f"{tail}: ")
        sentence = f"{about}: {sentence}"
    print(f"cadwright: {sentence}", file=sys.stderr)
    return sentence


def describe(error: BaseException) -> str:
    """The error as a sentence, also where it is not one of ours."""
    if isinstance(error, MemoryError):
        return "this machine has too little memory for it"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def try_part(part: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What came of one part of several: its entry, or one that holds the error, which is printed.

    Raises:
        MissingDependencyError: of every part the same, so the first one ends the call.
    """
    try:
        return work()
    except MissingDependencyError:
        raise
    except (CadwrightError, OSError, MemoryError) as error:
        return {"part": str(part), "error": print_error(error, about=str(part))}


def end_parts(entries: list[dict[str, Any]], *, as_json: bool) -> int:
    """Print the entries of all parts as one JSON array, if asked to.

    Returns:
        The exit status: 1 if a part failed.
    """
    if as_json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    return 1 if any("error" in entry for entry in entries) else 0


@contextmanager
def progress_bar(total: float, **options: Any) -> Iterator[Any]:
    """A tqdm bar on stderr; it stays silent where stderr is not a terminal."""
    from tqdm import tqdm

    with tqdm(total=total, file=sys.stderr, disable=not sys.stderr.isatty(), **options) as bar:
        yield bar


def at_least(lowest: int) -> Any:
    """An argparse type: whole numbers from ``lowest`` on."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"{value} is less than {lowest}")
        return value

    return whole_number


def seconds(text: str) -> float:
    """An argparse type: finite, not negative."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no span of time")
    return value
