"""Training of the VQ-VAE: stages, resume, log, slabs, score, recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cadwright.errors import CadwrightError, CheckpointError, InputError
from cadwright.geometry.mesh_to_sdf import SparseSdf
from cadwright.models.vqvae import SparseSDFVQVAE, load_vqvae
from cadwright.models.vqvae.checkpoint import read_state
from cadwright.training.vqvae.config import (
    VqVaeTrainConfig,
    config_from_recipe,
    config_to_recipe,
    load_config,
)
from cadwright.training.vqvae.data import (
    PartStream,
    VqVaeBatch,
    draw_part,
    sdfs_to_training_batch,
    to_slab,
)
from cadwright.training.vqvae.run import list_checkpoints, train
from cadwright.training.vqvae.scales import fit_scales

TINY_MODEL: dict[str, Any] = {
    "resolution": 4, "num_levels": 2, "model_channels": 16, "latent_channels": 4, "num_blocks": 1,
    "num_heads": 2, "num_groups": 4, "window_size": 2, "num_embeddings": 16,
    "published_pool": False, "prune": True, "use_ema_update": True, "use_kmeans_reinit": True,
    "kmeans_interval": 2, "reservoir_size": 200, "threshold_factor": 2.0,
}  # fmt: skip


def ball_sdf(radius: float) -> SparseSdf:
    grid = np.argwhere(np.ones((16,) * 3, dtype=bool))
    away = np.linalg.norm(grid - 7.5, axis=1) - radius
    near = np.abs(away) <= 2.0
    return SparseSdf((away[near] / 2).astype(np.float32), grid[near].astype(np.int32), 16, 2.0)


def get_ball(step: int) -> VqVaeBatch:
    return sdfs_to_training_batch([ball_sdf(3.5 + step % 4 * 0.6)], device="cpu")


def make_config(folder: Path, **changes: Any) -> VqVaeTrainConfig:
    model = {**TINY_MODEL, **changes.pop("model", {})}
    values = {
        "output_dir": str(folder), "model": model, "warmup_steps": 3, "codebook_steps": 4,
        "joint_steps": 5, "log_every": 1, "save_every": 100, "lr": 0.003, "rise_steps": 2,
        "fall_steps": 4, **changes,
    }  # fmt: skip
    return config_from_recipe(values)


def read_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_all_stages_run_and_log_what_was_asked_for(tmp_path: Path) -> None:
    final = train(make_config(tmp_path / "run"), get_batch=get_ball)
    log = read_log(tmp_path / "run")
    assert [row["stage"] for row in log] == ["warmup"] * 3 + ["codebook"] * 4 + ["joint"] * 5
    for row in log:
        assert ("perplexity" in row and "num_used" in row) == (row["stage"] != "warmup")
        assert ("recon" in row) == (row["stage"] != "codebook")
    vae = load_vqvae(final / "vqvae.json", final / "model.safetensors")
    assert vae.Encode(get_ball(0).x).indices.dtype == torch.int64


def test_stage_one_moves_the_codebook_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = make_config(folder, save_every=1, keep_last=20)
    train(config, get_batch=get_ball)
    before, after = (read_state(folder / "ckpts" / f"vqvae_step{n:07d}.pt") for n in (3, 7))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "vq.embeddings.weight" in moved and all(name.startswith("vq.") for name in moved)


def test_a_codebook_can_learn_by_gradients_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    model = {"use_ema_update": False, "use_kmeans_reinit": False}
    train(make_config(folder, model=model, save_every=1, keep_last=20), get_batch=get_ball)
    before, after = (read_state(folder / "ckpts" / f"vqvae_step{n:07d}.pt") for n in (3, 7))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"vq.embeddings.weight"}


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"model": {"use_kmeans_reinit": False}, "slab_cells": 2}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(make_config(whole, **changes), get_batch=get_ball)

    class Stop(Exception):
        pass

    def until_nine(step: int) -> VqVaeBatch:
        if step == 9:
            raise Stop
        return get_ball(step)

    with pytest.raises(Stop):
        train(make_config(parts, save_every=4, **changes), get_batch=until_nine)
    assert [path.name for path in list_checkpoints(parts)][-1] == "vqvae_step0000008.pt"
    train(make_config(parts, save_every=4, **changes), get_batch=get_ball)
    one, other = (read_state(list_checkpoints(run)[-1]) for run in (whole, parts))
    for name, value in one.items():
        assert torch.allclose(value.float(), other[name].float(), atol=1e-6), name
    assert [row["step"] for row in read_log(parts)] == list(range(1, 13))


def test_old_checkpoints_go_and_another_model_is_refused(tmp_path: Path) -> None:
    train(make_config(tmp_path, save_every=2, keep_last=2), get_batch=get_ball)
    assert len(list_checkpoints(tmp_path)) == 2
    with pytest.raises(CheckpointError, match="another model than the recipe's"):
        train(make_config(tmp_path, model={"num_embeddings": 8}), get_batch=get_ball)


def test_training_lowers_the_error(tmp_path: Path) -> None:
    model = {"model_channels": 32, "latent_channels": 8, "num_embeddings": 64, "kmeans_interval": 4}
    config = make_config(
        tmp_path, model=model, warmup_steps=60, codebook_steps=4, joint_steps=40, lr=0.01,
        fall_steps=20, kmeans_share=0.2,
    )  # fmt: skip
    train(config, get_batch=get_ball)
    log = read_log(tmp_path)
    first, last = log[0]["recon"], np.mean([row["recon"] for row in log[-5:]])
    assert last < 0.5 * first


def test_a_loss_that_is_no_number_ends_the_run_in_a_sentence(tmp_path: Path) -> None:
    def broken(step: int) -> VqVaeBatch:
        batch = get_ball(step)
        return VqVaeBatch(batch.x, batch.truth * (float("nan") if step == 1 else 1), batch.surface)

    with pytest.raises(CadwrightError, match="step 2 of seed 0: the loss is nan"):
        train(make_config(tmp_path), get_batch=broken)


def test_first_weights_give_latents_of_unit_variance(tmp_path: Path) -> None:
    config, batch = make_config(tmp_path), get_ball(2)
    torch.manual_seed(0)
    vae = SparseSDFVQVAE(config.model)
    fit_scales(vae, batch.x, truth=batch.surface)
    latents, _ = vae.encoder.means(batch.x)
    assert latents.mean(0).abs().max() < 1e-4 and (latents.std(0) - 1).abs().max() < 1e-3


def test_a_slab_holds_part_of_the_shape_and_depends_on_its_seed(tmp_path: Path) -> None:
    config, batch = make_config(tmp_path).model, get_ball(3)
    slabs = [to_slab(batch, config, cells=1, seed=seed) for seed in range(6)]
    for slab in slabs:
        assert 0 < len(slab.x.sites) < len(batch.x.sites)
        cells = slab.x.coords[:, 1:] >> config.num_levels
        assert (cells == cells[:1]).all(0).any()
        assert torch.equal(slab.x.feats, slab.at(slab.x.sites))
    assert len({len(slab.x.sites) for slab in slabs}) > 1
    again = to_slab(batch, config, cells=1, seed=0)
    assert torch.equal(again.x.coords, slabs[0].x.coords)


def test_the_stream_is_a_function_of_seed_and_step_and_reuses_parts() -> None:
    pytest.importorskip("numba")
    model = config_from_recipe({"output_dir": "x", "model": TINY_MODEL}).model
    one, other = (PartStream(model, seed=4, batch_size=2, reuse=3, device="cpu") for _ in range(2))
    assert torch.equal(one(1).x.feats, other(1).x.feats)
    assert one(1) is one(17) and not torch.equal(one(0).truth, one(1).truth)
    assert one(0).truth.shape == (2, 16, 16, 16) and one(0).x.sites.batch_size == 2
    assert len(draw_part(4, 0).faces) > 4


def test_the_rate_rises_stays_and_falls(tmp_path: Path) -> None:
    config = make_config(tmp_path, joint_steps=13)
    shares = [config.lr_share(step) for step in range(config.steps)]
    assert shares[0] == 0.5 and shares[1:3] == [1, 1] and shares[7] == 0.5
    assert shares[9:17] == [1.0] * 8 and shares[-1] == 0.25


def test_recipes_are_read_and_written(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    path = tmp_path / "r.yaml"
    path.write_text(config_to_recipe(config))
    assert load_config(path) == config
    changed = load_config(path, ["lr=1e-3", "model.num_embeddings=8"])
    assert changed.lr == 1e-3 and changed.model.num_embeddings == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output_dir: x", "lacks the setting 'model'"),
        ("model: {}", "lacks the setting 'output_dir'"),
        ("output_dir: x\nmodel: 3", "must be the VQ-VAE's settings"),
        ("output_dir: x\nmodel: {}\nbatchsize: 3", "did you mean 'batch_size'"),
        ("output_dir: x\nmodel: {}\nbatch_size: 0", "at least 1"),
        ("output_dir: x\nmodel: {}\nlr: fast", "must be a number"),
        ("output_dir: x\nmodel: {}\nseed: -1", "must not be negative"),
        ("output_dir: x\nmodel: {}\nseed: yes", "must be of type int"),
        ("- 3", "key: value"),
    ],
)
def test_a_bad_recipe_costs_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(tmp_path / "r.yaml")


RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("vqvae*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_of_the_project_are_valid(recipe: Path) -> None:
    config = load_config(recipe)
    assert config.model.voxel_resolution in (32, 64, 512) and config.steps > 0
