"""``cadwright convert TREE --out DIR``: a published data set to Parquet shards.

In: CAD-Recode v1.5, Text2CAD or a folder of meshes, as downloaded. Out: shards in DIR; what could
not be used is counted, and the first few are named. The format is that of ``tree_to_parquet``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cadwright.apps.terminal import at_least, progress_bar


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "convert",
        help="write a published data set as Parquet shards",
        description="Read CAD-Recode v1.5, Text2CAD or a folder of STL meshes as it was "
        "downloaded, draw points, write Parquet shards. Nothing in the files is executed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("tree", metavar="TREE", type=Path, help="the data set's folder")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="output folder")
    parser.add_argument("--split", default="train", help="train, val or test")
    parser.add_argument("--points", type=at_least(1), default=256, help="points a sample")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the points")
    parser.add_argument("--shard-size", type=at_least(1), default=10_000, help="samples a shard")
    parser.add_argument("--workers", type=at_least(1), default=1, help="processes")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Convert.

    Raises:
        InputError: the layout is unknown or broken, or the folder holds shards.
        MissingDependencyError: pyarrow is not installed.
    """
    from cadwright.data.sources import open_source
    from cadwright.data.tree_to_parquet import tree_to_parquet

    source = open_source(args.tree, args.split)
    with progress_bar(len(source), unit="item") as bar:
        found = tree_to_parquet(
            source, args.out, num_points=args.points, seed=args.seed,
            shard_size=args.shard_size, workers=args.workers,
            progress=lambda done: bar.update(done - bar.n),
        )  # fmt: skip
    print(f"{found.written} items of {args.tree} -> {args.out}, {found.left_out} left out")
    for reason in found.reasons:
        print(f"  left out: {reason}")
    return 0
