"""Language models by their model_type, projectors and LoRA adapters: from and to files.

In: a folder or Hub id of Qwen2-VL, Qwen2.5-VL or Qwen3-VL; a projector's .pt. Out: the model of
the right class; weights loaded whole or not at all. Files are read with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from cadwright.errors import CheckpointError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.folder import read_json, to_folder
from cadwright.models.vqvae.checkpoint import TRAINING_STATE
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
    kind = model_type_to_class(str(read_json(folder / "config.json").get("model_type")))
    try:
        model, found = kind.from_pretrained(folder, dtype=dtype, output_loading_info=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the language model in {folder} cannot be read: {reason}") from error
    missing = sorted(set(found["missing_keys"]) - set(model.all_tied_weights_keys))
    if missing:  # transformers would go on with random numbers
        raise CheckpointError(f"the language model in {folder} lacks {missing[0]}")
    if tokenizer.chat_template is None:
        raise CheckpointError(f"the tokenizer in {folder} has no chat template")
    return model, tokenizer


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


def save_projector(path: str | Path, projector: nn.Module) -> None:
    """The state dict, whole or not at all."""
    state = {name: value.detach().cpu() for name, value in projector.state_dict().items()}
    with atomic_write(Path(path)) as draft:
        torch.save(state, draft)


def load_projector(path: str | Path, projector: nn.Module) -> None:
    """Put a file's weights into a projector, every one of them.

    Raises:
        CheckpointError: unreadable, or of another shape.
    """
    try:
        projector.load_state_dict(read_projector(path), strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the projector '{path}' cannot be used: {error}") from error


def read_projector(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .pt or .safetensors file.

    Raises:
        CheckpointError: unreadable, or no dict of tensors.
    """
    try:
        if Path(path).suffix == ".safetensors":
            state: Any = require("safetensors.torch", extra="model").load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, UnpicklingError, EOFError) as error:
        raise CheckpointError(f"the projector '{path}' cannot be used: {error}") from error
    except Exception as error:  # noqa: BLE001 - safetensors has an error class of its own
        raise CheckpointError(f"the projector '{path}' is damaged: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"the projector '{path}' cannot be used: it is no dict of tensors")
    return state


def vae_to_fingerprints(vae: Any, *, depth: bool = False) -> dict[str, str]:
    """Short names of what an aligned model depends on: codes of another VAE mean something else.

    Args:
        vae: the frozen VAE.
        depth: also its decoder, which draws the depth maps of one kind of projector.
    """
    state = {k: v for k, v in sorted(vae.state_dict().items()) if k not in TRAINING_STATE}
    drawing = {name: value for name, value in state.items() if name.startswith("decoder.")}
    coding = {name: value for name, value in state.items() if name not in drawing}
    return {"vae": _digest(coding), **({"decoder": _digest(drawing)} if depth else {})}


def fits_vae(info: Mapping[str, Any], vae: Any) -> bool:
    """Whether the fingerprints among what was noted of codes or a training are those of a VAE."""
    known = vae_to_fingerprints(vae, depth="decoder" in info)
    return all(info.get(name) == value for name, value in known.items())


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.detach().to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()[:16]
