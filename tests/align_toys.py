"""Tiny parts of an alignment for tests: a VAE, a language model, a data folder, made in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import manifold3d as m3
import pytest
import torch

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.stl import save_stl
from cadwright.models.vqvae.checkpoint import save_vqvae
from cadwright.models.vqvae.config import VqVaeConfig
from cadwright.models.vqvae.model import SparseSDFVQVAE
from cadwright.training.align import language
from cadwright.training.align.language import LanguageArgs, new_language_model
from cadwright.training.align.language_texts import vocabulary_texts
from cadwright.training.align.warm_up import warm_up
from cadwright.training.align.words_tokenizer import build_words_tokenizer

VAE_CONFIG = VqVaeConfig(
    resolution=4, num_levels=2, model_channels=16, latent_channels=4, num_blocks=1, num_heads=2,
    mlp_ratio=1.0, window_size=4, num_embeddings=32, num_groups=1, published_pool=False,
    threshold_factor=1.2,
)  # fmt: skip
TINY = {
    "hidden_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 32,
}  # fmt: skip
NUM_WORDS = 6  # programs that give the tokenizer its words


def make_vae(seed: int = 0) -> SparseSDFVQVAE:
    torch.manual_seed(seed)
    return SparseSDFVQVAE(VAE_CONFIG).requires_grad_(False).eval()


def save_vae(folder: Path, seed: int = 0) -> tuple[str, str]:
    """Config and checkpoint of a VAE with random weights."""
    save_vqvae(folder, make_vae(seed), dtype=torch.float32)
    return str(folder / "vqvae.json"), str(folder / "model.safetensors")


def make_tokenizer() -> Any:
    return build_words_tokenizer(vocabulary_texts(NUM_WORDS, seed=language.VOCABULARY_SEED))


def save_language(folder: Path, **changes: Any) -> str:
    """A language model with random weights and its tokenizer."""
    tokenizer = make_tokenizer()
    model: Any = new_language_model(LanguageArgs(**{**TINY, **changes}), tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_boxes(folder: Path) -> Path:
    """Three boxes as STL with a captions file; some have questions."""
    rows: list[dict[str, Any]] = []
    for number, height in enumerate((10.0, 20.0, 30.0)):
        name = f"box{number}.stl"
        save_stl(manifold_to_mesh(m3.Manifold.cube((30, 20, height))), folder / name)
        rows.append({"shape": name, "captions": [f"Main body: a box. There are {number} bodies."]})
    rows[0]["questions"] = [["How many holes are there?", "It has 0 through holes."]]
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def warmed_up_at_once_and_in_two(
    new_projector: Callable[[], Any], shapes: Any, folder: Path
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights after four epochs in one go, and after a stop in the third."""

    def stop(line: str) -> None:
        if "epoch 3 of" in line:
            raise KeyboardInterrupt

    whole, stopped = new_projector(), new_projector()
    for name in ("whole", "stopped"):
        (folder / name).mkdir()
    warm_up(whole, shapes, epochs=4, folder=folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        warm_up(stopped, shapes, epochs=4, folder=folder / "stopped", say=stop)
    resumed = new_projector()
    warm_up(resumed, shapes, epochs=4, folder=folder / "stopped")
    return whole.state_dict(), resumed.state_dict()
