"""What masks and labels say of each position, and which positions a call has to do with.

In: attention masks, labels and hidden states. Out: the mask and positions that the decoder gets,
and the positions whose logits are wanted. Not covered: making masks (see the processors).
Shape suffixes: B batch, T tokens of this call, S tokens seen so far, D width.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from torch import Tensor, nn
from transformers import Cache

POINT_MARK, TOKEN, PADDING = -1, 1, 0
"""Values of an attention mask; where points do not stand apart they count as tokens."""

NO_LOSS = -100
"""The label of positions that are not learned."""


def is_empty(cache: Cache | None) -> bool:
    """Whether no position has been read yet."""
    return cache is None or int(cache.get_seq_length()) == 0


def is_plain(mask: Any) -> TypeGuard[Tensor]:
    """Whether this is a (B, S) mask, not None and not one the library has made ready."""
    return isinstance(mask, Tensor) and mask.ndim == 2


def settle_padding(mask: Any, num_new: int, *, fresh: bool) -> tuple[Any, Tensor | None]:
    """Mask and positions of a call that brings no positions of its own.

    Padding on the right is out of sight of every token, so unless there are earlier
    positions the mask is dropped, and attention takes its fast causal path.

    Args:
        mask: (B, S) as given to ``forward``, or None, or one the library has made ready.
        num_new: T.
        fresh: whether these are the first positions, S = T.

    Returns:
        The mask or None, and (B, T) positions or None for 0, 1, 2, ...
    """
    if not is_plain(mask):
        return mask, None
    valid = mask != PADDING
    if fresh and not (valid[:, 1:] & ~valid[:, :-1]).any():
        return None, None
    positions = (valid.long().cumsum(dim=-1) - 1).clamp_min(0)
    return mask, positions[:, -num_new:]


def keep_positions(
    hidden_BTD: Tensor, labels: Tensor | None, logits_to_keep: int | Tensor
) -> tuple[Tensor, Tensor | None]:
    """The positions to compute logits for, and what each of them should predict.

    Args:
        hidden_BTD: (B, T, D) what the decoder made of each position, or (N, D) of those kept.
        labels: (B, T) token ids, ``NO_LOSS`` where nothing is learned; None without a loss.
        logits_to_keep: the last so many positions (0: all), or an index into T, or a (B, T)
            bool mask.

    Returns:
        The hidden states kept, and the label of the next token at each, or None.
    """
    kept: Any = logits_to_keep
    if isinstance(logits_to_keep, int):
        kept = (slice(None), slice(-logits_to_keep, None))
    elif logits_to_keep.ndim == 1:
        kept = (slice(None), logits_to_keep)
    hidden = hidden_BTD if hidden_BTD.ndim == 2 else hidden_BTD[kept]
    if labels is None:
        return hidden, None
    # Position t predicts the label of t + 1; the last one predicts nothing.
    targets = nn.functional.pad(labels[:, 1:], (0, 1), value=NO_LOSS)
    return hidden, targets[kept].contiguous()
