"""Muon makes updates orthogonal; every weight is trained by exactly one optimizer."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cadwright.models import CADRecode, CADRecodeConfig
from cadwright.training.config import TrainConfig
from cadwright.training.optimizer import Muon, make_optimizers, orthogonalize, set_lr_share

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
    mine = Muon([ours], **settings)
    reference = torch.optim.Muon([theirs], **settings, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        gradient = torch.randn((12, 20), generator=torch.Generator().manual_seed(10 + step))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.03 * moved


def test_every_parameter_belongs_to_one_optimizer(model: CADRecode) -> None:
    optimizers = make_optimizers(model, CONFIG)
    found = [id(p) for o in optimizers.values() for g in o.param_groups for p in g["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())


def test_muon_has_the_matrices_of_the_layers_and_nothing_else(model: CADRecode) -> None:
    muon = make_optimizers(model, CONFIG)["muon"]
    wanted = {id(p) for n, p in model.named_parameters() if ".layers." in n and p.ndim == 2}
    assert {id(p) for g in muon.param_groups for p in g["params"]} == wanted


def test_norms_and_biases_do_not_decay(model: CADRecode) -> None:
    decaying = [
        p
        for optimizer in make_optimizers(model, CONFIG).values()
        for group in optimizer.param_groups
        if group["weight_decay"] > 0
        for p in group["params"]
    ]
    assert all(p.ndim == 2 for p in decaying)
    assert len(decaying) == sum(p.ndim == 2 for p in model.parameters())


def test_muon_can_be_switched_off(model: CADRecode) -> None:
    assert list(make_optimizers(model, dataclasses.replace(CONFIG, muon_lr=0.0))) == ["adamw"]


def test_share_scales_each_highest_rate(model: CADRecode) -> None:
    optimizers = make_optimizers(model, CONFIG)
    set_lr_share(optimizers.values(), 0.25)
    set_lr_share(optimizers.values(), 0.5)
    assert {g["lr"] for g in optimizers["adamw"].param_groups} == {0.05}
    assert {g["lr"] for g in optimizers["muon"].param_groups} == {0.1}
