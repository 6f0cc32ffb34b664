"""State of a run in one file, from which it goes on: settings, weights that learn, optimizer.

In: named parameters, an optimizer, a number of what is done. Out: ``state.pt``, whole or absent,
read with ``weights_only=True``. Not covered: several machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from cadwright.errors import CheckpointError
from cadwright.geometry.atomic import atomic_write

STATE_NAME = "state.pt"
Settings = Mapping[str, Any]


def to_kept(module: Any, learned: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What learns, and what a module only keeps account of, such as means; all by reference."""
    own = dict(module.named_parameters())
    kept = {f"{prefix}{n}": v for n, v in module.state_dict().items() if n not in own}
    return {**learned, **kept}


def save_state(
    folder: Path, settings: Settings, learned: Mapping[str, Any], optimizer: Any, done: int,
    *, name: str = STATE_NAME,
) -> None:  # fmt: skip
    """Write a state.

    Args:
        folder: of the run.
        settings: plain values that a run that goes on must share.
        learned: name to parameter.
        optimizer: of these.
        done: epochs or steps.
        name: of the file.
    """
    state = {
        "done": done, "settings": dict(settings), "optimizer": optimizer.state_dict(),
        "learned": {name: param.detach().cpu() for name, param in learned.items()},
    }  # fmt: skip
    with atomic_write(folder / name) as draft:
        torch.save(state, draft)


def resume(
    folder: Path, settings: Settings, learned: Mapping[str, Any], optimizer: Any,
    *, name: str = STATE_NAME,
) -> int:  # fmt: skip
    """Put a state back.

    Returns:
        What is done; 0 where there is no state.
    Raises:
        CheckpointError: unreadable, or of another run.
    """
    path = folder / name
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        is_same = state["settings"] == dict(settings)
        is_same = is_same and state["learned"].keys() == learned.keys()
    except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
        raise CheckpointError(f"the state '{path}' cannot be read: {error}") from error
    if not is_same:
        raise CheckpointError(f"'{path}' is of another run; choose another --output_dir")
    with torch.no_grad():
        for key, value in state["learned"].items():
            learned[key].copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["done"])
