"""3-D alignment: sequences, projector, collation, the joined model on three tiny Qwen-VLs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cadwright.errors import CheckpointError, InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch, pack
from cadwright.models.align3d.checkpoint import (
    add_lora,
    load_projector,
    model_type_to_class,
    save_projector,
)
from cadwright.models.align3d.collate import collate_3d_text
from cadwright.models.align3d.conversation import answer_to_example, question_to_ids
from cadwright.models.align3d.projector import Projector3D, coords_to_sines
from cadwright.models.align3d.sequence import (
    gather_blocks,
    prepare_3d_sequence,
    prepare_3d_sequence_batched,
)

D, H, VOCAB = 3, 16, 40
TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def make_vl(model_type: str = "qwen2_vl", *, vocab_size: int = VOCAB) -> nn.Module:
    torch.manual_seed(0)
    kind = model_type_to_class(model_type)
    text: dict[str, Any] = {
        "hidden_size": H, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": vocab_size,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0,
        "bos_token_id": None, "eos_token_id": 1,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1],
        },
    }  # fmt: skip
    sizes: dict[str, dict[str, Any]] = {
        "qwen2_vl": {"depth": 1, "embed_dim": 8, "num_heads": 1, "hidden_size": H},
        "qwen2_5_vl": {
            "depth": 1, "hidden_size": 8, "num_heads": 1, "intermediate_size": 8,
            "out_hidden_size": H, "fullatt_block_indexes": [0],
        },
        "qwen3_vl": {
            "depth": 1, "hidden_size": 8, "num_heads": 1, "intermediate_size": 8,
            "out_hidden_size": H, "deepstack_visual_indexes": [0],
        },
    }  # fmt: skip
    config = kind.config_class(
        text_config=text, vision_config=sizes[model_type], tie_word_embeddings=True,
        image_token_id=36, video_token_id=37, vision_start_token_id=38, vision_end_token_id=39,
    )  # fmt: skip
    model: nn.Module = kind(config).eval()
    return model


def make_branch(model_type: str = "qwen2_vl", **changes: Any) -> Qwen3VLWith3DBranch:
    vl = make_vl(model_type)
    return Qwen3VLWith3DBranch(vl, Projector3D(D, H, 2, use_3d_pos=True), **changes).eval()


def make_item(num: int = 5, length: int = 6, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    cells = torch.randperm(64)[:num]
    xyz = torch.stack([cells // 16, cells // 4 % 4, cells % 4], dim=1)
    ids = torch.randint(2, 30, (length,))
    labels = ids.clone()
    labels[:2] = -100
    return {
        "feats_3d": torch.randn(num, D), "coords_3d": torch.cat([xyz[:, :1] * 0, xyz], dim=1),
        "input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels,
    }  # fmt: skip


class TestSequence:
    def test_cells_are_sorted_with_x_fastest_and_carry_their_vectors(self) -> None:
        item = make_item(20)
        made = prepare_3d_sequence(item["feats_3d"], item["coords_3d"], 0)
        keys = made.coords[:, 3] * 16 + made.coords[:, 2] * 4 + made.coords[:, 1]
        assert (keys.diff() > 0).all() and made.mask.all()
        row = (item["coords_3d"] == made.coords[7]).all(dim=1)
        assert torch.equal(item["feats_3d"][row][0], made.feats[7])

    @pytest.mark.parametrize("mode", ["head", "even", "random_sample", "pool"])
    def test_every_truncation_keeps_the_order_and_the_length(self, mode: Any) -> None:
        item = make_item(50)
        made = prepare_3d_sequence(item["feats_3d"], item["coords_3d"], 12, truncate_mode=mode)
        again = prepare_3d_sequence(item["feats_3d"], item["coords_3d"], 12, truncate_mode=mode)
        keys = (made.coords[:, 3] * 16 + made.coords[:, 2] * 4 + made.coords[:, 1])[made.mask]
        assert len(made.feats) == 12 and (keys.diff() > 0).all()
        assert torch.equal(made.feats, again.feats)
        if mode != "head":  # the published way keeps the lowest slab only
            assert made.coords[:, 3].max() >= 2

    def test_padding_is_marked(self) -> None:
        item = make_item(5)
        made = prepare_3d_sequence(item["feats_3d"], item["coords_3d"], 8, pad_value=2.0)
        assert made.mask.tolist() == [True] * 5 + [False] * 3
        assert (made.feats[5:] == 2.0).all()

    def test_a_sample_in_a_batch_is_the_sample_alone_and_an_empty_one_is_padding(self) -> None:
        one, two = make_item(5), make_item(9, seed=1)
        two["coords_3d"][:, 0] = 2
        feats = torch.cat([two["feats_3d"], one["feats_3d"]])
        coords = torch.cat([two["coords_3d"], one["coords_3d"]])
        made = prepare_3d_sequence_batched(feats, coords, batch_size=3)
        alone = prepare_3d_sequence(one["feats_3d"], one["coords_3d"], 9)
        assert made.mask.sum(dim=1).tolist() == [5, 0, 9]
        assert torch.equal(made.feats[0], alone.feats)

    def test_blocks_hold_every_cell_in_its_place(self) -> None:
        item = make_item(30)
        feats, coords = gather_blocks(item["feats_3d"], item["coords_3d"], 2)
        assert feats.shape[1] == 8 * D and feats.sum() == pytest.approx(
            float(item["feats_3d"].sum()), abs=1e-4
        )
        b, x, y, z = item["coords_3d"][3].tolist()
        row = (coords == torch.tensor([b, x // 2, y // 2, z // 2])).all(dim=1)
        place = (x % 2 * 2 + y % 2) * 2 + z % 2
        assert torch.equal(feats[row][0].reshape(8, D)[place], item["feats_3d"][3])

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(InputError, match="whole numbers"):
            prepare_3d_sequence(torch.zeros(2, D), torch.zeros(2, 4))
        with pytest.raises(InputError, match="batch indices"):
            prepare_3d_sequence_batched(torch.zeros(1, D), torch.full((1, 4), 3), batch_size=2)


class TestProjector:
    def test_names_and_shapes_are_the_published_ones(self) -> None:
        assert set(Projector3D(D, H).state_dict()) == {"proj.weight", "proj.bias"}
        names = set(Projector3D(D, H, 3, final_norm=True).state_dict())
        assert {"proj.0.weight", "proj.2.weight", "proj.4.bias", "ln.weight"} <= names

    def test_sines_of_whole_coordinates_are_not_cut_to_whole_numbers(self) -> None:
        sines = coords_to_sines(torch.tensor([[1, 2, 3]]), 16)
        assert sines.shape == (1, 16)
        assert sines[0, 0] == pytest.approx(0.841471, abs=1e-5)
        assert sines[0, 4] == pytest.approx(0.909297, abs=1e-5)

    def test_another_width_is_refused(self) -> None:
        with pytest.raises(InputError, match="latent_dim"):
            Projector3D(D, H)(torch.zeros(2, D + 1))

    def test_files_come_back_and_others_are_refused(self, tmp_path: Path) -> None:
        projector, other = Projector3D(D, H), Projector3D(D, H)
        save_projector(tmp_path / "p.pt", projector)
        load_projector(tmp_path / "p.pt", other)
        assert torch.equal(projector.proj.weight, other.proj.weight)
        with pytest.raises(CheckpointError, match="cannot be used"):
            load_projector(tmp_path / "p.pt", Projector3D(D, H, 2))


class TestCollate:
    def test_form_a_carries_a_mask_and_numbers_the_samples(self) -> None:
        made = collate_3d_text([make_item(5), make_item(3, 4, seed=1)], latent_dim=D)
        assert made["mask_3d"].sum(dim=1).tolist() == [5, 3]
        assert made["coords_3d"][1, :3, 0].tolist() == [1, 1, 1]
        assert made["labels"][1, 4:].tolist() == [-100, -100]

    def test_form_b_renumbers_the_shapes(self) -> None:
        text = {k: v for k, v in make_item().items() if not k.endswith("_3d")}
        raw = {"sparse_sdf": torch.zeros(2), "sparse_index": torch.eye(3).long()[:2]}
        made = collate_3d_text([text | {"inputs_3d": raw}] * 2)
        assert made["inputs_3d"]["batch_idx"].tolist() == [0, 0, 1, 1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"labels": torch.full((6,), -100)}, "no answer left"),
            ({"feats_3d": torch.zeros(5, D + 1)}, "latent_dim"),
            ({"feats_3d": torch.zeros(0, D), "coords_3d": torch.zeros(0, 4).long()}, "empty shape"),
            ({"attention_mask": torch.tensor([1, 1, 0, 0, 0, 0])}, "no answer left"),
        ],
    )
    def test_samples_that_cannot_teach_are_refused(
        self, change: dict[str, Tensor], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            collate_3d_text([make_item() | change], latent_dim=D)


class TestBranch:
    @pytest.mark.parametrize("model_type", TYPES)
    def test_a_batch_is_its_samples_alone(self, model_type: str) -> None:
        branch = make_branch(model_type)
        items = [make_item(7), make_item(3, 4, seed=1)]
        together = branch(**collate_3d_text(items))
        alone = [branch(**collate_3d_text([item])) for item in items]
        weights = torch.tensor([4.0, 2.0])
        losses = torch.stack([out.loss.detach() for out in alone])
        assert float(together.loss.detach()) == pytest.approx(
            float((losses * weights).sum() / 6), abs=1e-5
        )

    @pytest.mark.parametrize("model_type", TYPES)
    def test_cached_generation_is_that_of_full_passes(self, model_type: str) -> None:
        branch = make_branch(model_type)
        items = [make_item(7), make_item(3, 4, seed=1)]
        batch = collate_3d_text(items)
        batch.pop("labels")
        answers = branch.generate(**batch, eos_id=-1, max_new_tokens=4)
        for item, answer in zip(items, answers, strict=True):
            ids = item["input_ids"]
            for token in answer:
                grown = {**item, "input_ids": ids, "attention_mask": torch.ones_like(ids),
                         "labels": ids}  # fmt: skip
                out = branch(**{**collate_3d_text([grown]), "labels": None})
                assert int(out.logits[0, -1].argmax()) == token
                ids = torch.cat([ids, torch.tensor([token])])

    def test_the_shape_speaks_and_only_the_projector_learns(self) -> None:
        branch = make_branch().train()
        batch = collate_3d_text([make_item(7)])
        branch(**batch).loss.backward()
        assert all(p.grad is not None for p in branch.projector.parameters())
        assert all(p.grad is None for p in branch.vl_model.parameters())
        other = batch | {"feats_3d": batch["feats_3d"] * -1}
        assert branch(**other).loss != branch(**batch).loss

    def test_lora_learns_too_and_sits_in_the_decoder_only(self) -> None:
        pytest.importorskip("peft")
        branch = Qwen3VLWith3DBranch(add_lora(make_vl(), rank=2), Projector3D(D, H))
        learned = [n for n, p in branch.vl_model.named_parameters() if p.requires_grad]
        assert len(learned) == 2 * 4 * 2 and all(
            "lora_" in n and "visual" not in n for n in learned
        )
        branch(**collate_3d_text([make_item()])).loss.backward()

    def test_padding_stands_on_one_side_only(self) -> None:
        mask_3d = torch.tensor([[True, False], [True, True]])
        mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
        embeds, text = torch.ones(2, 2, 4), torch.zeros(2, 3, 4)
        right = pack(embeds, mask_3d, text, mask, mask * 5, side="right")
        left = pack(embeds, mask_3d, text, mask, None, side="left")
        assert right.mask.tolist() == [[1, 1, 1, 0, 0], [1] * 5]
        assert left.mask.tolist() == [[0, 0, 1, 1, 1], [1] * 5]
        assert left.positions[0, 0].tolist() == [0, 0, 0, 1, 2]
        assert right.labels is not None
        assert right.labels[0].tolist() == [-100, 5, 5, -100, -100]

    def test_inputs_that_do_not_fit_are_refused(self) -> None:
        branch, batch = make_branch(), collate_3d_text([make_item()])
        with pytest.raises(InputError, match="vae_config"):
            branch(**{**batch, "inputs_3d": {}})
        with pytest.raises(InputError, match="no label"):
            branch(**{**batch, "labels": torch.full_like(batch["labels"], -100)})
        with pytest.raises(InputError, match="width"):
            Qwen3VLWith3DBranch(make_vl(), Projector3D(D, H + 1))
        with pytest.raises(CheckpointError, match="must be one of"):
            model_type_to_class("llama")


class Letters:
    """A tokenizer of single letters with a chat template."""

    eos_token_id = 1

    def apply_chat_template(self, turns: list[dict[str, str]], **_: Any) -> str:
        return f"<{turns[0]['content']}>"

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


class TestConversation:
    def test_the_whole_answer_and_its_end_are_learned_and_nothing_else(self) -> None:
        made = answer_to_example(Letters(), "box", question="q")
        prefix = question_to_ids(Letters(), "q")
        assert made["input_ids"][: len(prefix)].tolist() == prefix
        assert made["labels"].tolist() == [-100] * 3 + [98, 111, 120, 1]

    def test_an_answer_that_is_empty_or_cut_off_whole_is_refused(self) -> None:
        with pytest.raises(InputError, match="empty"):
            answer_to_example(Letters(), " ")
        with pytest.raises(InputError, match="cut off whole"):
            answer_to_example(Letters(), "box", question="q", max_length=3)
