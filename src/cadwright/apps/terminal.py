"""How the commands speak to a person: one sentence for an error, a progress bar on a terminal.

Errors and progress go to stderr, so that stdout holds results only. Nothing heavy is imported
before it is needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
