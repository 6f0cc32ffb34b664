"""``cadwright train RECIPE.yaml [key=value ...]``: train a model by a recipe.

In: a flat YAML recipe and changes to it. Out: a run folder (see ``training.sft``); the folder
of the finished model, or of the newest checkpoint after Ctrl-C, on stdout.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from cadwright.optional import require


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "train",
        help="train a model by a recipe",
        description="Train, or go on with a training that was stopped. Ctrl-C leaves a checkpoint.",
        epilog="Several GPUs: torchrun --nproc-per-node N -m cadwright.training.sft RECIPE.yaml, "
        "or accelerate launch with a file of recipes/accelerate.",
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="settings to change")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Train.

    Raises:
        InputError: the recipe or a change makes no sense.
        CadwrightError: training cannot go on.
    """
    from cadwright.training.config import load_config

    config = load_config(args.recipe, args.changes)
    for package in ("torch", "transformers", "accelerate"):
        require(package, extra="train")
    from cadwright.training.sft import train

    folder = train(config)
    if os.environ.get("RANK", "0") == "0":  # set by torchrun; the others would say it again
        print(folder)
    return 0
