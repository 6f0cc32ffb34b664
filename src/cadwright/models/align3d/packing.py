"""3-D and text tokens side by side, with all padding on one side, and padded cells as plain rows.

In: embeddings and masks of both kinds. Out: one sequence a sample, its rotary positions and labels.
Shape suffixes: B batch, T text tokens, N 3-D tokens, L tokens of both kinds, H width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cadwright.errors import InputError
from cadwright.models.align3d.collate import IGNORE


class Packed(NamedTuple):
    """3-D and text tokens of each sample side by side.

    Attributes:
        embeds: (B, L, H).
        mask: (B, L) int64.
        positions: (3, B, L) rotary positions, the same on all three axes.
        labels: (B, L), or None.
    """

    embeds: Tensor
    mask: Tensor
    positions: Tensor
    labels: Tensor | None


def pack(
    embeds_3d: Tensor,
    mask_3d: Tensor,
    embeds_text: Tensor,
    mask_text: Tensor,
    labels: Tensor | None,
    *,
    side: str,
) -> Packed:
    """Put the 3-D tokens of each sample right before its text, all padding on one side.

    Args:
        embeds_3d: (B, N, H), cast to the type of the text's.
        mask_3d: (B, N) False at padding.
        embeds_text: (B, T, H).
        mask_text: (B, T) 0 at padding.
        labels: (B, T), or None.
        side: ``right`` or ``left``: where padding goes.
    """
    device = embeds_text.device
    embeds = torch.cat([embeds_3d.to(embeds_text), embeds_text], dim=1)
    mask = torch.cat([mask_3d.to(device).bool(), mask_text.to(device).bool()], dim=1)
    late = mask if side == "left" else ~mask
    order = torch.argsort(late.int(), dim=1, stable=True)
    length = int(mask.sum(dim=1).max())
    order = order[:, -length:] if side == "left" else order[:, :length]
    mask = mask.gather(1, order)
    embeds = embeds.gather(1, order[..., None].expand(-1, -1, embeds.shape[2]))
    positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0).expand(3, -1, -1)
    if labels is not None:
        nothing = labels.new_full(mask_3d.shape, IGNORE)
        labels = torch.cat([nothing, labels], dim=1).gather(1, order).masked_fill(~mask, IGNORE)
    return Packed(embeds, mask.long(), positions, labels)


def flatten_cells(
    feats: Tensor | None, coords: Tensor | None, mask: Tensor | None, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Rows of all samples, without padding, with their number in the first coordinate."""
    if feats is None or coords is None:
        raise InputError("a shape is given as inputs_3d, or as feats_3d with coords_3d")
    if feats.ndim != 3 or coords.shape != (*feats.shape[:2], 4) or len(feats) != batch_size:
        raise InputError(
            f"feats_3d must be ({batch_size}, N, D) and coords_3d ({batch_size}, N, 4), not "
            f"{tuple(feats.shape)} and {tuple(coords.shape)}"
        )
    if mask is None:
        mask = torch.ones(feats.shape[:2], dtype=torch.bool, device=feats.device)
    numbered = coords.long().clone()
    numbered[..., 0] = torch.arange(batch_size, device=coords.device)[:, None]
    return feats[mask.bool()], numbered[mask.bool()]
