"""``cadwright compare A B ... --out DIR``: reports of several models, held against each other.

In: report folders of ``cadwright evaluate``, the first being what the others are compared with.
Out: compare.md, compare.json and plots in DIR, and the table on stdout.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cadwright.apps.terminal import at_least
from cadwright.errors import InputError


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "compare",
        help="reports of several models side by side on the same parts",
        description="Paired differences between reports of 'cadwright evaluate', with bootstrap "
        "intervals and a radar plot. Reports about different parts are refused.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "reports", nargs="+", metavar="[NAME=]REPORT", help="a report folder, maybe with a name"
    )
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="output folder")
    parser.add_argument(
        "--common", action="store_true", help="compare the parts that all reports have"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the bootstrap")
    parser.add_argument("--draws", type=at_least(1), default=1000, help="of the bootstrap")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Compare, write, print.

    Raises:
        InputError: a folder is no report, or the reports do not fit together.
    """
    from cadwright.evaluation.compare import compare, comparison_to_markdown

    figures = compare(
        named_reports(args.reports), args.out, common=args.common, seed=args.seed,
        num_draws=args.draws,
    )  # fmt: skip
    print(comparison_to_markdown(figures, ()))
    return 0


def named_reports(words: list[str]) -> dict[str, Path]:
    """Name to folder; the folder's own name where none is given.

    Raises:
        InputError: two reports have one name.
    """
    named: dict[str, Path] = {}
    for word in words:
        name, mark, folder = word.partition("=")
        path = Path(folder if mark else word)
        name = name if mark else path.resolve().name
        if name in named:
            raise InputError(f"two reports are called '{name}': name them, as in A={path}")
        named[name] = path
    return named
