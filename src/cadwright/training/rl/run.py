"""``python -m cadwright.training.rl.run RECIPE.yaml [key=value ...]``: reinforcement learning.

In: a recipe with ``task: rl``. Out: a run folder (see loop); its ``final/``. For several
processes: ``torchrun --nproc-per-node N -m`` or ``accelerate launch -m``. Imports no torch until a
run begins, since the workers that compute rewards import this module again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cadwright.errors import CadwrightError
from cadwright.optional import require
from cadwright.training.rl.config import RLConfig, load_rl_config


def train_rl(config: RLConfig) -> Path:
    """Improve a model by trial and reward, or go on with a run that was stopped.

    Args:
        config: the settings.

    Returns:
        The run folder's ``final/``: the best weights of all evaluations, the start included
        (the last weights where evaluations are off). The newest checkpoint where time ran out
        first or the run was interrupted.

    Raises:
        TrainingError: a loss or gradient is not finite.
        CheckpointError: a model or checkpoint does not fit or cannot be written.
        InputError: no parts to learn from, or too many that are no solids.
        MissingDependencyError: a package is missing.
    """
    for package in ("torch", "transformers"):
        require(package, extra="model")
    require("accelerate", extra="train")
    from cadwright.training.rl.loop import train

    return train(config)


def main(words: Sequence[str] | None = None) -> int:
    """Command line: a recipe, then overrides."""
    words = sys.argv[1:] if words is None else words
    try:
        if not words:
            raise CadwrightError("usage: -m cadwright.training.rl.run RECIPE.yaml [key=value]")
        sys.stdout.write(f"{train_rl(load_rl_config(words[0], words[1:]))}\n")
    except CadwrightError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
