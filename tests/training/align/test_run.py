"""Alignment training: files, going on where it stopped, the shuffled control, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.models.test_align3d import VOCAB, D, H, make_vl

from cadwright.errors import CheckpointError, InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.projector import Projector3D
from cadwright.training.align.run import AlignArgs, build_branch, dummy_items, mean_loss, train

ITEMS = dummy_items(4, latent_dim=D, vocab_size=VOCAB)


def make_branch() -> Qwen3VLWith3DBranch:
    vl = make_vl()
    torch.manual_seed(1)
    return Qwen3VLWith3DBranch(vl, Projector3D(D, H, 2))


def test_defaults_are_the_published_ones() -> None:
    args = AlignArgs()
    assert args.vl_model == "Qwen/Qwen2-VL-2B-Instruct" and args.output_dir == "./outputs_3d_vl"
    assert (args.max_3d_tokens, args.projector_layers, args.lr) == (2048, 1, 1e-4)
    assert (args.epochs, args.batch_size, args.lora_r, args.dummy_samples) == (3, 2, 8, 50)


def test_a_run_that_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(AlignArgs(output_dir=str(whole), epochs=2, lr=1e-2), make_branch(), ITEMS)
    for epochs in (1, 2):
        train(AlignArgs(output_dir=str(halves), epochs=epochs, lr=1e-2), make_branch(), ITEMS)
    one, two = (torch.load(f / "projector_final.pt", weights_only=True) for f in (whole, halves))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert {p.name for p in whole.iterdir()} == {
        "projector_epoch0.pt", "projector_epoch1.pt", "projector_final.pt", "train_args.json",
        "state.pt", "training_metrics.jsonl",
    }  # fmt: skip
    assert json.loads((whole / "train_args.json").read_text())["epochs"] == 2


def test_training_lowers_the_loss_and_moves_only_the_projector(tmp_path: Path) -> None:
    branch = make_branch()
    before = mean_loss(branch, ITEMS, batch_size=2)
    frozen = {n: p.clone() for n, p in branch.vl_model.named_parameters()}
    train(AlignArgs(output_dir=str(tmp_path), epochs=8, lr=1e-2), branch, ITEMS)
    assert mean_loss(branch, ITEMS, batch_size=2) < before
    assert all(torch.equal(p, frozen[n]) for n, p in branch.vl_model.named_parameters())
    assert mean_loss(branch, ITEMS, batch_size=3) == pytest.approx(
        mean_loss(branch, ITEMS, batch_size=1), abs=1e-5
    )
    assert mean_loss(branch, ITEMS, batch_size=2, shuffle=True) != pytest.approx(
        mean_loss(branch, ITEMS, batch_size=2), abs=1e-6
    )


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    train(AlignArgs(output_dir=str(tmp_path), epochs=1), make_branch(), ITEMS)
    with pytest.raises(CheckpointError, match="another run"):
        train(AlignArgs(output_dir=str(tmp_path), epochs=2, lr=1.0), make_branch(), ITEMS)


def test_what_makes_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no samples"):
        train(AlignArgs(output_dir=str(tmp_path)), make_branch(), [])
    with pytest.raises(InputError, match="batch_size"):
        AlignArgs(batch_size=0)
    with pytest.raises(InputError, match="both"):
        build_branch(AlignArgs(vae_config="a.json"))
    with pytest.raises(InputError, match="latent_dim"):
        build_branch(AlignArgs())
