"""How much arithmetic a training step is, and which share of a GPU's peak that takes.

In: a model, and the shapes of its batches. Out: floating-point operations, and the published
peak of known GPUs. Counted are products of matrices, forward and backward; not norms, softmax,
what activation checkpointing computes twice, or what the last layer leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cadwright.models.layers.last_layer import NarrowsDown
from cadwright.training.optimizer import part_of

PEAKS = {
    "B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12,
    "L4": 121e12, "A10": 125e12, "4090": 165e12, "3090": 71e12,
}  # fmt: skip
"""Dense bfloat16 operations a second, from the vendor's data sheets."""


class FlopCounter:
    """Counts the operations of batches of one model.

    Args:
        model: CADRecode or Cadrille, adapters or not.
    """

    def __init__(self, model: Any) -> None:
        sizes = {"decoder": 0.0, "vision": 0.0, "encoder": 0.0, "told": 0.0}
        decoder = model.config.get_text_config()
        narrow = any(isinstance(module, NarrowsDown) for module in model.modules())
        last = f".layers.{decoder.num_hidden_layers - 1}.mlp."
        for name, param in model.named_parameters():
            if param.ndim >= 2 and "embed_tokens" not in name:
                part = "told" if narrow and last in name else part_of(name)
                # Frozen matrices pass gradients on, but have none of their own.
                sizes[part] += param.numel() * (6 if param.requires_grad else 4)
        head = decoder.vocab_size * decoder.hidden_size * 6
        if any("lm_head" in name for name, _ in model.named_parameters()):
            sizes["decoder"] -= head  # counted by tokens that are told, below
        self._sizes, self._head = sizes, head
        self._attention = 6 * decoder.num_hidden_layers * decoder.hidden_size

    def count(self, inputs: Mapping[str, Tensor]) -> float:
        """Operations of one forward and backward pass over a batch as ``forward`` takes it."""
        rows, width = inputs["input_ids"].shape
        told = int(inputs["labels"].ne(-100).sum())
        flops = rows * width * (self._sizes["decoder"] + self._attention * width)
        flops += told * (self._head + self._sizes["told"])
        for name in ("point_cloud", "point_clouds"):
            if name in inputs:
                flops += inputs[name].shape[0] * inputs[name].shape[1] * self._sizes["encoder"]
        if "video_grid_thw" in inputs:
            patches = int(inputs["video_grid_thw"].prod(dim=-1).sum())
            flops += patches * self._sizes["vision"]
        return float(flops)


def peak_flops(device: torch.device, dtype: str) -> float | None:
    """Operations a second that a GPU can do at best; None where nobody told us."""
    if device.type != "cuda" or dtype != "bfloat16":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for known, peak in PEAKS.items() if known in name), None)
