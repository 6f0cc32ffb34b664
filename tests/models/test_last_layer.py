"""A last layer worked out only where logits are wanted gives the same loss and gradients."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from cadwright.models import CADRecode, Cadrille  # noqa: E402
from cadwright.models.layers.last_layer import NarrowsDown  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
RECODE = ("input_ids", "attention_mask", "point_cloud", "labels")
CADRILLE = (
    "input_ids", "attention_mask", "point_clouds", "is_pc", "is_img", "pixel_values_videos",
    "video_grid_thw", "labels",
)  # fmt: skip


def read(kind: str) -> tuple[Any, dict[str, Any]]:
    """A tiny model in float64, and a batch with labels and the mask of what is learned."""
    made, names = (CADRecode, RECODE) if kind == "cad_recode" else (Cadrille, CADRILLE)
    with np.load(GOLDEN / f"{kind}_tiny.npz", allow_pickle=False) as file:
        batch = {name: torch.from_numpy(np.array(file[name])) for name in names}
    model = made.from_pretrained(GOLDEN / f"{kind}_tiny", dtype=torch.float64).double().train()
    learned = torch.nn.functional.pad(batch["labels"][:, 1:] != -100, (0, 1))
    return model, batch | {"logits_to_keep": learned}


def whole(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != "logits_to_keep"}


def layers_of(model: Any) -> Any:
    return getattr(model.model, "language_model", model.model).layers


def loss_and_gradients(model: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    model.zero_grad(set_to_none=True)
    loss = model(**batch).loss
    loss.backward()
    return loss.detach(), {
        name: value.grad for name, value in model.named_parameters() if value.grad is not None
    }


@pytest.mark.parametrize(
    ("kind", "attention"), [("cad_recode", "sdpa"), ("cad_recode", "eager"), ("cadrille", "sdpa")]
)
def test_loss_and_gradients_are_those_of_the_whole_layer(kind: str, attention: str) -> None:
    model, batch = read(kind)
    model.set_attn_implementation(attention)
    loss, grads = loss_and_gradients(model, whole(batch))
    narrow_loss, narrow_grads = loss_and_gradients(model, batch)
    torch.testing.assert_close(narrow_loss, loss, rtol=1e-6, atol=0)  # it is summed in float32
    assert narrow_grads.keys() == grads.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(narrow_grads[name], grad, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("kind", ["cad_recode", "cadrille"])
def test_activation_checkpointing_changes_nothing(kind: str) -> None:
    model, batch = read(kind)
    loss, grads = loss_and_gradients(model, batch)
    model.activation_checkpointing_enable()
    again, same = loss_and_gradients(model, batch)
    assert torch.equal(loss, again) and same.keys() == grads.keys()
    assert all(torch.equal(same[name], grad) for name, grad in grads.items())


@pytest.mark.parametrize("kind", ["cad_recode", "cadrille"])
def test_only_the_last_layer_is_narrow_and_it_sees_what_is_learned(kind: str) -> None:
    model, batch = read(kind)
    rows: list[int] = []
    for layer in layers_of(model):
        layer.mlp.register_forward_hook(lambda _, args, __: rows.append(args[0][..., 0].numel()))
    model(**batch)
    everything = batch["input_ids"].numel()
    assert rows == [everything] * (len(rows) - 1) + [int(batch["logits_to_keep"].sum())]
    rows.clear()
    model(**whole(batch))
    assert rows == [everything] * len(rows)


def test_hidden_states_that_are_asked_for_hold_all_positions() -> None:
    model, batch = read("cad_recode")
    asked = model(**batch, output_hidden_states=True)
    assert {state.shape[:2] for state in asked.hidden_states} == {batch["input_ids"].shape}
    torch.testing.assert_close(asked.loss, model(**batch).loss)


def test_a_mask_that_keeps_nothing_gives_no_logits() -> None:
    model, batch = read("cad_recode")
    nothing = {"labels": None, "logits_to_keep": torch.zeros_like(batch["logits_to_keep"])}
    assert model(**(batch | nothing)).logits.shape == (0, model.config.vocab_size)


def test_the_layer_is_copied_saved_and_kept_on_one_device(tmp_path: Path) -> None:
    model, batch = read("cad_recode")
    model.save_pretrained(tmp_path)
    again = CADRecode.from_pretrained(tmp_path, dtype=torch.float64).double()
    for other in (copy.deepcopy(model), again):
        assert isinstance(layers_of(other)[-1], NarrowsDown)
        assert other.state_dict().keys() == model.state_dict().keys()
        assert torch.equal(other(**batch).loss, model(**batch).loss)
    assert {type(layer).__name__ for layer in layers_of(model)} <= set(model._no_split_modules)
