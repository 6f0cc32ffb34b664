"""Muon makes updates orthogonal; every weight is trained by exactly one optimizer."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cadwright.models import CADRecode, CADRecodeConfig
from cadwright.training.config import TrainConfig
from cadwright.training.optimizer import AdamWithMuon, make_optimizer, orthogonalize

CONFIG = TrainConfig(output_dir="x", lr=0.1, muon_lr=0.2, weight_decay=0.3)


@pytest.fixture
def model() -> CADRecode:
    shape = CADRecodeConfig(
        vocab_size=11,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    return CADRecode(shape)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 8, 20), (2, 20, 8)])
def test_orthogonalize_brings_singular_values_near_one_and_keeps_vectors(
    shape: tuple[int, int, int],
) -> None:
    generator = torch.Generator().manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.linspace(0.1, 1.0, min(shape[1:]))
    found = orthogonalize(left @ torch.diag(values) @ right)
    inner = left.mT @ found @ right.mT
    diagonal = inner.diagonal(dim1=-2, dim2=-1)
    assert found.shape == shape
    assert diagonal.min() > 0.6 and diagonal.max() < 1.3
    assert (inner - torch.diag_embed(diagonal)).abs().max() < 1e-4


def test_orthogonalize_does_not_depend_on_scale_and_leaves_zero_alone() -> None:
    matrix = torch.randn((1, 6, 9), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(orthogonalize(matrix), orthogonalize(1000 * matrix), atol=1e-4)
    assert orthogonalize(torch.zeros(1, 4, 4)).abs().max() == 0


def test_muon_agrees_with_torch_up_to_its_bfloat16() -> None:
    start = torch.randn((12, 20), generator=torch.Generator().manual_seed(2))
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
    mine = AdamWithMuon([{"params": [ours], **settings}])
    reference = torch.optim.Muon([theirs], **settings, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        gradient = torch.randn((12, 20), generator=torch.Generator().manual_seed(10 + step))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.03 * moved


def _groups(model: CADRecode, **changes: object) -> dict[str, dict[str, object]]:
    optimizer = make_optimizer(model, dataclasses.replace(CONFIG, **changes))
    return {group["name"]: group for group in optimizer.param_groups}


@pytest.mark.parametrize("muon_lr", [0.0, 0.2])
def test_every_parameter_belongs_to_one_group(model: CADRecode, muon_lr: float) -> None:
    found = [id(p) for g in _groups(model, muon_lr=muon_lr).values() for p in g["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())


def test_muon_has_the_matrices_of_the_layers_and_nothing_else(model: CADRecode) -> None:
    wanted = {id(p) for n, p in model.named_parameters() if ".layers." in n and p.ndim == 2}
    group = _groups(model)["muon"]
    assert {id(p) for p in group["params"]} == wanted
    assert (group["lr"], group["weight_decay"]) == (0.2, 0.3)


def test_point_encoder_and_decoder_have_their_own_rates(model: CADRecode) -> None:
    groups = _groups(model, muon_lr=0.0, encoder_lr=0.7)
    encoder = {id(p) for p in model.point_encoder.parameters()}
    assert {id(p) for p in groups["encoder"]["params"] + groups["encoder.vectors"]["params"]} == (
        encoder
    )
    rates = {name: group["lr"] for name, group in groups.items()}
    assert rates == {
        "decoder": 0.1, "decoder.vectors": 0.1, "encoder": 0.7, "encoder.vectors": 0.7,
    }  # fmt: skip


def test_norms_and_biases_do_not_decay(model: CADRecode) -> None:
    decaying = [p for g in _groups(model).values() if g["weight_decay"] > 0 for p in g["params"]]
    assert all(p.ndim == 2 for p in decaying)
    assert len(decaying) == sum(p.ndim == 2 for p in model.parameters())


def test_parameters_without_gradient_stay_and_the_others_move(model: CADRecode) -> None:
    optimizer = make_optimizer(model, CONFIG)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for name, param in model.named_parameters():
        if "layers.0" in name or "point_encoder" in name:
            param.grad = torch.ones_like(param)
    optimizer.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {n for n in before if "layers.0" in n or "point_encoder" in n}


def test_state_comes_back_from_what_was_saved(model: CADRecode) -> None:
    first, second = make_optimizer(model, CONFIG), make_optimizer(model, CONFIG)
    for param in model.parameters():
        param.grad = torch.ones_like(param)
    first.step()
    second.load_state_dict(first.state_dict())
    for param in model.parameters():
        for name, value in first.state[param].items():
            assert torch.equal(torch.as_tensor(second.state[param][name]), torch.as_tensor(value))
