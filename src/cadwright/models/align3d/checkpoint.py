"""Language models by their model_type, projectors and LoRA adapters: from and to files.

In: a folder or Hub id of Qwen2-VL, Qwen2.5-VL or Qwen3-VL; a projector's .pt. Out: the model of
the right class; weights loaded whole or not at all. Files are read with ``weights_only=True``.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from cadwright.errors import CheckpointError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.align3d.projector import Projector3D
from cadwright.models.folder import read_json, to_folder
from cadwright.optional import require

CLASSES = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
}
LORA_TARGETS = r".*language_model.*layers\.\d+\.self_attn\.(q|k|v|o)_proj"
"""Attention of the decoder; the vision tower's matrices have other names."""


def model_type_to_class(model_type: str) -> Any:
    """The transformers class for a configuration's ``model_type``.

    Raises:
        CheckpointError: it is no Qwen-VL.
    """
    if model_type not in CLASSES:
        raise CheckpointError(
            f"the language model must be one of {', '.join(CLASSES)}, not {model_type!r}"
        )
    return getattr(require("transformers", extra="model"), CLASSES[model_type])


def load_vl_model(
    path_or_id: str | Path, *, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, Any]:
    """A language model and its tokenizer.

    Args:
        path_or_id: folder, or Hub id.
        dtype: of the weights.
    Raises:
        CheckpointError: there is none, or it is no Qwen-VL.
    """
    transformers = require("transformers", extra="model")
    folder = to_folder(path_or_id)
    model_type = str(read_json(folder / "config.json").get("model_type"))
    model = model_type_to_class(model_type).from_pretrained(folder, dtype=dtype)
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def add_lora(vl_model: nn.Module, *, rank: int = 8) -> nn.Module:
    """Trainable low-rank matrices beside the decoder's attention, by peft; alpha is 2 ``rank``."""
    peft = require("peft", extra="train")
    settings = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=LORA_TARGETS, bias="none"
    )
    adapted: nn.Module = peft.get_peft_model(vl_model, settings)
    return adapted


def load_lora(vl_model: nn.Module, folder: str | Path, *, trainable: bool = False) -> nn.Module:
    """A language model with the adapters that a run saved.

    Raises:
        CheckpointError: the folder holds none.
    """
    if not (Path(folder) / "adapter_config.json").is_file():
        raise CheckpointError(f"the folder '{folder}' holds no LoRA adapters")
    peft = require("peft", extra="train")
    adapted: nn.Module = peft.PeftModel.from_pretrained(vl_model, folder, is_trainable=trainable)
    return adapted


def save_projector(path: str | Path, projector: Projector3D) -> None:
    """The state dict, whole or not at all."""
    state = {name: value.detach().cpu() for name, value in projector.state_dict().items()}
    with atomic_write(Path(path)) as draft:
        torch.save(state, draft)


def load_projector(path: str | Path, projector: Projector3D) -> None:
    """Put a file's weights into a projector, every one of them.

    Raises:
        CheckpointError: unreadable, or of another shape.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        projector.load_state_dict(state, strict=True)
    except (OSError, RuntimeError, TypeError, AttributeError, UnpicklingError, EOFError) as error:
        raise CheckpointError(f"the projector '{path}' cannot be used: {error}") from error
