"""Attention over prompts that are read once and continued many times.

In: a model whose prompts were prefilled, and new tokens of M continuations of each prompt. Out:
logits, with gradients into the prompt where they are wanted. Neither the prompt's keys and values
nor its points are copied for every continuation. Not covered: sampling (rollout).
Shape suffixes: N prompts, M continuations of each, R = N * M rows, T new tokens, S prompt
positions, H heads, K key-value heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

NAME = "cadwright_shared_prompt"
ROOM = 32  # tokens that keys and values are given room for at once


class SharedPrompt:
    """The keys and values of prompts, and of what was written after them.

    Takes the place of a cache of transformers. Rows continue prompts: at first M of them each,
    in order, later those that ``select`` kept.

    Args:
        cache: what ``model.prefill`` returned for all but the last token of each prompt.
        mask_NS: (N, S) of the prefilled positions, 0 at padding.
        samples: M.
        keep: whether tokens come in several calls; otherwise all come in one, whose keys
            and values are then not kept.
    """

    def __init__(self, cache: Any, mask_NS: Tensor, *, samples: int, keep: bool = False) -> None:
        self.keys = [layer.keys for layer in cache.layers]
        self.values = [layer.values for layer in cache.layers]
        self.samples, self.keep = samples, keep
        valid_NS = mask_NS != 0
        starts_N = valid_NS.sum(dim=1)
        shifts_N1 = getattr(cache, "rope_shifts_B1", None)  # behind pictures, see Cadrille
        if shifts_N1 is not None:
            starts_N = starts_N + shifts_N1.squeeze(1)
        self.starts_R = starts_N.repeat_interleave(samples)
        self.blocked_NS = None if bool(valid_NS.all()) else ~valid_NS
        # Where each row stands among N * M places; None while every place is taken.
        self.places_R: Tensor | None = None
        self._written: list[tuple[Tensor, Tensor] | None] = [None] * len(self.keys)
        self._length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions before the next call's; never 0, so that no model reads points again."""
        return max(1, self.keys[0].shape[2] + self._length)

    def positions(self, num_new: int) -> Tensor:
        """(R, T) rotary positions of the next ``num_new`` tokens."""
        steps = torch.arange(self._length, self._length + num_new, device=self.starts_R.device)
        return self.starts_R.unsqueeze(1) + steps

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep (R, K, T, D) keys and values of new tokens; all of them since the prompt."""
        if not self.keep:
            return keys, values
        end = self._length + keys.shape[2]
        kept = self._written[layer_idx]
        room = 0 if kept is None else kept[0].shape[2]
        if end > room:
            more = (*keys.shape[:2], end - room + ROOM, keys.shape[3])
            fresh = keys.new_zeros(more), values.new_zeros(more)
            if kept is not None:
                fresh = torch.cat((kept[0], fresh[0]), 2), torch.cat((kept[1], fresh[1]), 2)
            kept = self._written[layer_idx] = fresh
        assert kept is not None
        kept[0][:, :, self._length : end] = keys
        kept[1][:, :, self._length : end] = values
        return kept[0][:, :, :end], kept[1][:, :, :end]

    def advance(self, num_new: int) -> None:
        """All layers have seen the new tokens."""
        self._length += num_new

    def select(self, rows: Tensor) -> None:
        """Keep some rows, in ascending order, and the prompts that they continue."""
        places = rows if self.places_R is None else self.places_R[rows]
        prompts, row_to_prompt, counts = torch.unique_consecutive(
            places // self.samples, return_inverse=True, return_counts=True
        )
        if len(prompts) < len(self.keys[0]):
            self.keys = [keys[prompts] for keys in self.keys]
            self.values = [values[prompts] for values in self.values]
            if self.blocked_NS is not None:
                self.blocked_NS = self.blocked_NS[prompts]
        firsts = counts.cumsum(0) - counts
        ranks = torch.arange(len(rows), device=rows.device) - firsts[row_to_prompt]
        self.samples = int(counts.max())
        self.places_R = row_to_prompt * self.samples + ranks
        self.starts_R = self.starts_R[rows]
        self._written = [
            None if kept is None else (kept[0][rows], kept[1][rows]) for kept in self._written
        ]

    def subset(self, rows: Tensor) -> SharedPrompt:
        """The same for some rows, in ascending order; this one stays as it is."""
        some = copy(self)
        some._written = list(self._written)
        some.select(rows)
        return some

    def by_prompt(self, x_RKX: Tensor) -> Tensor:
        """(R, K, Q, X) by rows to (N, K, M * Q, X) by prompts; zeros at places not taken."""
        rows, heads, queries, width = x_RKX.shape
        prompts = len(self.keys[0])
        if self.places_R is not None:
            places = x_RKX.new_zeros(prompts * self.samples, heads, queries, width)
            x_RKX = places.index_copy_(0, self.places_R, x_RKX)
        x = x_RKX.reshape(prompts, self.samples, heads, queries, width)
        return x.transpose(1, 2).reshape(prompts, heads, self.samples * queries, width)

    def by_row(self, x_NKX: Tensor) -> Tensor:
        """The way back from ``by_prompt``."""
        prompts, heads, queries, width = x_NKX.shape
        x = x_NKX.reshape(prompts, heads, self.samples, queries // self.samples, width)
        x = x.transpose(1, 2).reshape(prompts * self.samples, heads, -1, width)
        return x if self.places_R is None else x[self.places_R]


def continue_prompts(
    model: Any, input_ids: Tensor, shared: SharedPrompt, *, keep: Tensor | None = None
) -> Tensor:
    """Logits of the tokens after the given ones.

    Args:
        model: CADRecode or a Cadrille.
        input_ids: (R, T), the first of them the last token of each prompt.
        shared: the prompts; moved on by T tokens.
        keep: (R, T) bool, where logits are wanted; everywhere if left out.

    Returns:
        (R, T, V), or (number kept, V).
    """
    with _attention(model):
        logits: Tensor = model(
            input_ids=input_ids,
            position_ids=shared.positions(input_ids.shape[1]),
            past_key_values=shared,
            shared_prompt=shared,
            logits_to_keep=0 if keep is None else keep,
        ).logits
    shared.advance(input_ids.shape[1])
    return logits


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    shared_prompt: SharedPrompt,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of new tokens to their prompt and to themselves, for transformers' interface.

    Args:
        module: the attention layer; its number says which keys of the prompt are meant.
        query: (R, H, T, D) of the new tokens.
        key: (R, K, L, D) of the tokens since the prompt, the new ones last.
        value: as ``key``.
        attention_mask: not used: padding of the prompt is known, and nothing else is padded.
        scaling: of the products; by default 1 / sqrt(D).
        dropout: not used; policies are trained without.
        shared_prompt: the prompts.

    Returns:
        (R, T, H, D), and None for the weights.
    """
    prompt_keys = shared_prompt.keys[module.layer_idx]
    rows, heads, new, width = query.shape
    kv_heads, seen = prompt_keys.shape[1:3]
    query = query * (width**-0.5 if scaling is None else scaling)
    # The queries that share a key-value head stand side by side.
    query = query.reshape(rows, kv_heads, heads // kv_heads * new, width)
    to_prompt = shared_prompt.by_prompt(query) @ prompt_keys.transpose(-1, -2)
    if shared_prompt.blocked_NS is not None:
        to_prompt = to_prompt.masked_fill(shared_prompt.blocked_NS[:, None, None], -torch.inf)
    to_written = query @ key.transpose(-1, -2)
    if new > 1:
        length = key.shape[2]
        later = torch.ones(new, length, dtype=torch.bool, device=key.device)
        later = later.triu(length - new + 1).repeat(heads // kv_heads, 1)
        to_written = to_written.masked_fill(later, -torch.inf)
    scores = torch.cat((shared_prompt.by_row(to_prompt), to_written), dim=-1)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    of_prompt, of_written = weights.split((seen, key.shape[2]), dim=-1)
    mixed = shared_prompt.by_prompt(of_prompt) @ shared_prompt.values[module.layer_idx]
    mixed = shared_prompt.by_row(mixed) + of_written @ value
    return mixed.reshape(rows, heads, new, width).transpose(1, 2), None


AttentionInterface.register(NAME, attend)


@contextmanager
def _attention(model: Any) -> Iterator[None]:
    """Let the decoder use ``attend``; what it used before comes back, errors or not."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
