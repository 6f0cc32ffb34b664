"""An aligned model as one folder that needs nothing but its VAE.

In: a loaded model. Out: ``projector_final.safetensors``, ``language_final/`` (adapters merged) and
``train_args.json`` without paths of the machine it was made on; what ``load_aligned`` reads. The
VAE is not copied: the embedded one, or --vae_config and --vae_ckpt again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from cadwright.errors import InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.align3d.aligned import ARGS_NAME, LANGUAGE, PROJECTORS, Aligned
from cadwright.models.align3d.checkpoint import vae_to_fingerprints
from cadwright.optional import require

# What the model is; the rest of a run's arguments is about how it came to be.
KEPT = (
    "max_3d_tokens", "use_3d_pos", "projector_layers", "projector", "truncate_mode", "block",
    "latent_dim",
)  # fmt: skip


def export_aligned(
    aligned: Aligned, folder: str | Path, *, dtype: torch.dtype = torch.float16
) -> Path:
    """Write the folder.

    Args:
        aligned: changed: its language model gets ``dtype``, adapters are merged into it.
        folder: made where it is missing.
        dtype: of the files.
    Raises:
        InputError: it is the folder that the model came from.
    """
    folder = Path(folder)
    if folder.resolve() == aligned.folder.resolve():
        raise InputError(f"{folder}: export into another folder than the model's own")
    folder.mkdir(parents=True, exist_ok=True)
    language: Any = aligned.branch.vl_model
    if hasattr(language, "merge_and_unload"):
        language = language.merge_and_unload()
    language.to(dtype).save_pretrained(folder / LANGUAGE)
    aligned.tokenizer.save_pretrained(folder / LANGUAGE)
    state = {
        name: value.detach().cpu().to(dtype).contiguous()
        for name, value in aligned.branch.projector.state_dict().items()
    }
    with atomic_write(folder / PROJECTORS[0]) as draft:
        require("safetensors.torch", extra="model").save_file(state, draft)
    args = {name: aligned.args[name] for name in KEPT if name in aligned.args}
    args |= vae_to_fingerprints(aligned.branch.vae, depth=args.get("projector") == "depth")
    with atomic_write(folder / ARGS_NAME) as draft:
        draft.write_text(json.dumps(args, indent=2) + "\n", encoding="utf-8")
    return folder
