"""Parameter groups with rates of their own, AdamW, and Muon for the matrices in the layers.

In: a model and a TrainConfig. Out: one optimizer whose rates a schedule scales. Not covered: the
schedule (schedule), gradient clipping and gradient averaging (the Trainer).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

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


class AdamWithMuon(AdamW):
    """AdamW for most groups, and for those with a ``momentum`` Muon.

    Muon's update is the momentum made orthogonal. torch.optim.Muon does the same in bfloat16,
    one matrix at a time; on processors without bfloat16 arithmetic that costs more than the
    rest of the step. Here matrices of one shape go through float32 together. The update is
    scaled by 0.2 sqrt(max(M, N)), so that its size per entry is that of AdamW at the same rate
    (Liu et al. 2025, arXiv 2502.16982).

    Args:
        groups: parameter groups; Muon's hold matrices, ``momentum`` (Nesterov's form), ``lr``
            and ``weight_decay`` (decoupled, times the rate).
        **kwargs: AdamW's.
    """

    def __init__(self, groups: list[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(groups, **kwargs)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; closures are not supported."""
        groups = self.param_groups
        muon = [group for group in groups if "momentum" in group]
        try:
            self.param_groups = [group for group in groups if "momentum" not in group]
            super().step()
        finally:
            self.param_groups = groups
        for group in muon:
            by_shape: dict[tuple[torch.Size, torch.device], list[nn.Parameter]] = {}
            for param in group["params"]:
                if param.grad is not None:
                    by_shape.setdefault((param.shape, param.device), []).append(param)
            for params in by_shape.values():
                self._update(params, group)

    def _update(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Muon on matrices of one shape together."""
        directions = []
        for param in params:
            assert param.grad is not None
            state = self.state[param]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(param)
                state["step"] = torch.zeros(())  # AdamW looks for it in all that it loads
            state["step"] += 1
            buffer = state["momentum_buffer"]
            buffer.lerp_(param.grad, 1.0 - group["momentum"])
            directions.append(param.grad.lerp(buffer, group["momentum"]))
        updates = orthogonalize(torch.stack(directions))
        scale = 0.2 * math.sqrt(max(updates.shape[-2:]))
        for param, update in zip(params, updates, strict=True):
            param.mul_(1.0 - group["lr"] * group["weight_decay"])
            param.add_(update, alpha=-group["lr"] * scale)


def make_optimizer(model: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW with groups by part of the model; with Muon where ``muon_lr`` is not 0.

    Each group's ``name`` is that of its part, with '.vectors' for norms and biases, which do
    not decay.
    """
    rates = {
        "decoder": config.lr,
        "encoder": config.lr if config.encoder_lr is None else config.encoder_lr,
        "vision": config.lr if config.vision_lr is None else config.vision_lr,
    }
    by_name: dict[str, list[nn.Parameter]] = {}
    for name, param in model.named_parameters():
        if param.requires_grad:
            group = _group_of(name, param, muon=config.muon_lr > 0)
            by_name.setdefault(group, []).append(param)
    groups = [
        _settings(name, config, rates) | {"params": params}
        for name, params in sorted(by_name.items())
    ]
    kwargs: dict[str, Any] = {"lr": config.lr, "betas": (0.9, config.adam_beta2), "fused": True}
    return AdamWithMuon(groups, **kwargs) if config.muon_lr > 0 else AdamW(groups, **kwargs)


def part_of(name: str) -> str:
    """Which part of the model a parameter belongs to: decoder, encoder or vision."""
    if "point_encoder." in name:
        return "encoder"
    return "vision" if "visual." in name else "decoder"


def _group_of(name: str, param: nn.Parameter, *, muon: bool) -> str:
    """The name of a parameter's group."""
    part = part_of(name)
    if param.ndim < 2:
        return f"{part}.vectors"
    if muon and part == "decoder" and param.ndim == 2 and ".layers." in name:
        return "muon"
    return part


def _settings(name: str, config: TrainConfig, rates: dict[str, float]) -> dict[str, Any]:
    """Rate and decay of a group."""
    if name == "muon":
        rate, extra = config.muon_lr, {"momentum": config.momentum}
    else:
        rate, extra = rates[name.partition(".")[0]], {}
    decay = 0.0 if name.endswith(".vectors") else config.weight_decay
    return {"name": name, "lr": rate, "weight_decay": decay, **extra}
