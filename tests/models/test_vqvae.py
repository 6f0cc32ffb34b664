"""The VQ-VAE: config, published sizes, codes and their way back, quantizer, files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cadwright.errors import CheckpointError, InputError
from cadwright.geometry.mesh_to_sdf import SparseSdf
from cadwright.models.layers.sites import SparseTensor, make_sites
from cadwright.models.layers.sparse_backend import kernel_to_spconv
from cadwright.models.vqvae import (
    Code,
    SparseSDFVQVAE,
    VqVaeConfig,
    embedded_vqvae,
    load_vqvae,
    sdfs_to_batch,
)
from cadwright.models.vqvae.checkpoint import (
    TRAINING_STATE,
    load_weights,
    read_state,
    save_vqvae,
    to_own_layout,
)
from cadwright.models.vqvae.config import config_from_values, config_to_json, read_config
from cadwright.models.vqvae.kmeans import Reservoir, kmeans
from cadwright.models.vqvae.quantizer import SparseVectorQuantizer, codebook_use

TINY: dict[str, Any] = {
    "resolution": 4, "num_levels": 2, "model_channels": 16, "latent_channels": 6, "num_blocks": 2,
    "num_heads": 2, "num_groups": 4, "window_size": 2, "num_embeddings": 32,
    "published_pool": False,
}  # fmt: skip


def make_vae(seed: int = 0, **changes: Any) -> SparseSDFVQVAE:
    torch.manual_seed(seed)
    return SparseSDFVQVAE(config_from_values({**TINY, **changes})).eval()


def ball_sdf(radius: float = 5.0, resolution: int = 16, shift: float = 0.0) -> SparseSdf:
    grid = np.argwhere(np.ones((resolution,) * 3, dtype=bool))
    away = np.linalg.norm(grid - (resolution - 1) / 2 - shift, axis=1) - radius
    near = np.abs(away) <= 2.0
    return SparseSdf((away[near] / 2).astype(np.float32), grid[near].astype(np.int32),
                     resolution, 2.0)  # fmt: skip


def published_batch(sdf: SparseSdf, rows: Any = slice(None)) -> dict[str, Tensor]:
    return {
        "sparse_sdf": torch.from_numpy(sdf.values[rows])[:, None],
        "sparse_index": torch.from_numpy(sdf.index[rows]),
        "batch_idx": torch.zeros(len(sdf.values[rows]), dtype=torch.int32),
    }


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        four, eight = SparseSDFVQVAE(VqVaeConfig()), SparseSDFVQVAE(VqVaeConfig(num_blocks=8))
    sizes = [sum(p.numel() for p in part.parameters()) for part in (four.encoder, four.decoder)]
    assert sizes == [22_637_024, 15_237_089]  # 37.87M, 75.7 MB in float16: the released file
    both = sum(p.numel() for part in (eight.encoder, eight.decoder) for p in part.parameters())
    assert both == 63_076_801
    names = set(four.state_dict())
    for name in (
        "encoder.input_layer1.weight", "encoder.downsample.2.act_layers.0.bias",
        "encoder.downsample.0.out_layers.0.conv.kernel", "encoder.downsample.0.out_layers.1.weight",
        "encoder.downsample.1.out_layers.3.conv.bias",
        "encoder.downsample.1.skip_connection.conv.kernel",
        "encoder.blocks.3.attn.to_qkv.weight", "encoder.blocks.3.mlp.mlp.2.bias",
        "encoder.out_layer.weight", "decoder.input_layer.bias",
        "decoder.upsample.2.act_layers.0.conv.kernel", "decoder.upsample.2.out_layers.0.conv.bias",
        "decoder.out_layer.bias", "vq.embeddings.weight",
    ):  # fmt: skip
        assert name in names
    assert not any("norm1" in name or "reservoir" in name for name in names)


def test_codes_keep_the_promise_of_the_interface() -> None:
    vae = make_vae()
    code = vae.Encode(sdfs_to_batch([ball_sdf(), ball_sdf(4.0)]))
    n = len(code.indices)
    assert code.feats.shape == (n, vae.config.latent_dim) and code.feats.dtype == torch.float32
    assert code.coords.shape == (n, 4) and code.coords.dtype == torch.int64
    assert code.indices.shape == (n,) and code.indices.dtype == torch.int64
    assert torch.equal(code.feats, vae.vq.embeddings.weight[code.indices])
    assert code.coords[:, 1:].max() < vae.config.resolution and set(code.coords[:, 0].tolist()) == {
        0,
        1,
    }
    ascending = [tuple(row) for row in code.coords.tolist()]
    assert ascending == sorted(ascending)
    assert not code.feats.requires_grad


def test_codes_do_not_depend_on_the_order_of_rows() -> None:
    vae, sdf = make_vae(), ball_sdf()
    order = np.random.default_rng(0).permutation(len(sdf.values))
    one, other = (vae.Encode(published_batch(sdf, rows)) for rows in (slice(None), order))
    assert torch.equal(one.coords, other.coords) and torch.equal(one.indices, other.indices)


def test_a_sample_has_the_same_codes_alone_and_in_a_batch() -> None:
    vae = make_vae()
    small, large = ball_sdf(3.5), ball_sdf(5.5)
    both, alone = vae.Encode(sdfs_to_batch([small, large])), vae.Encode(sdfs_to_batch([large]))
    rows = both.coords[:, 0] == 1
    assert torch.equal(both.coords[rows][:, 1:], alone.coords[:, 1:])
    assert torch.equal(both.indices[rows], alone.indices)


@pytest.mark.parametrize("attn_mode", ["full", "shift_window", "shift_sequence", "shift_order"])
@pytest.mark.parametrize("pe_mode", ["ape", "rope"])
def test_all_kinds_of_attention_encode_and_decode(attn_mode: str, pe_mode: str) -> None:
    vae = make_vae(attn_mode=attn_mode, pe_mode=pe_mode, qk_rms_norm=True, published_pool=True)
    code = vae.Encode(sdfs_to_batch([ball_sdf()]))
    assert len(vae.Decode(code).feats) == 64 * len(code.indices)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_every_latent_cell_becomes_a_whole_block(levels: int) -> None:
    vae = make_vae(num_levels=levels, resolution=16 >> levels)
    out = vae.Decode(code := vae.Encode(sdfs_to_batch([ball_sdf()])))
    assert len(out.feats) == 8**levels * len(code.indices) and out.feats.abs().max() <= 1
    parents = (out.coords[:, 1:] >> levels).unique(dim=0)
    assert torch.equal(parents, code.coords[:, 1:])
    assert len(out.coords.unique(dim=0)) == len(out.coords)


def test_indices_and_coordinates_decode_as_the_code_does_in_any_order() -> None:
    vae = make_vae()
    torch.nn.init.normal_(vae.decoder.out_layer.weight)
    code = vae.Encode(sdfs_to_batch([ball_sdf()]))
    order = torch.randperm(len(code.indices))
    one, other = vae.Decode(code), vae.Decode(code.indices[order], code.coords[order])
    assert torch.equal(one.coords, other.coords) and torch.equal(one.feats, other.feats)


def test_decoding_in_boxes_changes_nothing() -> None:
    whole, boxes = make_vae(resolution=16), make_vae(resolution=16, chunk_size=3)
    sites, _ = make_sites(torch.argwhere(torch.rand(2, 16, 16, 16) < 0.3), resolution=16)
    torch.nn.init.normal_(whole.decoder.out_layer.weight)
    boxes.load_state_dict(whole.state_dict())
    feats = torch.randn(len(sites), 6)
    with torch.no_grad():
        one, other = (v.decoder(SparseTensor(feats, sites)).sdf for v in (whole, boxes))
    assert one.sites.batch.equal(other.sites.batch)
    found = other.sites.find(one.coords)
    assert (other.feats[found] - one.feats).abs().max() < 1e-5


def test_factor_scales_positions_only() -> None:
    vae = make_vae()
    batch = published_batch(ball_sdf())
    plain, same = vae.to_tensor(batch), vae.to_tensor({**batch, "factor": 1.0})
    assert plain[1] == same[1] == 1.0
    with torch.no_grad():
        one = vae.encoder.means(plain[0], 1.0)[0]
        other = vae.encoder.means(plain[0], 2.0)[0]
    assert not torch.allclose(one, other)


def test_pruning_keeps_the_truth_while_training_and_decides_by_itself_afterwards() -> None:
    vae = make_vae(prune=True).train()
    x = sdfs_to_batch([ball_sdf()])
    out = vae(x, truth=x.sites)
    assert (out.decoded.sdf.sites.find(x.coords) < len(out.decoded.sdf.sites)).all()
    assert out.decoded.prune_loss > 0 and out.decoded.prune_loss.requires_grad
    for block in vae.decoder.upsample:
        torch.nn.init.constant_(block.prune.bias, -50.0)
    kept = vae(x, truth=x.sites).decoded.sdf.sites
    assert torch.equal(kept.keys.sort().values, x.sites.keys)
    assert len(vae.eval().decoder(x_to_codes(vae)).sdf.feats) == 0
    for block in vae.decoder.upsample:
        torch.nn.init.constant_(block.prune.bias, 50.0)
    codes = x_to_codes(vae)
    assert len(vae.decoder(codes).sdf.feats) == 64 * len(codes.feats)


def x_to_codes(vae: SparseSDFVQVAE) -> SparseTensor:
    code = vae.Encode(sdfs_to_batch([ball_sdf()]))
    return SparseTensor(code.feats, make_sites(code.coords, resolution=4)[0])


def test_gradients_reach_the_encoder_through_the_codes() -> None:
    vae = make_vae().train()
    torch.nn.init.normal_(vae.decoder.out_layer.weight)
    out = vae(sdfs_to_batch([ball_sdf()]))
    out.decoded.sdf.feats.square().mean().backward()
    assert vae.encoder.input_layer1.weight.grad.abs().max() > 0
    assert vae.vq.embeddings.weight.grad is None  # straight through: codes learn by their own loss


def test_a_decoded_ball_is_a_mesh_in_grid_units() -> None:
    pytest.importorskip("skimage")
    vae = make_vae()
    sdf, code = ball_sdf(), vae.Encode(sdfs_to_batch([ball_sdf()]))
    blocks = vae.Decode(code)
    centre = (vae.config.voxel_resolution - 1) / 2
    away = (blocks.coords[:, 1:].float() - centre).norm(dim=1) - 5.0
    vae.Decode = lambda *_: blocks.replace((away / 2).clamp(-1, 1)[:, None])  # type: ignore
    (mesh,) = vae.decode_mesh(code)
    radii = np.linalg.norm(mesh.vertices - centre, axis=1)
    assert np.abs(radii - 5).max() < 0.06 and mesh.signed_volume > 0
    assert sdf.resolution == vae.config.voxel_resolution


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_that_were_rounded_are_refused(dtype: torch.dtype) -> None:
    vae = make_vae().to(dtype)
    with pytest.raises(CheckpointError, match="only right in float32"):
        vae.Encode(sdfs_to_batch([ball_sdf()]))


def test_autocast_around_encode_changes_nothing() -> None:
    vae, x = make_vae(), sdfs_to_batch([ball_sdf()])
    plain = vae.Encode(x)
    with torch.autocast("cpu", torch.bfloat16):
        half = vae.Encode(x)
    assert torch.equal(plain.indices, half.indices) and half.feats.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparse_index": None}, "lacks 'sparse_index'"),
        ({"sparse_sdf": torch.zeros(3, 1)}, "shapes do not fit"),
        ({"sparse_index": torch.full((5, 3), 16)}, "outside 0 to 15"),
        ({"sparse_sdf": torch.full((5, 1), 3.0)}, r"\[-1, 1\]"),
        ({"sparse_sdf": torch.full((5, 1), float("nan"))}, r"\[-1, 1\]"),
    ],
)
def test_a_bad_batch_costs_one_sentence(change: dict[str, Any], message: str) -> None:
    index = torch.tensor([[i, i, i] for i in range(5)])
    batch = {"sparse_sdf": torch.zeros(5, 1), "sparse_index": index, "batch_idx": torch.zeros(5)}
    batch = {k: v for k, v in {**batch, **change}.items() if v is not None}
    with pytest.raises(InputError, match=message):
        make_vae().Encode(batch)


def test_an_empty_band_and_another_resolution_are_refused() -> None:
    vae = make_vae()
    empty = {"sparse_sdf": torch.zeros(0, 1), "sparse_index": torch.zeros(0, 3, dtype=torch.long),
             "batch_idx": torch.zeros(0, dtype=torch.long)}  # fmt: skip
    with pytest.raises(InputError, match="empty"):
        vae.Encode(empty)
    with pytest.raises(InputError, match="resolution 24, the VAE 16"):
        vae.Encode(sdfs_to_batch([ball_sdf(resolution=24)]))
    with pytest.raises(InputError, match="different resolutions"):
        sdfs_to_batch([ball_sdf(), ball_sdf(resolution=24)])


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([1.0]), "whole numbers"),
        (torch.tensor([32]), "the codebook has 32 rows"),
        (torch.tensor([-1]), "reach from -1"),
        (torch.tensor([1, 2]), "one coordinate each"),
    ],
)
def test_bad_codes_cost_one_sentence(indices: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_vae().Decode(indices, torch.tensor([[0, 1, 1, 1]]))


# The quantizer.


def make_quantizer(**changes: Any) -> SparseVectorQuantizer:
    torch.manual_seed(0)
    return SparseVectorQuantizer(config_from_values({**TINY, **changes}))


def test_the_nearest_row_is_the_nearest() -> None:
    vq = make_quantizer()
    latents = torch.randn(50, 6)
    assert torch.equal(vq.nearest(latents), torch.cdist(latents, vq.embeddings.weight).argmin(1))


def test_losses_move_the_side_they_are_for() -> None:
    vq, latents = make_quantizer().train(), torch.randn(20, 6, requires_grad=True)
    out = vq(latents)
    assert out.codebook is not None
    to_latents, to_codes = torch.autograd.grad(
        out.commitment, (latents, vq.embeddings.weight), retain_graph=True, allow_unused=True
    )
    assert to_latents.abs().max() > 0 and to_codes is None
    to_latents, to_codes = torch.autograd.grad(
        out.codebook, (latents, vq.embeddings.weight), allow_unused=True
    )
    assert to_latents is None and to_codes.abs().max() > 0


def test_running_means_follow_the_latents_and_leave_unused_rows_alone() -> None:
    vq = make_quantizer(use_ema_update=True, vq_decay=0.5).train()
    with torch.no_grad():
        vq.embeddings.weight.fill_(100.0)
        vq.embeddings.weight[0], vq.embeddings.weight[1] = 1.0, -1.0
    latents = torch.cat([torch.full((30, 6), 2.0), torch.full((10, 6), -3.0)])
    for _ in range(30):
        vq(latents)
    found = vq.embeddings.weight
    assert torch.allclose(found[0], torch.tensor(2.0), atol=1e-3)
    assert torch.allclose(found[1], torch.tensor(-3.0), atol=1e-3)
    assert (found[2:] == 100).all() and not vq.embeddings.weight.requires_grad
    vq.eval()(latents + 5)
    assert torch.equal(found, vq.embeddings.weight)


def test_kmeans_finds_clusters_and_uses_every_centre() -> None:
    wanted = torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    rows = wanted.repeat_interleave(50, 0) + 0.1 * torch.randn(200, 2)
    centres, counts = kmeans(rows, 4, seed=3, rounds=20)
    assert torch.cdist(wanted, centres).min(1).values.max() < 0.1
    assert (counts > 0).all() and counts.sum() == 200


def test_reinitialisation_replaces_a_dead_codebook() -> None:
    vq = make_quantizer(use_ema_update=True, use_kmeans_reinit=True, reservoir_size=500).train()
    with torch.no_grad():
        vq.embeddings.weight.fill_(50.0)
    latents = torch.randn(400, 6)
    assert not vq.reinitialise(seed=0)
    assert len(vq(latents).indices.unique()) == 1
    assert vq.reinitialise(seed=0)
    out = vq.eval()(latents)
    assert len(out.indices.unique()) == 32 and out.commitment < 1.0
    assert not len(vq.reservoir.rows())


def test_a_reservoir_keeps_an_even_draw() -> None:
    torch.manual_seed(0)
    kept = Reservoir(500)
    for start in range(0, 20_000, 1000):
        kept.add(torch.arange(start, start + 1000.0)[:, None])
    rows = kept.rows()[:, 0]
    assert len(rows) == len(rows.unique()) == 500
    assert abs(float(rows.mean()) - 10_000) < 900  # four standard errors are 1030


def test_codebook_use() -> None:
    even, one = codebook_use(torch.full((8,), 3)), codebook_use(torch.tensor([5, 0, 0, 0]))
    assert even.perplexity == pytest.approx(8) and even.share_used == 1.0
    assert one.perplexity == pytest.approx(1) and (one.num_used, one.share_used) == (1, 0.25)


# Config and files.


def test_published_settings_and_aliases_are_read(tmp_path: Path) -> None:
    args = {
        "resolution": 64, "model_channels": 512, "latent_channels": 16, "num_blocks": 8,
        "num_embeddings": 8192, "num_heads": None, "num_head_channels": 64, "mlp_ratio": 4,
        "attn_mode": "swin", "window_size": 8, "pe_mode": "ape", "qk_rms_norm": False,
        "use_fp16": False, "use_checkpoint": True, "representation_config": None,
        "use_ema_update": False, "vq_decay": 0.99, "vq_epsilon": 1e-5, "use_kmeans_reinit": True,
        "kmeans_interval": 100, "reservoir_size": 16384,
    }  # fmt: skip
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"models": {"vqvae": {"name": "x", "args": args}}}))
    config = read_config(path)
    assert (config.latent_dim, config.voxel_resolution, config.heads) == (16, 512, 8)
    assert config.channels == (32, 64, 128, 512)
    assert read_config_text(tmp_path, config_to_json(config)) == config
    alias = config_from_values({"embed_dim": 9, "model_channels_encoder": 64,
                                "model_channels_decoder": 64})  # fmt: skip
    assert alias.latent_channels == 9 and alias.model_channels == 64


def read_config_text(folder: Path, text: str) -> VqVaeConfig:
    (folder / "again.json").write_text(text)
    return read_config(folder / "again.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_embedding": 5}, "did you mean 'num_embeddings'"),
        ({"vq_group_size": 8}, "'vq_group_size' can only be 1"),
        ({"attn_mode": "global"}, "attn_mode"),
        ({"model_channels": 50}, "multiple of 16"),
        ({"num_heads": 7}, "num_heads"),
        ({"resolution": 0}, "'resolution' must be at least 1"),
        ({"resolution": "64"}, "must be of type int"),
        ({"num_levels": 4}, "num_levels"),
        ({"model_channels_encoder": 64, "model_channels_decoder": 32}, "equal on both sides"),
    ],
)
def test_a_config_that_makes_no_sense_costs_one_sentence(values: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        config_from_values(values)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": {}}', '{"models": {"vqvae": 3}}'])
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match=r"again\.json"):
        read_config_text(tmp_path, text)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_saved_weights_give_the_same_codes(tmp_path: Path, suffix: str) -> None:
    vae, x = make_vae(use_ema_update=True), sdfs_to_batch([ball_sdf()])
    save_vqvae(tmp_path, vae, dtype=torch.float32)
    weights = tmp_path / "model.safetensors"
    if suffix == ".pt":
        weights = tmp_path / "w.pt"
        torch.save({"state_dict": vae.state_dict()}, weights)
    back = load_vqvae(tmp_path / "vqvae.json", weights)
    assert torch.equal(back.Encode(x).indices, vae.Encode(x).indices)
    assert not any(p.requires_grad for p in back.parameters()) and not back.training
    assert back.config == vae.config


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    save_vqvae(tmp_path, make_vae(), dtype=torch.float16)
    assert read_state(tmp_path / "model.safetensors")["vq.embeddings.weight"].dtype == torch.float16
    back = load_vqvae(tmp_path / "vqvae.json", tmp_path / "model.safetensors")
    assert {p.dtype for p in back.parameters()} == {torch.float32}


def test_both_convolution_layouts_load(tmp_path: Path) -> None:
    vae = make_vae()
    other = {
        (name.replace("kernel", "weight") if name.endswith("conv.kernel") else name): (
            kernel_to_spconv(value).contiguous() if name.endswith("conv.kernel") else value
        )
        for name, value in vae.state_dict().items()
    }
    assert other["encoder.downsample.0.out_layers.0.conv.weight"].shape == (4, 3, 3, 3, 2)
    torch.save(other, tmp_path / "spconv.pt")
    back = load_vqvae(vae.config, tmp_path / "spconv.pt")
    for name, value in vae.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)


def test_every_key_is_accounted_for(tmp_path: Path) -> None:
    vae = make_vae()
    state = vae.state_dict()
    path = tmp_path / "w.pt"
    first = "encoder.blocks.1.attn.to_out.bias"
    torch.save({name: value for name, value in state.items() if name != first}, path)
    with pytest.raises(CheckpointError, match=f"lacks {first}: config and checkpoint do not fit"):
        load_vqvae(vae.config, path)
    torch.save({**state, "encoder.extra": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"has, but its config does not, encoder\.extra"):
        load_vqvae(vae.config, path)
    torch.save(state, path)
    wide = dataclasses.replace(vae.config, latent_channels=8)
    with pytest.raises(CheckpointError, match="has shape"):
        load_vqvae(wide, path)
    deep = dataclasses.replace(vae.config, num_blocks=3)
    with pytest.raises(CheckpointError, match=r"lacks decoder\.blocks\.2.* and \d+ more"):
        load_vqvae(deep, path)


def test_a_plain_vae_loads_with_a_codebook_to_be_learnt(tmp_path: Path) -> None:
    vae, path = make_vae(), tmp_path / "vae.pt"
    plain = {name: value for name, value in vae.state_dict().items() if not name.startswith("vq.")}
    torch.save({"vae": plain}, path)
    fresh = make_vae(seed=5)
    codebook = fresh.vq.embeddings.weight.clone()
    load_weights(fresh, path, new_codebook=True)
    assert torch.equal(fresh.encoder.out_layer.weight, vae.encoder.out_layer.weight)
    assert torch.equal(fresh.vq.embeddings.weight, codebook)
    with pytest.raises(CheckpointError, match=r"lacks vq\.embeddings\.weight"):
        load_weights(fresh, path)


def test_the_state_of_a_training_is_not_part_of_a_model(tmp_path: Path) -> None:
    vae = make_vae(use_ema_update=True)
    assert set(TRAINING_STATE) <= set(vae.state_dict())
    save_vqvae(tmp_path, vae, dtype=torch.float16)
    assert not set(TRAINING_STATE) & set(read_state(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("name", ["missing.pt", "cut.pt", "cut.safetensors", "list.pt"])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str) -> None:
    if name.startswith("cut"):
        (tmp_path / name).write_bytes(b"\x80\x00\x00garbage")
    if name == "list.pt":
        torch.save([torch.zeros(1)], tmp_path / name)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        read_state(tmp_path / name)


def test_prefixes_of_wrappers_are_taken_off() -> None:
    assert set(to_own_layout({"module.vq.embeddings.weight": torch.zeros(1)})) == {
        "vq.embeddings.weight"
    }
    with pytest.raises(CheckpointError, match="no convolution"):
        to_own_layout({"a.conv.weight": torch.zeros(3, 3)})


def test_code_is_a_plain_tuple() -> None:
    code = Code(torch.zeros(1, 2), torch.zeros(1, 4).long(), torch.zeros(1).long())
    feats, coords, indices = code
    assert feats is code.feats and coords is code.coords and indices is code.indices


def test_the_embedded_model_brings_a_part_back(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("skimage")
    from cadwright.training.vqvae.score import score_part

    vae = embedded_vqvae()
    assert (vae.config.voxel_resolution, vae.config.resolution, vae.config.latent_dim) == (
        64,
        16,
        16,
    )
    value, indices = score_part(vae, box_mesh(), seed=0)
    assert value > 0.9 and 100 < len(indices) < 4096


def box_mesh() -> Any:
    import manifold3d as m3

    from cadwright.geometry.manifolds import manifold_to_mesh

    return manifold_to_mesh(m3.Manifold.cube((100, 60, 40), True))
