"""LoRA: small trained matrices beside the frozen ones (Hu et al. 2021, arXiv 2106.09685).

In: a CADRecode or Cadrille. Out: it inside peft's wrapper, adapters and point encoder trained;
or, after training, a plain model with the adapters added in. Also freezes the vision tower.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cadwright.optional import require
from cadwright.training.config import TrainConfig

TARGETS = r".*layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
"""The matrices of the decoder's layers; the vision tower's are called blocks."""


def prepare_weights(model: Any, config: TrainConfig) -> Any:
    """Freeze what is not to be trained, and add adapters where the config asks for them.

    Frozen weights are kept in ``config.dtype``; those that are trained are float32.
    """
    if config.vision_lr == 0.0 and hasattr(model, "model") and hasattr(model.model, "visual"):
        model.model.visual.requires_grad_(False)
    if not config.lora_rank:
        return model
    peft = require("peft", extra="train")
    settings = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=TARGETS,
        modules_to_save=["point_encoder"],
        bias="none",
    )
    model.to(getattr(torch, config.dtype))
    adapted = peft.get_peft_model(model, settings)
    for param in adapted.parameters():
        if param.requires_grad:
            param.data = param.data.float()
    return adapted


def merge_adapters(model: Any, folder: Path) -> Any:
    """A plain float32 model: ``model`` with the adapters of a checkpoint folder added in."""
    peft = require("peft", extra="train")
    return peft.PeftModel.from_pretrained(model.float(), folder).merge_and_unload()
