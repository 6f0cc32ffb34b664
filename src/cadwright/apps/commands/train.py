"""``cadwright train RECIPE.yaml [key=value ...]``: train a model by a recipe.

In: a YAML recipe and changes to it. Out: a run folder (see ``training.sft``; ``training.rl`` for
recipes with ``task: rl``, ``training.vqvae`` for ``task: vqvae``); the folder of the finished
model, or of the newest checkpoint after Ctrl-C, on stdout.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from cadwright.errors import InputError
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
    from cadwright.training.recipe import read_values

    task = read_values(args.recipe, args.changes).get("task", "sft")
    run = {"sft": _supervise, "rl": _reinforce, "vqvae": _compress}.get(str(task))
    if run is None:
        raise InputError(f"the setting 'task' must be sft, rl or vqvae, not {task!r}")
    folder = run(args)
    if os.environ.get("RANK", "0") == "0":  # set by torchrun; the others would say it again
        print(folder)
    return 0


def _supervise(args: argparse.Namespace) -> Path:
    from cadwright.training.config import load_config

    config = load_config(args.recipe, args.changes)
    _require_packages("torch", "transformers", "accelerate")
    from cadwright.training.sft import train

    return train(config)


def _reinforce(args: argparse.Namespace) -> Path:
    from cadwright.training.rl.config import load_rl_config

    config = load_rl_config(args.recipe, args.changes)
    _require_packages("torch", "transformers", "accelerate")
    from cadwright.training.rl.run import train_rl

    return train_rl(config)


def _compress(args: argparse.Namespace) -> Path:
    from cadwright.training.vqvae.config import load_config

    config = load_config(args.recipe, args.changes)
    _require_packages("torch", "numba")
    from cadwright.training.vqvae.run import train

    return train(config)


def _require_packages(*packages: str) -> None:
    for package in packages:
        require(package, extra="train")
