"""Rewards -> advantages -> the clipped loss of Dr. CPPO, and of GRPO, which it extends.

In: rewards of M samples of each of N parts, log-probabilities before and now. Out: a loss to go
down, and figures to watch. Pure functions of tensors, and one forward pass. Not covered: sampling
(rollout), rewards (rewards), the optimizer (loop).
Shape suffixes: N parts, M samples of each, R rows, T tokens, K tokens of all rows in one list.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cadwright.training.rl.rollout import read_prompts
from cadwright.training.rl.shared_prompt import continue_prompts

SMALLEST_STD = 1e-4  # of the rewards of a part, where they are divided by it
LIKE_LENGTH = 0.75  # programs of less than this share of the longest's tokens are read apart


@dataclass(frozen=True, slots=True, eq=False)
class TokenLogs:
    """The policy's view of sampled programs, token by token, rows one after the other.

    Attributes:
        logprobs_K: of each token.
        entropies_K: nats, of the distribution each stands in.
    """

    logprobs_K: Tensor
    entropies_K: Tensor


def rewards_to_advantages(rewards_NM: Tensor, *, standardise: bool) -> Tensor:
    """How much better a sample is than the mean of its part's samples.

    Dr. GRPO (arXiv 2503.20783) leaves the difference as it is; GRPO (arXiv 2402.03300)
    divides it by the standard deviation, which weighs parts that are nearly solved most.

    Returns:
        (N, M) float32; each row has mean 0.
    """
    centred = rewards_NM - rewards_NM.mean(dim=1, keepdim=True)
    if not standardise:
        return centred
    std = rewards_NM.std(dim=1, keepdim=True, correction=0)
    return centred / (std + SMALLEST_STD)


def best_of_advantages(rewards_NM: Tensor, k: int) -> Tensor:
    """What a sample adds, on average, to the best of k - 1 others of its part.

    Its gradient is that of the expected best of k samples (Walder and Karkhanis, arXiv
    2505.15201), which is what a search uses that keeps the best: a sample counts only where it
    beats others, so differing well is worth more than being alike and fair.

    Args:
        rewards_NM: of M samples of each of N parts.
        k: 2 to M.

    Returns:
        (N, M) float32, none negative.
    """
    num = rewards_NM.shape[1]
    # The best of k - 1 drawn from M - 1 in ascending order is the j-th so often:
    chances = torch.tensor(
        [math.comb(j, k - 2) / math.comb(num - 1, k - 1) for j in range(num - 1)],
        dtype=rewards_NM.dtype,
    )
    columns = []
    for sample in range(num):
        others = torch.cat((rewards_NM[:, :sample], rewards_NM[:, sample + 1 :]), dim=1)
        gains = (rewards_NM[:, sample : sample + 1] - others.sort(dim=1).values).clamp_min(0)
        columns.append((gains * chances).sum(dim=1))
    return torch.stack(columns, dim=1)


def keep_largest(advantages_NM: Tensor, num: int) -> Tensor:
    """CPPO (arXiv 2503.22342): of each part, the samples that there is most to learn from.

    Returns:
        (N, num) int64, which samples, in ascending order; of equally large advantages the
        first ones.
    """
    order = advantages_NM.abs().argsort(dim=1, descending=True, stable=True)
    return order[:, :num].sort(dim=1).values


def token_logs(
    model: Any,
    prompts: Mapping[str, Tensor],
    ids_RT: Tensor,
    lengths_R: Tensor,
    *,
    temperature: float = 1.0,
) -> TokenLogs:
    """Read sampled programs in a forward pass; each prompt is read once for all of them.

    Args:
        model: CADRecode or a Cadrille.
        prompts: of N parts, padded on the left.
        ids_RT: R = N * M programs, those of one part side by side, end tokens included.
        lengths_R: tokens of each.
        temperature: they were sampled at.
    """
    num_samples = len(ids_RT) // len(prompts["input_ids"])
    shared, last = read_prompts(model, prompts, num_samples=num_samples)
    logprobs, entropies, owners = [], [], []
    for rows in by_length(lengths_R):
        lengths = lengths_R[rows]
        width = int(lengths.max())
        ids, wanted = ids_RT[rows, :width], lengths_to_mask(lengths, width)
        read = torch.cat((last[rows], ids[:, :-1]), dim=1)
        some = shared.subset(rows)
        logits_KV = continue_prompts(model, read, some, keep=wanted).float() / temperature
        logs = logits_KV.log_softmax(dim=-1)
        logprobs.append(logs.gather(1, ids[wanted].unsqueeze(1)).squeeze(1))
        entropies.append(-(logs.exp() * logs).sum(dim=-1))
        owners.append(rows.repeat_interleave(lengths))
    in_order = torch.cat(owners).argsort(stable=True)
    return TokenLogs(torch.cat(logprobs)[in_order], torch.cat(entropies)[in_order])


def by_length(lengths_R: Tensor) -> list[Tensor]:
    """Rows in groups of like length, so that little of a batch is padding.

    Returns:
        Row numbers, ascending in each group; the shortest of a group has at least
        ``LIKE_LENGTH`` of the tokens of its longest.
    """
    groups: list[list[int]] = []
    longest = 0
    lengths = lengths_R.tolist()
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not groups or lengths[row] < LIKE_LENGTH * longest:
            groups.append([])
            longest = lengths[row]
        groups[-1].append(row)
    return [torch.tensor(sorted(group), device=lengths_R.device) for group in groups]


def lengths_to_mask(lengths_R: Tensor, width: int) -> Tensor:
    """(R, T) bool, true at tokens."""
    return torch.arange(width, device=lengths_R.device) < lengths_R.unsqueeze(1)


def token_weights(lengths_R: Tensor, *, num_rows: int, constant: int | None) -> Tensor:
    """What a token counts in the loss, tokens of all rows in one list.

    Args:
        lengths_R: tokens of each row.
        num_rows: rows of the whole batch, of which these may be a portion.
        constant: Dr. GRPO divides every row's sum by this one number; None divides it by
            the row's length, as GRPO does, so that long mistakes cost less per token.

    Returns:
        (K,) float32.
    """
    divisors = lengths_R if constant is None else torch.full_like(lengths_R, constant)
    return (1.0 / (num_rows * divisors.float())).repeat_interleave(lengths_R)


def clipped_loss(
    logprobs_K: Tensor, before_K: Tensor, advantages_K: Tensor, weights_K: Tensor, *, clip: float
) -> tuple[Tensor, Tensor]:
    """PPO's clipped objective (arXiv 1707.06347), negated, and where it is clipped.

    Args:
        logprobs_K: now, with gradient.
        before_K: of the policy that the programs were sampled from.
        advantages_K: that of its row, at each token.
        weights_K: see ``token_weights``.
        clip: largest change of a probability's ratio from 1 that is still rewarded.

    Returns:
        The loss, and (K,) bool, true where the clip stops the gradient.
    """
    ratio = (logprobs_K - before_K).exp()
    plain = ratio * advantages_K
    bounded = ratio.clamp(1.0 - clip, 1.0 + clip) * advantages_K
    return -(torch.minimum(plain, bounded) * weights_K).sum(), bounded < plain


def kl_penalty(logprobs_K: Tensor, reference_K: Tensor, weights_K: Tensor) -> Tensor:
    """Divergence from a reference, by the estimate of GRPO: never negative, 0 where equal."""
    gap = reference_K - logprobs_K
    return ((gap.exp() - gap - 1.0) * weights_K).sum()
