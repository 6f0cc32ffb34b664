"""Loss over samples, with each text at its own shape or at another one's.

In: a joined model and samples of either form. Out: the mean loss a supervised token. The gap
between the two is the evidence that it is the shape that speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cadwright.errors import InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.collate import IGNORE, Item, collate_3d_text

SHAPE_KEYS = ("feats_3d", "coords_3d", "inputs_3d")


def mean_loss(
    branch: Qwen3VLWith3DBranch, items: Sequence[Item], *, batch_size: int, shuffle: bool = False
) -> float:
    """Mean loss a supervised token.

    Args:
        branch: put back into the mode it was in.
        items: samples of one form.
        batch_size: samples at a time.
        shuffle: each text gets the shape of the next sample.
    Raises:
        InputError: there is no sample, or a shuffle of fewer than two.
    """
    num = len(items)
    if num < (2 if shuffle else 1):
        raise InputError("the loss needs a sample, and a shuffle two")
    was, total, count = branch.training, 0.0, 0
    branch.eval()
    with torch.no_grad():
        for first in range(0, num, batch_size):
            rows = range(first, min(first + batch_size, num))
            chosen = [items[k] for k in rows]
            if shuffle:
                chosen = [
                    _with_shape(item, items[(k + 1) % num])
                    for k, item in zip(rows, chosen, strict=True)
                ]
            batch = to_device(collate_3d_text(chosen), branch.device)
            tokens = int((batch["labels"][:, 1:] != IGNORE).sum())
            total, count = total + float(branch(**batch).loss) * tokens, count + tokens
    branch.train(was)
    return total / count


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The tensors of a batch on a device; those of raw shapes follow the VAE by themselves."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }


def _with_shape(text: Item, shape: Item) -> dict[str, Any]:
    kept = {name: value for name, value in text.items() if name not in SHAPE_KEYS}
    return {**kept, **{name: shape[name] for name in SHAPE_KEYS if name in shape}}
