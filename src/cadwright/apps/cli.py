"""The command ``cadwright``: reads the words, calls a command, turns errors into sentences.

In: the words of the command line. Out: results on stdout, errors and progress on stderr, and an
exit status: 0 all done, 1 something could not be done (other parts of the same call still are),
2 the command line makes no sense, 130 Ctrl-C. Nothing heavy is imported here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import cadwright
from cadwright.apps.commands import (
    align,
    compare,
    convert,
    describe,
    evaluate,
    generate,
    reconstruct,
    render,
    run,
    sdf,
    serve,
    train,
)
from cadwright.apps.terminal import print_error
from cadwright.errors import CadwrightError

DONE, FAILED, INTERRUPTED = 0, 1, 130
COMMANDS = (
    reconstruct,
    run,
    render,
    generate,
    convert,
    train,
    sdf,
    evaluate,
    compare,
    describe,
    align,
    serve,
)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: without the program's name; by default those of the process.
    Returns:
        The exit status; ``--help``, ``--version`` and bad usage raise SystemExit instead.
    """
    args = make_parser().parse_args(words)
    try:
        status: int = args.execute(args)
    except (CadwrightError, OSError, MemoryError) as error:
        print_error(error)
        return FAILED
    except KeyboardInterrupt:
        print_error(KeyboardInterrupt("interrupted"))
        return INTERRUPTED
    return status


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each puts its function into ``args.execute``."""
    parser = argparse.ArgumentParser(
        prog="cadwright",
        description="From a mesh or a point cloud to an editable CadQuery program and a STEP file.",
        epilog="Exit status: 0 done, 1 something failed (see stderr), 2 bad usage, 130 Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=f"cadwright {cadwright.__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(verbs)
    return parser
