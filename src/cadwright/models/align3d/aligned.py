"""An aligned model from the folder of its training: VAE, projector, language model, adapters.

In: an output folder of ``cadwright align train`` (or of the published scripts: ``train_args.json``
and a projector), with what its arguments name, or the embedded small model. Out: ``Aligned``, in
evaluation mode, whose parts are known to fit. Not covered: asking it (describe).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cadwright.errors import CheckpointError, InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.checkpoint import (
    fits_vae,
    load_lora,
    load_vl_model,
    read_projector,
)
from cadwright.models.align3d.depth_projector import DepthProjector3D
from cadwright.models.align3d.projector import Projector3D
from cadwright.models.folder import read_json
from cadwright.models.vqvae.checkpoint import embedded_vqvae, load_vqvae

EMBEDDED = "embedded"
ASSETS = Path(__file__).parents[2] / "assets" / "describe"
ARGS_NAME = "train_args.json"
LANGUAGE, LORA = "language_final", "lora_final"
PROJECTORS = ("projector_final.safetensors", "projector_final.pt")
_EPOCH = re.compile(r"projector_epoch(\d+)\.pt")


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A model that can be asked about shapes.

    Attributes:
        branch: in evaluation mode, with its VAE.
        tokenizer: of its language model.
        args: what ``train_args.json`` says.
        folder: where it came from.
    """

    branch: Qwen3VLWith3DBranch
    tokenizer: Any
    args: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Files in place of those that ``train_args.json`` names; None keeps its own.

    Attributes:
        vae_config, vae_ckpt: the VAE's.
        vl_model: folder or Hub id of the language model.
        projector: .pt or .safetensors.
        lora: folder of adapters.
    """

    vae_config: str | Path | None = None
    vae_ckpt: str | Path | None = None
    vl_model: str | None = None
    projector: Path | None = None
    lora: Path | None = None


def load_aligned(
    folder: str | Path = EMBEDDED,
    *,
    parts: Parts | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Aligned:
    """Load an aligned model.

    Args:
        folder: 'embedded', or an output folder of a training.
        parts: files that shall take the place of others.
        device: of all parts.
        dtype: of the language model; VAE and projector are float32.
    Raises:
        CheckpointError: a file is missing or unreadable, or parts do not fit.
        InputError: parts do not fit.
    """
    root = ASSETS if str(folder) == EMBEDDED else Path(folder)
    parts = parts or Parts()
    if root == ASSETS and not root.is_dir():
        raise CheckpointError(
            "this package has no describing model of its own: pass --model FOLDER of 'cadwright "
            "align train'"
        )
    if not root.is_dir():
        raise CheckpointError(f"there is no aligned model in {root}: no such folder")
    args = read_json(root / ARGS_NAME)
    vae = _load_vae(args, parts)
    if args.get("vae") is not None and not fits_vae(args, vae):
        raise CheckpointError(
            f"the model in {root} was aligned to another VAE than the one that is there: "
            "pass --vae_config and --vae_ckpt"
        )
    vl_model, tokenizer = load_vl_model(_find_language(root, args, parts), dtype=dtype)
    lora = parts.lora or (root / LORA if (root / LORA).is_dir() else None)
    if lora is not None:
        vl_model = load_lora(vl_model, lora)
    where = parts.projector or _find_projector(root)
    projector = _load_projector(where, args, vl_model, vae)
    branch = Qwen3VLWith3DBranch(
        vl_model, projector, vae, max_3d_tokens=int(args.get("max_3d_tokens", 2048)),
        truncate_mode=args.get("truncate_mode", "head"), block=int(args.get("block", 1)),
    )  # fmt: skip
    branch.requires_grad_(False)
    try:
        return Aligned(branch.to(device).eval(), tokenizer, args, root)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the device '{device}' cannot be used: {reason}") from error


def _load_vae(args: Mapping[str, Any], parts: Parts) -> Any:
    """The VAE that is passed, else that of the training, else the embedded one."""
    config = parts.vae_config or args.get("vae_config")
    weights = parts.vae_ckpt or args.get("vae_ckpt")
    if (config is None) != (weights is None):
        raise InputError("a VAE needs both --vae_config and --vae_ckpt")
    if config is None or weights is None:
        return embedded_vqvae()
    return load_vqvae(config, weights)


def _find_language(root: Path, args: Mapping[str, Any], parts: Parts) -> str | Path:
    if parts.vl_model is not None:
        return parts.vl_model
    if (root / LANGUAGE).is_dir():
        return root / LANGUAGE
    named = args.get("vl_model")
    if not isinstance(named, str):
        raise CheckpointError(f"{root / ARGS_NAME} names no vl_model")
    return named


def _find_projector(root: Path) -> Path:
    """The final projector, or that of the newest epoch."""
    for name in PROJECTORS:
        if (root / name).is_file():
            return root / name
    epochs = {
        int(found.group(1)): path
        for path in root.glob("projector_epoch*.pt")
        if (found := _EPOCH.fullmatch(path.name))
    }
    if not epochs:
        raise CheckpointError(f"the folder {root} holds no projector")
    return epochs[max(epochs)]


def _load_projector(
    path: Path, args: Mapping[str, Any], vl_model: Any, vae: Any
) -> Projector3D | DepthProjector3D:
    """Its width and whether it ends in a norm are read from the file itself."""
    state = {name: value.float() for name, value in read_projector(path).items()}
    hidden = int(vl_model.get_input_embeddings().embedding_dim)
    projector: Projector3D | DepthProjector3D
    if args.get("projector") == "depth":
        size = vae.config.voxel_resolution
        projector = DepthProjector3D(vae.config.latent_dim, hidden, size=size)
    else:
        first = state.get("proj.weight", state.get("proj.0.weight"))
        if first is None or first.ndim != 2:
            raise CheckpointError(f"the projector '{path}' cannot be used: it has no proj.weight")
        projector = Projector3D(
            first.shape[1], hidden, int(args.get("projector_layers", 1)),
            use_3d_pos=bool(args.get("use_3d_pos", False)), final_norm="ln.weight" in state,
        )  # fmt: skip
    try:
        projector.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the projector '{path}' cannot be used: {reason}") from error
    return projector
