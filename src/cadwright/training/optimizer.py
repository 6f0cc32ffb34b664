"""Muon for the matrices inside the layers, AdamW for everything else.

In: a model and a TrainConfig. Out: optimizers whose rates are set from one share per step.
Not covered: the schedule that gives that share (schedule), gradient clipping (sft).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from cadwright.training.config import TrainConfig

# Coefficients of the quintic iteration of Muon (Jordan et al. 2024,
# kellerjordan.github.io/posts/muon): steepest at zero, so few iterations are enough.
_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, *, iterations: int = 5) -> Tensor:
    """Push all singular values towards 1 (to 0.7 .. 1.2), keeping the singular vectors.

    Args:
        matrices: (K, M, N) float32.
        iterations: Newton-Schulz steps.

    Returns:
        (K, M, N), in the dtype given.
    """
    a, b, c = _QUINTIC
    wide = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    x = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrices.shape[-2] > matrices.shape[-1] else x


class Muon(Optimizer):
    """Momentum whose update is made orthogonal, matrix by matrix.

    torch.optim.Muon does the same in bfloat16, one matrix at a time; on processors without
    bfloat16 arithmetic that costs more than the rest of the step. Here matrices of one
    shape go through float32 together. The update is scaled by 0.2 sqrt(max(M, N)), so that
    its size per entry is that of AdamW at the same rate (Liu et al. 2025, arXiv 2502.16982).

    Args:
        params: matrices.
        lr: rate.
        momentum: decay of the running gradient; Nesterov's form.
        weight_decay: decoupled, times the rate.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient; closures are not supported."""
        for group in self.param_groups:
            by_shape: dict[tuple[torch.Size, torch.device], list[nn.Parameter]] = {}
            for param in group["params"]:
                if param.grad is not None:
                    by_shape.setdefault((param.shape, param.device), []).append(param)
            for params in by_shape.values():
                self._update(params, group)

    def _update(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Matrices of one shape together."""
        directions = []
        for param in params:
            assert param.grad is not None
            state = self.state[param]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(param)
            buffer = state["momentum_buffer"]
            buffer.lerp_(param.grad, 1.0 - group["momentum"])
            directions.append(param.grad.lerp(buffer, group["momentum"]))
        updates = orthogonalize(torch.stack(directions))
        scale = 0.2 * math.sqrt(max(updates.shape[-2:]))
        for param, update in zip(params, updates, strict=True):
            param.mul_(1.0 - group["lr"] * group["weight_decay"])
            param.add_(update, alpha=-group["lr"] * scale)


def make_optimizers(model: nn.Module, config: TrainConfig) -> dict[str, Optimizer]:
    """AdamW, and Muon where ``muon_lr`` is not 0, by name.

    Each parameter group keeps its highest rate as ``peak_lr``.
    """
    hidden, matrices, rest = _split_parameters(model)
    if config.muon_lr == 0:
        matrices, hidden = matrices + hidden, []
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    optimizers: dict[str, Optimizer] = {
        "adamw": AdamW(groups, lr=config.lr, betas=(0.9, config.adam_beta2), fused=True)
    }
    if hidden:
        optimizers["muon"] = Muon(
            hidden, lr=config.muon_lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_lr_share(optimizers: Iterable[Optimizer], share: float) -> None:
    """Set every group's rate to a share of its highest one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share


def _split_parameters(
    model: nn.Module,
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Matrices inside the decoder layers; other matrices; vectors."""
    hidden: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        if param.ndim < 2:
            rest.append(param)
        else:
            (hidden if ".layers." in name else matrices).append(param)
    return hidden, matrices, rest
