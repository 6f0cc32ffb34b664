"""``cadwright generate --out DIR --num N``: training samples as Parquet shards, resumable.

In: a seed and how many. Out: shards and statistics.json in DIR; a second call with a larger
``--num`` goes on where the first one ended. The format is that of ``synth.shards``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cadwright.apps.terminal import at_least, progress_bar


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "generate",
        help="write training programs and their points",
        description="Draw programs from a seed, build them, sample points, write Parquet shards.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="output folder")
    parser.add_argument("--num", required=True, type=at_least(1), help="samples in all")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the stream of programs")
    parser.add_argument("--shard-size", type=at_least(1), default=10_000, help="samples a shard")
    parser.add_argument("--points", type=at_least(1), default=256, help="points a sample")
    parser.add_argument("--views", action="store_true", help="with a picture of four views each")
    parser.add_argument("--words", action="store_true", help="with descriptions in words")
    parser.add_argument("--workers", type=at_least(1), default=1, help="processes")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="draw on all of a Ray cluster: HOST:PORT, auto or local"
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Write what is missing of the shards.

    Raises:
        InputError: the folder holds shards of other settings, or there is no such cluster.
        MissingDependencyError: pyarrow is not installed, or ray or numba where they are needed.
    """
    from cadwright.synth.shards import write_shards

    with progress_bar(args.num, unit="sample") as bar:

        def show(written: int, _: int) -> None:
            bar.update(written - bar.n)

        write_shards(
            args.out, num=args.num, seed=args.seed, shard_size=args.shard_size,
            num_points=args.points, views=args.views, words=args.words,
            workers=0 if args.ray else args.workers, ray=args.ray, progress=show,
        )  # fmt: skip
    print(f"{args.num} samples of seed {args.seed} -> {args.out}")
    return 0
