"""One set of graded programs to optimizer steps.

In: programs with their rewards. Out: a changed model and figures for the log. Dr. CPPO as
cadrille describes it (arXiv 2505.22914, section 4.4), or GRPO; formulas in ``policy_loss``.
Shape suffixes: N parts, M programs a part, K tokens of all kept programs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from cadwright.training.guard import TrainingError
from cadwright.training.rl.config import RLConfig
from cadwright.training.rl.policy_loss import (
    TokenLogs,
    best_of_advantages,
    clipped_loss,
    keep_largest,
    kl_penalty,
    rewards_to_advantages,
    token_logs,
    token_weights,
)
from cadwright.training.rl.prompts import Graded, row_logprobs
from cadwright.training.rl.state import RLRun

Record = dict[str, float]
"""Names of a line of the log with their values."""


def learn(run: RLRun, graded: Graded, rewards: Tensor) -> Record:
    """The optimizer steps on one set of programs; figures for the log.

    Args:
        run: its model changes.
        graded: N parts with M programs each.
        rewards: (N, M).
    Raises:
        TrainingError: a loss or a gradient is not finite.
    """
    config = run.config
    if config.best_of > 1:
        advantages = best_of_advantages(rewards, config.best_of)
    else:
        advantages = rewards_to_advantages(rewards, standardise=config.algorithm == "grpo")
    kept = keep_largest(advantages, config.keep)
    # A part whose programs are all worth the same teaches nothing; it still counts in the mean.
    lively = (advantages.abs().max(dim=1).values > 1e-6).nonzero().squeeze(1)
    portions = [
        _Portion(run, graded, advantages, kept, some)
        for some in lively.split(config.loss_parts)
        if len(some)
    ]
    bonus = config.entropy_weight if graded.rollouts.entropy < config.entropy_floor else 0.0
    sums: defaultdict[str, float] = defaultdict(float)
    run.model.train()
    for update in range(config.updates):
        for portion in portions:
            for name, value in portion.backward(bonus, first=update == 0).items():
                sums[name] += value
        sums["grad_norm"] += _step(run)
    run.model.eval()
    tokens = max(sums.pop("tokens", 0.0), 1.0)
    first_tokens = max(sums.pop("first_tokens", 0.0), 1.0)
    return {
        "lively_share": len(lively) / len(rewards),
        "clip_share": sums["clipped"] / tokens,
        "kl_to_samples": sums["kl_to_samples"] / tokens,
        "logprob_gap": sums["logprob_gap"] / first_tokens,
        "kept_entropy": sums["entropy"] / tokens,
        "grad_norm": sums["grad_norm"] / config.updates,
    }


class _Portion:
    """Some parts of a set with the programs kept of them: what one backward pass takes.

    Args:
        run: the run.
        graded: the whole set.
        advantages: (N, M).
        kept: (N, keep) which samples.
        parts: (n,) which parts.
    """

    def __init__(
        self, run: RLRun, graded: Graded, advantages: Tensor, kept: Tensor, parts: Tensor
    ) -> None:
        self.run, config = run, run.config
        device = run.accelerator.device
        rows = (parts.unsqueeze(1) * advantages.shape[1] + kept[parts]).flatten().to(device)
        on_prompts = parts.to(graded.prompts["input_ids"].device)
        self.prompts = {name: value[on_prompts] for name, value in graded.prompts.items()}
        self.ids = graded.rollouts.ids[rows]
        self.lengths = graded.rollouts.lengths[rows]
        self.drawn_K = row_logprobs(graded.rollouts, rows)
        values = advantages.flatten().to(device)[rows]
        self.advantages_K = values.repeat_interleave(self.lengths)
        self.weights_K = token_weights(
            self.lengths,
            num_rows=config.parts * config.keep,
            constant=None if config.algorithm == "grpo" else config.max_new_tokens,
        )
        self.before_K: Tensor | None = None
        self.reference_K: Tensor | None = None

    def backward(self, bonus: float, *, first: bool) -> Record:
        """Add the gradient of these programs; sums over their tokens, for the log."""
        config = self.run.config
        logs = self._logs(self.run.model)
        if self.before_K is None:
            self.before_K = logs.logprobs_K.detach()
        loss, clipped = clipped_loss(
            logs.logprobs_K, self.before_K, self.advantages_K, self.weights_K,
            clip=config.clip_ratio,
        )  # fmt: skip
        if bonus:
            loss = loss - bonus * (logs.entropies_K * self.weights_K).sum()
        if config.kl_weight:
            if self.reference_K is None:
                with torch.no_grad():
                    self.reference_K = self._logs(self.run.reference).logprobs_K
            kl = kl_penalty(logs.logprobs_K, self.reference_K, self.weights_K)
            loss = loss + config.kl_weight * kl
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"iteration {self.run.progress.step + 1}: the loss is {loss.item()}; "
                "the last checkpoint is good"
            )
        loss.backward()
        gap = self.before_K - logs.logprobs_K.detach()
        sums = {
            "tokens": float(len(gap)),
            "clipped": float(clipped.sum()),
            "entropy": float(logs.entropies_K.detach().sum()),
            "kl_to_samples": float((gap.neg().exp() - 1.0 + gap).sum()),
        }
        if first:  # nothing has changed since they were drawn, but the way they are computed
            sums["first_tokens"] = float(len(gap))
            sums["logprob_gap"] = float((logs.logprobs_K.detach() - self.drawn_K).abs().sum())
        return sums

    def _logs(self, model: Any) -> TokenLogs:
        with self.run.autocast():
            return token_logs(
                model, self.prompts, self.ids, self.lengths,
                temperature=self.run.config.temperature,
            )  # fmt: skip


def _step(run: RLRun) -> float:
    """Average gradients over the processes, clip, update; the norm before clipping."""
    config = run.config
    for param in run.parameters:
        if param.grad is None:
            param.grad = torch.zeros_like(param)
        if run.accelerator.num_processes > 1:
            param.grad.copy_(run.accelerator.reduce(param.grad, reduction="mean"))
    norm = float(torch.nn.utils.clip_grad_norm_(run.parameters, config.clip or math.inf))
    if not math.isfinite(norm):
        raise TrainingError(
            f"iteration {run.progress.step + 1}: the gradient's norm is {norm}; "
            "the last checkpoint is good"
        )
    for group in run.optimizer.param_groups:
        group["lr"] = config.lr * lr_share(run.progress.step, config)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return norm


def lr_share(step: int, config: RLConfig) -> float:
    """The rate of an iteration, counted from 0, as a share of the highest one."""
    rise = min(1.0, (step + 1) / (config.warmup + 1))
    fall = step / config.iterations
    return rise * (1.0 - (1.0 - config.final_lr_share) * min(fall, 1.0))
