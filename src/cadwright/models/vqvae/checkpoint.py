"""VQ-VAE files: a config of the published shape and weights in either convolution layout.

In: JSON, and .safetensors or .pt. Out: a model in evaluation mode whose every tensor was in the
file. Names are the published ones; ``conv.kernel`` (torchsparse) and ``conv.weight`` (spconv) are
both read, the first is written. A file that lacks a tensor, or has one too many, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from cadwright.errors import CheckpointError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.layers.sparse_backend import spconv_to_kernel
from cadwright.models.vqvae.config import VqVaeConfig, config_to_json, read_config
from cadwright.models.vqvae.model import SparseSDFVQVAE

CONFIG_NAME, WEIGHTS_NAME = "vqvae.json", "model.safetensors"
EMBEDDED = Path(__file__).parents[2] / "assets" / "vqvae"
# Running means of a training: a file for use may lack them, one of a training may have them.
TRAINING_STATE = ("vq.ema_cluster_size", "vq.ema_w", "vq._ema_initialized")
WRAPPERS = ("state_dict", "vae", "model")
State = dict[str, Tensor]


def load_vqvae(
    config: str | Path | VqVaeConfig,
    checkpoint: str | Path,
    *,
    device: torch.device | str = "cpu",
) -> SparseSDFVQVAE:
    """A trained VQ-VAE, frozen and in evaluation mode.

    Args:
        config: the JSON file, or what was read from it.
        checkpoint: its weights.
        device: where it goes. Weights become float32, whatever the file holds.
    Raises:
        CheckpointError: a file is unreadable, or the two do not fit.
    """
    settings = config if isinstance(config, VqVaeConfig) else read_config(config)
    model = SparseSDFVQVAE(settings)
    load_weights(model, checkpoint)
    return model.requires_grad_(False).eval().to(device)


def embedded_vqvae(*, device: torch.device | str = "cpu") -> SparseSDFVQVAE:
    """The small VQ-VAE of this package: generated parts at resolution 64.

    Raises:
        CheckpointError: the package was installed without it.
    """
    return load_vqvae(EMBEDDED / CONFIG_NAME, EMBEDDED / WEIGHTS_NAME, device=device)


def load_weights(
    model: SparseSDFVQVAE, checkpoint: str | Path, *, new_codebook: bool = False
) -> None:
    """Put a file's weights into a model.

    Args:
        model: changed in place.
        checkpoint: .safetensors or .pt.
        new_codebook: the file is that of a plain VAE; the codebook stays as it is.
    Raises:
        CheckpointError: unreadable, or a tensor is missing, left over or of another shape.
    """
    state = to_own_layout(read_state(checkpoint))
    wanted = model.state_dict()
    optional = set(TRAINING_STATE) | ({"vq.embeddings.weight"} if new_codebook else set())
    found = {name: value for name, value in state.items() if name in wanted}
    _account(checkpoint, wanted, state, optional)
    for name, value in found.items():
        if value.shape != wanted[name].shape:
            raise CheckpointError(
                f"{checkpoint}: {name} has shape {tuple(value.shape)}, the config asks for "
                f"{tuple(wanted[name].shape)}"
            )
    model.load_state_dict({**wanted, **found}, strict=True)


def read_state(checkpoint: str | Path) -> State:
    """The tensors of a file, as they are named in it.

    Raises:
        CheckpointError: unreadable, or no file of tensors.
    """
    path = Path(checkpoint)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise CheckpointError(f"the VAE checkpoint '{path}' cannot be read: {error}") from error
    except Exception as error:  # noqa: BLE001 - safetensors has an error class of its own
        raise CheckpointError(f"the VAE checkpoint '{path}' is damaged: {error}") from error
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"the VAE checkpoint '{path}' holds no dict of tensors")
    return {str(name): value for name, value in content.items()}


def to_own_layout(state: Mapping[str, Tensor]) -> State:
    """Names without a wrapper's prefix, convolutions as (27, Cin, Cout) or (Cin, Cout)."""
    found: State = {}
    for name, value in state.items():
        name = name.removeprefix("module.")
        if name.endswith(".conv.weight"):
            if value.ndim != 5:
                raise CheckpointError(f"{name} is no convolution of spconv: {tuple(value.shape)}")
            name, value = name.removesuffix("weight") + "kernel", spconv_to_kernel(value)
        found[name] = value
    return found


def save_vqvae(folder: str | Path, model: SparseSDFVQVAE, *, dtype: torch.dtype) -> None:
    """Config and weights for use, without the state of a training.

    Args:
        folder: made where it is missing.
        model: left as it is.
        dtype: of the file.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: value.detach().cpu().to(dtype).contiguous()
        for name, value in model.state_dict().items()
        if name not in TRAINING_STATE
    }
    with atomic_write(folder / WEIGHTS_NAME) as draft:
        save_file(state, draft, metadata={"format": "pt"})
    with atomic_write(folder / CONFIG_NAME) as draft:
        draft.write_text(config_to_json(model.config), encoding="utf-8")


def _account(
    checkpoint: str | Path, wanted: Mapping[str, Tensor], state: State, optional: set[str]
) -> None:
    """Every tensor of both sides, or the first ones that are not there, in a sentence."""
    missing = sorted(wanted.keys() - state.keys() - optional)
    surplus = sorted(state.keys() - wanted.keys() - optional)
    for what, names in (("lacks", missing), ("has, but its config does not,", surplus)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"the VAE checkpoint '{checkpoint}' {what} {names[0]}{more}: "
                "config and checkpoint do not fit"
            )
