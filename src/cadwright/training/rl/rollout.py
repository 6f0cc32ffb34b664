"""Prompts -> sampled programs, many at once: what reinforcement learning spends its time on.

In: a model and the prompts its processor made. Out: token ids, with the log-probability of each
and the entropy it was drawn with. A prompt is read once for all its samples, and rows that have
ended leave the batch. Not covered: texts (the processor) and rewards (rewards).
Shape suffixes: N prompts, M samples of each, R = N * M rows, T new tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cadwright.training.rl.shared_prompt import SharedPrompt, continue_prompts

SHARE_ENDED = 0.2  # of the rows, before those that have ended are taken out


@dataclass(frozen=True, slots=True, eq=False)
class Rollouts:
    """What was sampled; row n * M + m is sample m of prompt n.

    Attributes:
        ids: (R, T) int64; the end token is part of a program, padding follows it.
        lengths: (R,) tokens of each, the end token included.
        ended: (R,) bool; false where the limit cut the program off.
        logprobs: (R, T) float32, of each token as it was drawn; 0 at padding.
        entropies: (R, T) float32, nats, of the distribution each was drawn from; 0 at padding.
    """

    ids: Tensor
    lengths: Tensor
    ended: Tensor
    logprobs: Tensor
    entropies: Tensor

    @property
    def entropy(self) -> float:
        """Mean over all tokens, nats."""
        return float(self.entropies.sum() / self.lengths.sum())


@torch.no_grad()
def sample_rollouts(
    model: Any,
    prompts: Mapping[str, Tensor],
    *,
    num_samples: int,
    max_new_tokens: int,
    end_id: int,
    pad_id: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Rollouts:
    """Continue every prompt ``num_samples`` times.

    Args:
        model: CADRecode or a Cadrille; used in evaluation mode.
        prompts: what the processor returns without programs, padded on the left.
        num_samples: M.
        max_new_tokens: T at most.
        end_id: the token that ends a program.
        pad_id: what stands behind it.
        temperature: the logits are divided by it; 0 takes the likeliest token.
        generator: fixes the samples, on the model's device.

    Returns:
        N * M rollouts on the model's device.
    """
    training = model.training
    model.eval()
    try:
        shared, last = read_prompts(model, prompts, num_samples=num_samples, keep=True)
        return _write(model, shared, last, max_new_tokens, end_id, pad_id, temperature, generator)
    finally:
        model.train(training)


def read_prompts(
    model: Any, prompts: Mapping[str, Tensor], *, num_samples: int, keep: bool = False
) -> tuple[SharedPrompt, Tensor]:
    """Prefill prompts but for their last token.

    Returns:
        The prompts, to be continued ``num_samples`` times each, and (R, 1) the last tokens.
    """
    inputs = {name: value.to(model.device) for name, value in prompts.items()}
    ids, mask = inputs.pop("input_ids"), inputs.pop("attention_mask")
    cache = model.prefill(ids[:, :-1], attention_mask=mask[:, :-1], **inputs)
    shared = SharedPrompt(cache, mask[:, :-1], samples=num_samples, keep=keep)
    return shared, ids[:, -1:].repeat_interleave(num_samples, dim=0)


def _write(
    model: Any,
    shared: SharedPrompt,
    last: Tensor,
    max_new_tokens: int,
    end_id: int,
    pad_id: int,
    temperature: float,
    generator: torch.Generator | None,
) -> Rollouts:
    """Token after token, until all rows have ended or the limit is reached."""
    num_rows, device = len(last), last.device
    shape = (num_rows, max_new_tokens)
    ids = torch.full(shape, pad_id, dtype=torch.long, device=device)
    logprobs, entropies = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
    ended = torch.zeros(num_rows, dtype=torch.bool, device=device)
    rows = torch.arange(num_rows, device=device)  # of those still in the batch
    for step in range(max_new_tokens):
        logits_RV = continue_prompts(model, last, shared)[:, -1].float()
        tokens, logprob, entropy = _draw(logits_RV, temperature, generator)
        open_ = ~ended[rows]
        ids[rows, step] = torch.where(open_, tokens, pad_id)
        logprobs[rows, step] = torch.where(open_, logprob, 0.0)
        entropies[rows, step] = torch.where(open_, entropy, 0.0)
        ended[rows] |= tokens == end_id
        last = tokens.unsqueeze(1)
        still = (~ended[rows]).nonzero().squeeze(1)
        if len(still) == 0:
            break
        if len(still) <= (1.0 - SHARE_ENDED) * len(rows):
            shared.select(still)
            rows, last = rows[still], last[still]
    width = step + 1
    lengths = _lengths(ids[:, :width], ended, end_id)
    return Rollouts(ids[:, :width], lengths, ended, logprobs[:, :width], entropies[:, :width])


def _lengths(ids: Tensor, ended: Tensor, end_id: int) -> Tensor:
    """(R,) tokens of each row: up to its first end token, or all of them."""
    first = (ids == end_id).int().argmax(dim=1) + 1
    return torch.where(ended, first, ids.shape[1])


def _draw(
    logits_RV: Tensor, temperature: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(R,) tokens, their log-probabilities, and the entropies they were drawn with."""
    logs = torch.log_softmax(logits_RV / (temperature or 1.0), dim=-1)
    probabilities = logs.exp()
    if temperature:
        tokens = torch.multinomial(probabilities, 1, generator=generator)
    else:
        tokens = logs.argmax(dim=-1, keepdim=True)
    entropy = torch.special.entr(probabilities).sum(dim=-1)
    return tokens.squeeze(1), logs.gather(1, tokens).squeeze(1), entropy
