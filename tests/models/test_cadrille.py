"""Cadrille against golden values of the published class and loader, and against itself.

The golden folder is a random 3-layer checkpoint in the published layout; the numbers next to
it come from the published class and its collate under transformers 4.50.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import AutoProcessor, PreTrainedTokenizerFast  # noqa: E402

from cadwright.errors import CheckpointError, InputError  # noqa: E402
from cadwright.models.cadrille import (  # noqa: E402
    Cadrille,
    CadrilleConfig,
    CadrilleProcessor,
    CadrilleQwen3,
    CadrilleQwen3Config,
    CadrilleQwen25,
    CadrilleQwen25Config,
    Conversation,
    load_model,
)
from cadwright.models.cadrille.checkpoint import (  # noqa: E402
    config_to_patches,
    to_published_name,
)
from cadwright.models.cadrille.picture_to_patches import (  # noqa: E402
    PatchSettings,
    picture_to_patches,
)
from cadwright.models.cadrille.processor import CHAT_TEMPLATE  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
NUM_POINTS = 6
NAMES = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
WORDS = ["user", "assistant", "Generate", "cadquery", "code", "ring", *"abcdefghijklmnopqrstuvwxyz"]
KINDS = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
CLASSES = {
    "qwen2_vl": (Cadrille, CadrilleConfig),
    "qwen2_5_vl": (CadrilleQwen25, CadrilleQwen25Config),
    "qwen3_vl": (CadrilleQwen3, CadrilleQwen3Config),
}
INPUTS = (
    "input_ids", "attention_mask", "point_clouds", "is_pc", "is_img", "pixel_values_videos",
    "video_grid_thw",
)  # fmt: skip


def read_npz(name: str) -> dict[str, Any]:
    with np.load(GOLDEN / name, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return {
        name: torch.from_numpy(np.array(v)) for name, v in read_npz("cadrille_tiny.npz").items()
    }


@pytest.fixture(scope="module")
def published() -> Cadrille:
    return Cadrille.from_pretrained(GOLDEN / "cadrille_tiny")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def processor(tokenizer: PreTrainedTokenizerFast) -> CadrilleProcessor:
    return make_processor("qwen2_vl", tokenizer)


@pytest.fixture(scope="module")
def model() -> Cadrille:
    return make_model("qwen2_vl")


@pytest.fixture
def folder(tmp_path: Path, model: Cadrille, processor: CadrilleProcessor) -> Path:
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def make_tokenizer(names: list[str] = NAMES) -> PreTrainedTokenizerFast:
    words = [*names, "<unk>", *WORDS]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(names)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token=NAMES[0], eos_token=NAMES[2]
    )


def make_processor(kind: str, tokenizer: PreTrainedTokenizerFast) -> CadrilleProcessor:
    patch = 16 if kind == "qwen3_vl" else 14
    patches = {"picture_size": 4 * patch, "patch_size": patch}
    return CadrilleProcessor(tokenizer, num_points=NUM_POINTS, patches=patches)


def make_config(kind: str, **changes: Any) -> Any:
    rope = {
        "rope_type": "default",
        "type": "default",
        "rope_theta": 1e4,
        "mrope_section": [2, 3, 3],
    }
    text: dict[str, Any] = {
        "vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128,
        "rope_parameters": rope, "eos_token_id": 2, "pad_token_id": 0, "bos_token_id": None,
        "initializer_range": 0.3,
    }  # fmt: skip
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "initializer_range": 0.3}
    if kind == "qwen2_vl":
        vision |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 48}
    if kind == "qwen2_5_vl":
        vision |= {"fullatt_block_indexes": [1]}
    if kind == "qwen3_vl":
        rope["mrope_interleaved"] = True
        text |= {"head_dim": 16}
        vision |= {"depth": 3, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    settings: dict[str, Any] = {
        "text_config": text, "vision_config": vision, "tie_word_embeddings": True,
        "num_points": NUM_POINTS, "vision_start_token_id": 3, "vision_end_token_id": 4,
        "image_token_id": 5, "video_token_id": 6,
    }  # fmt: skip
    return CLASSES[kind][1](**(settings | changes))


def make_model(kind: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return CLASSES[kind][0](make_config(kind, **changes)).eval()


def make_cloud(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (NUM_POINTS, 3)).astype(np.float32)


def make_picture(seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mixed(answers: bool = False) -> list[Conversation]:
    """Points, a picture, words, points and a picture, of five different lengths."""
    programs = ["a b c d", "e f", "g", "h i j k l", "m n o"]
    rows: list[dict[str, Any]] = [
        {"points": make_cloud(0)},
        {"picture": make_picture(1)},
        {"questions": ("a ring of b",)},
        {"points": make_cloud(2), "questions": ("c d e",)},
        {"picture": make_picture(3), "questions": ("f g h i",)},
    ]
    return [
        Conversation(answers=(program,) if answers else (), **row)
        for row, program in zip(rows, programs, strict=True)
    ]


def prompt_of(golden: dict[str, Any]) -> dict[str, Any]:
    rest = {name: golden[name] for name in INPUTS[2:]}
    return rest | {"input_ids": golden["prompt_ids"], "attention_mask": golden["prompt_mask"]}


class TestGolden:
    def test_logits_and_loss_are_the_published_ones(
        self, published: Cadrille, golden: dict[str, Any]
    ) -> None:
        with torch.no_grad():
            output = published(**{name: golden[name] for name in (*INPUTS, "labels")})
        valid = golden["attention_mask"] != 0  # what stands at padding is never read
        torch.testing.assert_close(output.logits[valid], golden["logits"][valid], atol=1e-4, rtol=0)
        torch.testing.assert_close(output.loss, golden["loss"], atol=1e-4, rtol=0)

    @pytest.mark.parametrize(
        "settings",
        [{}, {"use_cache": False}, {"cache_implementation": "static", "disable_compile": True}],
    )
    def test_greedy_tokens_are_the_published_ones_with_every_kind_of_cache(
        self, settings: dict[str, Any], published: Cadrille, golden: dict[str, Any]
    ) -> None:
        tokens = published.generate(
            **prompt_of(golden), max_new_tokens=24, do_sample=False, **settings
        )
        assert torch.equal(tokens, golden["generated"])

    def test_samples_that_share_a_prompt_continue_the_published_way(
        self, published: Cadrille, golden: dict[str, Any]
    ) -> None:
        tokens = published.generate(
            **prompt_of(golden), max_new_tokens=24, do_sample=True, top_k=1, num_return_sequences=3
        )
        assert torch.equal(tokens, golden["generated"].repeat_interleave(3, dim=0))

    def test_a_prefill_can_be_reused(self, published: Cadrille, golden: dict[str, Any]) -> None:
        prompt = prompt_of(golden)
        ids, mask = prompt.pop("input_ids"), prompt.pop("attention_mask")
        with torch.no_grad():
            cache = published.prefill(ids[:, :-1], attention_mask=mask[:, :-1], **prompt)
        tokens = published.generate(
            input_ids=ids, attention_mask=mask, past_key_values=cache,
            max_new_tokens=24, do_sample=False,
        )  # fmt: skip
        assert torch.equal(tokens, golden["generated"])

    def test_eager_attention_agrees_with_the_published_logits(self, golden: dict[str, Any]) -> None:
        model = Cadrille.from_pretrained(GOLDEN / "cadrille_tiny", attn_implementation="eager")
        with torch.no_grad():
            logits = model(**{name: golden[name] for name in INPUTS}).logits
        valid = golden["attention_mask"] != 0
        torch.testing.assert_close(logits[valid], golden["logits"][valid], atol=1e-4, rtol=0)

    def test_the_published_folder_loads_without_a_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        logging.getLogger("transformers").propagate = True
        try:
            with caplog.at_level(logging.WARNING):
                _, info = Cadrille.from_pretrained(
                    GOLDEN / "cadrille_tiny", output_loading_info=True
                )
        finally:
            logging.getLogger("transformers").propagate = False
        assert not caplog.records
        assert not info["missing_keys"] and not info["unexpected_keys"]

    def test_what_is_saved_is_what_was_published(self, published: Cadrille, tmp_path: Path) -> None:
        published.save_pretrained(tmp_path)
        saved = load_file(tmp_path / "model.safetensors")
        wanted = load_file(GOLDEN / "cadrille_tiny" / "model.safetensors")
        assert saved.keys() == wanted.keys()
        assert all(torch.equal(saved[name], wanted[name]) for name in wanted)
        config = json.loads((tmp_path / "config.json").read_text())
        older = json.loads((GOLDEN / "cadrille_tiny" / "config.json").read_text())
        # The window is the default of transformers 4, and not in use.
        for name in older.keys() - {"transformers_version", "sliding_window", "vision_config"}:
            assert config[name] == older[name], name
        assert older["vision_config"].items() <= config["vision_config"].items()
        assert "text_config" not in config

    def test_saving_again_changes_nothing(self, published: Cadrille, tmp_path: Path) -> None:
        published.save_pretrained(tmp_path / "one")
        Cadrille.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
        for name in ("config.json", "model.safetensors"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
class TestEveryBackbone:
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_mixed_rows_get_what_they_get_alone(
        self, kind: str, side: str, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        model, processor = make_model(kind), make_processor(kind, tokenizer)
        rows = mixed(answers=True)
        batch = processor(rows, padding_side=side)
        with torch.no_grad():
            logits = model(**batch).logits
            for i, row in enumerate(rows):
                alone = model(**processor(row)).logits[0]
                valid = batch["attention_mask"][i] != 0
                torch.testing.assert_close(logits[i][valid], alone, atol=2e-5, rtol=0)

    def test_mixed_prompts_continue_as_they_do_alone(
        self, kind: str, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        model, processor = make_model(kind), make_processor(kind, tokenizer)
        settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
        together = model.generate(**processor(mixed()), **settings)[:, -8:]
        assert len({tuple(row) for row in together.tolist()}) == 5
        for row, tokens in zip(mixed(), together, strict=True):
            assert torch.equal(model.generate(**processor(row), **settings)[0, -8:], tokens)

    def test_steps_with_a_cache_are_those_of_the_whole_text(
        self, kind: str, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        model, processor = make_model(kind), make_processor(kind, tokenizer)
        batch = processor(mixed())
        mask = batch["attention_mask"]
        more = torch.tensor([[10, 11, 12]]).expand(len(mask), -1)
        longer = torch.nn.functional.pad(mask, (0, 3), value=1)
        with torch.no_grad():
            ids = torch.cat([batch["input_ids"], more], dim=1)
            whole = model(**(dict(batch) | {"input_ids": ids, "attention_mask": longer})).logits
            cache = model(**batch, use_cache=True).past_key_values
            for i in range(3):
                step = model(
                    input_ids=more[:, i : i + 1], past_key_values=cache,
                    attention_mask=longer[:, : mask.shape[1] + i + 1],
                )  # fmt: skip
                wanted = whole[:, mask.shape[1] + i]
                torch.testing.assert_close(step.logits[:, 0], wanted, atol=2e-5, rtol=0)

    def test_without_points_it_is_the_librarys_model(
        self, kind: str, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        model, processor = make_model(kind), make_processor(kind, tokenizer)
        plain = type(model).__bases__[1](model.config).eval()
        assert plain.__module__.startswith("transformers.")
        plain.load_state_dict(model.state_dict(), strict=False)
        batch = processor([mixed()[i] for i in (1, 2, 4)])
        with torch.no_grad():
            wanted = plain(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                pixel_values_videos=batch["pixel_values_videos"][[0, 2]].flatten(0, 1),
                video_grid_thw=batch["video_grid_thw"][[0, 2]],
                mm_token_type_ids=(batch["input_ids"] == 6).int() * 2,
            ).logits
            logits = model(**batch).logits
        valid = batch["attention_mask"] != 0
        torch.testing.assert_close(logits[valid], wanted[valid], atol=2e-5, rtol=0)

    def test_points_pictures_and_words_all_matter(
        self, kind: str, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        model, processor = make_model(kind), make_processor(kind, tokenizer)
        with torch.no_grad():
            for one, two in [
                (Conversation(points=make_cloud(0)), Conversation(points=make_cloud(1))),
                (Conversation(picture=make_picture(0)), Conversation(picture=make_picture(1))),
                (Conversation(questions=("a b",)), Conversation(questions=("a c",))),
            ]:
                gap = model(**processor(one)).logits[0, -1] - model(**processor(two)).logits[0, -1]
                assert gap.abs().max() > 1e-3

    def test_a_round_trip_keeps_every_bit(
        self, kind: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        model, processor = make_model(kind), make_processor(kind, tokenizer)
        model.save_pretrained(tmp_path)
        loaded, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        for name, value in model.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[name]), name
        batch = processor(mixed(answers=True))
        with torch.no_grad():
            assert torch.equal(loaded.eval()(**batch).loss, model(**batch).loss)

    def test_files_have_the_names_of_the_published_layout(self, kind: str, tmp_path: Path) -> None:
        model = make_model(kind, tie_word_embeddings=False)
        model.save_pretrained(tmp_path)
        names = set(load_file(tmp_path / "model.safetensors"))
        published = {to_published_name(name) for name in model.state_dict()}
        first = {"visual.", "model.", "point_encoder.projection.", "lm_head."}
        assert {name for name in published if not name.startswith(tuple(first))} == set()
        # Qwen3-VL's files nest both towers below "model", as the library's own do.
        assert {to_published_name(name) for name in names} == published
        assert (names == published) is (kind != "qwen3_vl")

    def test_samples_of_mixed_prompts_are_those_of_each_read_once(
        self, kind: str, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        model, processor = make_model(kind), make_processor(kind, tokenizer)
        settings = {"max_new_tokens": 5, "do_sample": True, "eos_token_id": None, "top_k": 1}
        batch = processor(mixed())
        greedy = model.generate(**batch, **(settings | {"do_sample": False}))[:, -5:]
        sampled = model.generate(**batch, num_return_sequences=3, **settings)[:, -5:]
        assert torch.equal(sampled, greedy.repeat_interleave(3, dim=0))

    def test_load_model_picks_the_class_by_model_type(
        self, kind: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        make_model(kind).save_pretrained(tmp_path)
        make_processor(kind, tokenizer).save_pretrained(tmp_path)
        loaded, processor = load_model(tmp_path)
        assert type(loaded) is CLASSES[kind][0] and not loaded.training
        assert json.loads((tmp_path / "config.json").read_text())["model_type"] == kind
        assert processor.patch_settings == make_processor(kind, tokenizer).patch_settings
        assert processor.max_length == 128
        assert loaded.generation_config.eos_token_id == processor.end_token_id == 2

    def test_gradients_reach_every_parameter(
        self, kind: str, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        model, processor = make_model(kind).train(), make_processor(kind, tokenizer)
        model(**processor(mixed(answers=True), padding_side="right")).loss.backward()
        assert not [name for name, value in model.named_parameters() if value.grad is None]
        assert model.point_encoder.projection.weight.grad.abs().sum() > 0


class TestForward:
    def test_loss_counts_the_answers_only_and_is_the_same_on_either_side(
        self, model: Cadrille, processor: CadrilleProcessor
    ) -> None:
        left = processor(mixed(answers=True))
        with torch.no_grad():
            output = model(**left)
            right = model(**processor(mixed(answers=True), padding_side="right"))
        log_probs = output.logits[:, :-1].log_softmax(dim=-1)
        labels = left["labels"][:, 1:]
        wanted = [-log_probs[i, t, labels[i, t]] for i, t in (labels != -100).nonzero().tolist()]
        assert len(wanted) == 4 + 2 + 1 + 5 + 3 + 5  # the words of the programs and the ends
        torch.testing.assert_close(output.loss, torch.stack(wanted).mean())
        torch.testing.assert_close(output.loss, right.loss, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("kind", KINDS)
    def test_keeping_only_the_learned_positions_leaves_the_loss(
        self, kind: str, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        model, batch = make_model(kind), make_processor(kind, tokenizer)(mixed(answers=True))
        learned = torch.nn.functional.pad(batch["labels"][:, 1:] != -100, (0, 1))
        with torch.no_grad():
            whole, part = model(**batch), model(**batch, logits_to_keep=learned)
        assert part.logits.shape == (int(learned.sum()), 48)
        torch.testing.assert_close(part.loss, whole.loss)

    def test_each_kind_of_input_alone_needs_nothing_of_the_others(
        self, model: Cadrille, processor: CadrilleProcessor
    ) -> None:
        batch = processor(texts=["a ring", "b"])
        assert "pixel_values_videos" not in batch
        with torch.no_grad():
            words = model(**batch).logits
            bare = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            cloud = processor(points=make_cloud(0))
            implied = {k: v for k, v in cloud.items() if k not in ("is_pc", "is_img")}
            assert torch.equal(model(**implied).logits, model(**cloud).logits)
        assert torch.equal(words, bare.logits)

    def test_a_picture_of_another_shape_is_read_by_its_own_grid(
        self, model: Cadrille, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        # A wide grid: rotary positions after it are those of its longer side.
        batch = make_processor("qwen2_vl", tokenizer)(pictures=[make_picture(0)])
        ids = batch["input_ids"][0].tolist()
        wide = torch.tensor([ids[: ids.index(6)] + [6] * 6 + ids[ids.index(4) :]])
        patches = torch.rand(1, 24, 1176)
        inputs = {
            "input_ids": wide, "attention_mask": torch.ones_like(wide),
            "pixel_values_videos": torch.nn.functional.pad(patches, (0, 0, 0, 8)),
            "video_grid_thw": torch.tensor([[1, 4, 6]]), "is_img": torch.tensor([True]),
        }  # fmt: skip
        with torch.no_grad():
            cache = model(**inputs, use_cache=True).past_key_values
        assert cache.rope_shifts_B1.tolist() == [[3 - 6]]

    def test_bfloat16_runs_near_float32_with_a_float32_point_encoder(
        self, folder: Path, processor: CadrilleProcessor
    ) -> None:
        half = Cadrille.from_pretrained(folder, dtype=torch.bfloat16)
        assert half.lm_head.weight.dtype == half.model.visual.dtype == torch.bfloat16
        assert half.point_encoder.projection.weight.dtype == torch.float32
        with torch.no_grad():
            loss = half(**processor(mixed(answers=True))).loss
        assert torch.isfinite(loss)

    def test_a_batch_for_another_checkpoint_is_refused(
        self, model: Cadrille, processor: CadrilleProcessor, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        batch = dict(processor(mixed()))
        ids = batch["input_ids"].clone()
        ids[2, -1] = 300
        with pytest.raises(InputError, match="token id 300, but the model has 48 tokens"):
            model(**(batch | {"input_ids": ids}))
        with pytest.raises(
            InputError, match=r"\(1, 16 or more patches, 1176\), but is \(1, 16, 1536"
        ):
            model(**make_processor("qwen3_vl", tokenizer)(pictures=make_picture(0)))
        fewer = batch["input_ids"].where(batch["input_ids"] != 6, 7)
        with pytest.raises(InputError, match=r"need \[0, 4, 0, 0, 4\] picture tokens"):
            model(**(batch | {"input_ids": fewer}))
        with pytest.raises(InputError, match="picture tokens"):
            model.generate(**(batch | {"input_ids": fewer}), max_new_tokens=2)

    def test_what_is_marked_must_be_there(
        self, model: Cadrille, processor: CadrilleProcessor
    ) -> None:
        batch = dict(processor(mixed()))
        for name, message in [
            ("point_clouds", "is_pc marks rows"),
            ("pixel_values_videos", "is_img marks rows"),
            ("video_grid_thw", "is_img marks rows"),
        ]:
            with pytest.raises(InputError, match=message):
                model(**(batch | {name: None}))
        with pytest.raises(InputError, match="as pixel_values_videos"):
            model(**batch, pixel_values=batch["pixel_values_videos"])

    def test_a_row_too_short_for_its_points_is_refused(self, model: Cadrille) -> None:
        ids = torch.tensor([[0, 0, 0, 8], [0, 0, 0, 8]])
        clouds = torch.zeros(2, NUM_POINTS, 3)
        with pytest.raises(InputError, match=r"mark 6 positions .* are \[4, 3\]"):
            model(
                input_ids=ids, attention_mask=torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]]),
                point_clouds=clouds,
            )  # fmt: skip

    def test_a_text_longer_than_the_context_is_refused(self, model: Cadrille) -> None:
        with pytest.raises(InputError, match="129 tokens, but the model's context is 128"):
            model(input_ids=torch.full((1, 129), 8))

    def test_a_cache_filled_at_given_positions_asks_for_them_again(self, model: Cadrille) -> None:
        ids = torch.tensor([[8, 9, 10]])
        with torch.no_grad():
            cache = model(ids, position_ids=torch.arange(3)[None], use_cache=True).past_key_values
            with pytest.raises(InputError, match="position_ids"):
                model(ids[:, :1], past_key_values=cache)


class TestGenerate:
    def test_each_prompt_is_read_once_for_many_samples(
        self, model: Cadrille, processor: CadrilleProcessor
    ) -> None:
        seen: list[tuple[int, ...]] = []
        hooks = [
            module.register_forward_hook(lambda m, inputs, out: seen.append(tuple(inputs[0].shape)))
            for module in (model.point_encoder, model.model.visual)
        ]
        torch.manual_seed(0)
        batch = processor(mixed())
        tokens = model.generate(
            **batch, max_new_tokens=6, do_sample=True, num_return_sequences=8, eos_token_id=None
        )
        for hook in hooks:
            hook.remove()
        assert sorted(seen) == [(2, NUM_POINTS, 3), (2 * 16, 1176)]
        assert tokens.shape == (40, batch["input_ids"].shape[1] + 6)
        assert len({tuple(row) for row in tokens[8:16].tolist()}) > 1

    def test_samples_of_a_shared_prompt_are_those_of_repeated_prompts(
        self, model: Cadrille, processor: CadrilleProcessor
    ) -> None:
        batch = processor(mixed())
        settings = {"max_new_tokens": 6, "do_sample": True, "eos_token_id": None}
        torch.manual_seed(3)
        shared = model.generate(**batch, **settings, num_return_sequences=4)
        torch.manual_seed(3)
        repeated = {name: value.repeat_interleave(4, dim=0) for name, value in batch.items()}
        assert torch.equal(shared, model.generate(**repeated, **settings))

    def test_beams_repeat_points_and_pictures(
        self, model: Cadrille, processor: CadrilleProcessor
    ) -> None:
        batch = processor(mixed())
        tokens = model.generate(**batch, max_new_tokens=4, num_beams=3, num_return_sequences=3)
        assert tokens.shape[0] == 15

    def test_two_prompts_in_turn_do_not_disturb_each_other(
        self, model: Cadrille, processor: CadrilleProcessor
    ) -> None:
        settings = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
        picture, words = processor(pictures=make_picture(0)), processor(texts="a ring")
        first = model.generate(**picture, **settings)
        alone = model.generate(**words, **settings)
        model.generate(**picture, **settings)
        assert torch.equal(model.generate(**words, **settings), alone)
        assert torch.equal(model.generate(**picture, **settings), first)

    def test_unknown_arguments_are_refused(
        self, model: Cadrille, processor: CadrilleProcessor
    ) -> None:
        with pytest.raises(ValueError, match="point_cloud"):
            model.generate(**processor(texts="a"), point_cloud=torch.zeros(1, NUM_POINTS, 3))


def real_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Qwen2's byte-level BPE with the ranks that can occur in some texts, from dashscope.

    A token of a text is a part of it, so leaving out all other ranks changes nothing.
    """
    found = importlib.util.find_spec("dashscope")
    if found is None or found.origin is None:
        pytest.skip("the rank table of Qwen2's vocabulary comes with the package dashscope")
    lines = (Path(found.origin).parent / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    whole = "\n".join(texts).encode()
    ranks = {}
    for line in lines:
        token, rank = line.split()
        if (piece := base64.b64decode(token)) in whole or len(piece) == 1:
            ranks[piece] = int(rank)
    shown = bytes_to_characters()

    def show(piece: bytes) -> str:
        return "".join(shown[byte] for byte in piece)

    merges = []
    for piece, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(piece) > 1:
            merges.append(tuple(show(part) for part in split_below(piece, ranks, rank)))
    names = [  # from id 151643 on
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>",
        "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>",
        "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    ]  # fmt: skip
    vocabulary = {show(piece): rank for piece, rank in ranks.items()}
    vocabulary |= {name: 151643 + i for i, name in enumerate(names)}
    core = Tokenizer(models.BPE(vocabulary, merges))
    core.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(names)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )


def bytes_to_characters() -> dict[int, str]:
    """The visible characters that stand for bytes in byte-level vocabularies."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    moved = {byte: chr(256 + i) for i, byte in enumerate(others)}
    return {byte: chr(byte) for byte in kept} | moved


def split_below(piece: bytes, ranks: dict[bytes, int], limit: int) -> list[bytes]:
    """The two parts whose merge gives a piece: what pairs of lower rank make of its bytes."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        pairs = [
            (ranks.get(a + b, limit), i)
            for i, (a, b) in enumerate(zip(parts, parts[1:], strict=False))
        ]
        rank, i = min(pairs)
        assert rank < limit
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"


class TestGoldenCollate:
    @pytest.mark.parametrize("stage", ["train", "eval"])
    def test_ids_masks_and_labels_are_the_published_ones(self, stage: str) -> None:
        golden = read_npz("cadrille_collate.npz")
        code, texts = str(golden["code"]), [str(text) for text in golden["texts"]]
        tokenizer = real_tokenizer([code, *texts, SYSTEM, "user\n", "assistant\n"])
        processor = CadrilleProcessor(tokenizer, chat_template=SYSTEM + CHAT_TEMPLATE)
        batch = processor(
            points=[golden["train_point_clouds"][0], None, None],
            pictures=[None, GOLDEN / "view_grid.png", None],
            texts=texts,
            programs=[code] * 3 if stage == "train" else None,
            return_tensors="np",
        )
        names = {*INPUTS, "labels"} if stage == "train" else set(INPUTS)
        assert set(batch) == names
        for name in names - {"pixel_values_videos"}:
            wanted = golden[f"{stage}_{name}"]
            assert batch[name].dtype == wanted.dtype and np.array_equal(batch[name], wanted), name
        assert batch["pixel_values_videos"].shape == tuple(golden["pixel_values_shape"])
        if stage == "train":
            assert processor.batch_decode(batch["input_ids"]) == [code] * 3

    def test_patches_are_the_published_ones(self) -> None:
        golden = read_npz("cadrille_collate.npz")
        patches = picture_to_patches(GOLDEN / "view_grid.png", PatchSettings())
        assert patches.shape == tuple(golden["pixel_values_shape"][1:])
        np.testing.assert_allclose(patches[:4], golden["pixel_values_first4"], atol=1e-4)
        np.testing.assert_allclose(patches.mean(axis=1), golden["pixel_values_row_mean"], atol=1e-4)

    def test_a_picture_takes_400_patches_and_100_tokens(
        self, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        processor = CadrilleProcessor(tokenizer)
        batch = processor(pictures=make_picture(0, 268, 268))
        assert batch["video_grid_thw"].tolist() == [[1, 20, 20]]
        assert batch["pixel_values_videos"].shape == (1, 400, 1176)
        assert (batch["input_ids"] == 6).sum() == 100


class TestProcessor:
    def test_a_prompt_is_what_is_shown_then_the_question(
        self, processor: CadrilleProcessor, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        batch = processor(mixed()[:3])
        words = tokenizer.convert_ids_to_tokens
        asked = ["<|im_start|>", "user", "Generate", "cadquery", "code", "<|im_end|>"]
        ask = ["<|im_start|>", "assistant"]
        assert words(batch["input_ids"][0]) == ["<|endoftext|>"] * NUM_POINTS + asked + ask
        seen = ["<|vision_start|>", *["<|video_pad|>"] * 4, "<|vision_end|>"]
        assert words(batch["input_ids"][1]) == asked[:2] + seen + asked[2:] + ask
        assert batch["attention_mask"].sum(dim=1).tolist() == [14, 14, 9]
        assert batch["is_pc"].tolist() == [True, False, False]
        assert batch["is_img"].tolist() == [False, True, False]
        assert batch["video_grid_thw"].tolist() == [[0, 0, 0], [1, 4, 4], [0, 0, 0]]
        assert "labels" not in batch

    def test_labels_are_each_answer_with_its_end_and_nothing_else(
        self, processor: CadrilleProcessor, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        several = Conversation(
            questions=("a ring", "x y", "z"), answers=("a b", "c", "d e f"), points=make_cloud(0)
        )
        batch = processor([several, Conversation(questions=("assistant user",), answers=("g",))])
        for row, wanted in zip(range(2), ["a b . c . d e f .", "g ."], strict=True):
            labels = batch["labels"][row]
            learned = labels != -100
            assert torch.equal(labels[learned], batch["input_ids"][row][learned])
            words = tokenizer.convert_ids_to_tokens(labels[learned])
            assert words == wanted.replace(".", "<|im_end|>").split()

    def test_the_last_answer_is_prompted_for_and_the_others_are_given(
        self, processor: CadrilleProcessor
    ) -> None:
        batch = processor(Conversation(questions=("a ring", "x"), answers=("a b",)))
        assert "labels" not in batch
        assert processor.decode(batch["input_ids"][0]) == ""
        assert (batch["input_ids"] == processor.end_token_id).sum() == 3

    def test_padding_is_on_the_side_asked_for(self, processor: CadrilleProcessor) -> None:
        for side, places in (("left", slice(None, 5)), ("right", slice(-5, None))):
            batch = processor(mixed()[:3], padding_side=side)
            assert not batch["attention_mask"][2, places].any()
            assert (batch["input_ids"][2, places] == processor.pad_token_id).all()

    def test_ids_come_from_the_tokenizer(self) -> None:
        processor = make_processor("qwen2_vl", make_tokenizer(NAMES[::-1]))
        assert (processor.end_token_id, processor.picture_token_id) == (4, 0)
        batch = processor(mixed(answers=True))
        assert (batch["input_ids"] == 0).sum() == 2 * 4
        assert (batch["labels"] == 4).sum(dim=1).tolist() == [1] * 5

    def test_decoding_inverts_encoding(self, processor: CadrilleProcessor) -> None:
        batch = processor(mixed(answers=True))
        programs = [row.answers[0] for row in mixed(answers=True)]
        assert processor.batch_decode(batch["input_ids"]) == programs
        assert processor.batch_decode(batch["input_ids"][:, -2:], prompt_length=0) == [
            program.split()[-1] for program in programs
        ]

    def test_lists_and_conversations_are_the_same_batch(self, processor: CadrilleProcessor) -> None:
        listed = processor(
            points=[make_cloud(0), None, None, make_cloud(2), None],
            pictures=[None, make_picture(1), None, None, make_picture(3)],
            texts=[None, None, "a ring of b", "c d e", "f g h i"],
            programs=[row.answers[0] for row in mixed(answers=True)],
        )
        for name, value in processor(mixed(answers=True)).items():
            assert torch.equal(value, listed[name]), name

    def test_an_item_with_nothing_to_read_or_learn_is_named(
        self, processor: CadrilleProcessor
    ) -> None:
        good = Conversation(questions=("a ring",), answers=("a",))
        cases = [
            (Conversation(answers=("a",), name="17"), r"item 1 \(17\) has neither points nor"),
            (Conversation(("a",), ("  ",)), "item 1 has an empty answer"),
            (Conversation(("a", " "), ("b", "c")), "item 1 has an empty question"),
            (Conversation(("a",)), "item 1 has no answer to learn from"),
            (Conversation(("a",), ("b", "c")), "item 1 has 1 questions and 2 answers"),
            (Conversation(("a",), ("b <|im_end|> c",)), r"item 1 has the special token <\|im_end"),
            (
                Conversation(answers=("a",), points=make_cloud(0), picture=make_picture(0)),
                "item 1 has both",
            ),
        ]
        for bad, message in cases:
            with pytest.raises(InputError, match=message):
                processor([good, bad])

    def test_a_text_or_answer_over_the_limit_is_refused_and_not_cut(
        self, processor: CadrilleProcessor, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        rows = {"texts": ["a", "b"], "programs": ["c", "d e f g"]}
        longest = processor(**rows)["input_ids"].shape[1]
        assert longest == processor(**rows, max_length=longest)["input_ids"].shape[1]
        with pytest.raises(
            InputError, match=f"answer of item 1 would be cut off: {longest} tokens"
        ):
            processor(**rows, max_length=longest - 1)
        with pytest.raises(InputError, match="item 1 has a text of 9 tokens, longer than the 8"):
            processor(texts=["a", "a b c d"], max_length=8)
        own = CadrilleProcessor(tokenizer, num_points=NUM_POINTS, max_length=8)
        with pytest.raises(InputError, match="item 0"):
            own(texts="a b c d")

    def test_a_template_that_loses_something_is_refused(
        self, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        bare = "{% for m in messages %}<|im_start|> user {{ m.content[-1].text }} {% endfor %}"
        processor = CadrilleProcessor(tokenizer, num_points=NUM_POINTS, chat_template=bare)
        with pytest.raises(InputError, match="loses an answer of item 0"):
            processor(texts="a", programs="b")
        with pytest.raises(InputError, match="no place for the picture of item 0"):
            processor(pictures=make_picture(0))

    def test_points_that_cannot_be_read_are_named(self, processor: CadrilleProcessor) -> None:
        good = make_cloud(0)
        for bad, message in [
            (good[:5], r"item 1: a point cloud must be \(6, 3\), not \(5, 3\)"),
            (good * 100, "item 1: points must be finite and in the MODEL frame"),
            (np.where(good > 0, np.nan, good), "item 1: points must be finite"),
        ]:
            with pytest.raises(InputError, match=message):
                processor(points=[good, bad])

    def test_a_picture_that_is_none_is_named(
        self, processor: CadrilleProcessor, tmp_path: Path
    ) -> None:
        good = make_picture(0)
        (tmp_path / "no.png").write_text("no picture")
        for bad, message in [
            (tmp_path / "no.png", r"item 1: .*no\.png is not a readable picture"),
            (tmp_path / "nowhere.png", r"item 1: .*nowhere\.png is not a readable picture"),
            (good.astype(np.float32), r"item 1: .*\(64, 64, 3\) of float32"),
            (good[..., 0], r"item 1: .*\(64, 64\) of uint8"),
            ([good] * 5, "item 1: there must be 4 views, not 5"),
            ([], "item 1: there must be 4 views, not 0"),
            ([good, good, good, good[:32]], "item 1: the views must be of one size"),
        ]:
            with pytest.raises(InputError, match=message):
                processor(pictures=[good, bad])

    def test_lists_of_unequal_length_and_empty_batches_are_refused(
        self, processor: CadrilleProcessor
    ) -> None:
        with pytest.raises(InputError, match="not 2 texts and 1 programs"):
            processor(texts=["a", "b"], programs=["c"])
        for nothing in ({}, {"texts": []}, {"conversations": []}):
            with pytest.raises(InputError, match="at least one"):
                processor(**nothing)
        with pytest.raises(InputError, match="not both"):
            processor(mixed(), texts="a")

    def test_a_tokenizer_without_the_special_tokens_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"the tokenizer has no <\|video_pad\|>"):
            CadrilleProcessor(make_tokenizer(NAMES[:-1]))

    def test_a_saved_processor_makes_the_same_batch(
        self, processor: CadrilleProcessor, tmp_path: Path
    ) -> None:
        processor.save_pretrained(tmp_path)
        for again in (
            CadrilleProcessor.from_pretrained(tmp_path),
            AutoProcessor.from_pretrained(tmp_path),
        ):
            assert isinstance(again, CadrilleProcessor)
            assert again.patch_settings == processor.patch_settings
            for name, value in processor(mixed(answers=True)).items():
                assert torch.equal(value, again(mixed(answers=True))[name]), name


class TestPictures:
    def test_files_images_and_arrays_are_the_same_picture(self, tmp_path: Path) -> None:
        picture = make_picture(0, 100, 100)
        Image.fromarray(picture).save(tmp_path / "picture.png")
        wanted = picture_to_patches(picture, PatchSettings())
        for other in (Image.fromarray(picture), tmp_path / "picture.png"):
            assert np.array_equal(picture_to_patches(other, PatchSettings()), wanted)

    def test_a_patch_holds_its_own_pixels_in_the_order_of_tokens(self) -> None:
        settings = PatchSettings(picture_size=56, mean=(0, 0, 0), deviation=(1, 1, 1))
        picture = make_picture(0, 56, 56)
        patches = picture_to_patches(picture, settings).reshape(16, 3, 2, 14, 14)
        order = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
        for patch, (row, column) in zip(patches, order, strict=False):
            part = picture[14 * row : 14 * row + 14, 14 * column : 14 * column + 14] / 255
            for frame in range(2):
                np.testing.assert_allclose(patch[:, frame], part.transpose(2, 0, 1), atol=1e-6)

    def test_a_wide_picture_keeps_its_proportions_on_white_paper(self) -> None:
        settings = PatchSettings(picture_size=56, mean=(0, 0, 0), deviation=(1, 1, 1))
        wide = np.zeros((28, 56, 3), dtype=np.uint8)
        square = np.full((56, 56, 3), 255, dtype=np.uint8)
        square[14:42] = 0
        assert np.array_equal(
            picture_to_patches(wide, settings), picture_to_patches(square, settings)
        )

    def test_what_is_transparent_is_paper(self) -> None:
        clear = Image.fromarray(np.zeros((56, 56, 4), dtype=np.uint8))
        settings = PatchSettings(picture_size=56, mean=(0, 0, 0), deviation=(1, 1, 1))
        assert (picture_to_patches(clear, settings) == 1).all()

    def test_four_views_are_put_two_by_two(self, processor: CadrilleProcessor) -> None:
        pytest.importorskip("cadwright.geometry.mesh_to_views")
        views = [make_picture(seed, 32, 32) for seed in range(4)]
        mosaic = np.vstack([np.hstack(views[:2]), np.hstack(views[2:])])
        one, other = processor(pictures=[views]), processor(pictures=[mosaic])
        assert torch.equal(one["pixel_values_videos"], other["pixel_values_videos"])

    def test_a_size_that_patches_do_not_divide_is_refused(self) -> None:
        with pytest.raises(InputError, match="multiple of 28 pixels, not 268"):
            PatchSettings(picture_size=268)

    @pytest.mark.parametrize(("kind", "size"), [("qwen2_vl", 280), ("qwen3_vl", 288)])
    def test_pictures_are_no_smaller_than_the_four_views(self, kind: str, size: int) -> None:
        assert config_to_patches(make_config(kind))["picture_size"] == size


class TestLoadModel:
    def test_newer_layouts_load_too(self, folder: Path, model: Cadrille, tmp_path: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        nested = {
            name.replace("model.", "model.language_model.", 1)
            if name.startswith("model.")
            else name.replace("visual.", "model.visual.", 1): value
            for name, value in tensors.items()
        }
        assert "model.visual.patch_embed.proj.weight" in nested
        save_file(nested, folder / "model.safetensors", metadata={"format": "pt"})
        values = json.loads((folder / "config.json").read_text())
        own = {"text_config": model.config.text_config.to_dict()}
        (folder / "config.json").write_text(json.dumps(values | own))
        loaded, _ = load_model(folder)
        for name, value in model.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[name]), name

    def test_the_published_layout_needs_a_tokenizer(self, tokenizer: Any) -> None:
        with pytest.raises(CheckpointError, match="Qwen/Qwen2-VL-2B-Instruct"):
            load_model(GOLDEN / "cadrille_tiny")
        with pytest.raises(
            CheckpointError, match="token id 6 in the tokenizer but 304 in the model"
        ):
            load_model(GOLDEN / "cadrille_tiny", tokenizer=tokenizer)

    def test_missing_unexpected_and_misshapen_tensors_are_named(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        good = load_file(path)
        name = "visual.merger.ln_q.weight"
        save_file({key: value for key, value in good.items() if key != name}, path)
        with pytest.raises(CheckpointError, match=rf"lacks the tensor {name}"):
            load_model(folder)
        save_file(good | {"model.extra": torch.zeros(2)}, path)
        with pytest.raises(CheckpointError, match=r"unexpected tensor model\.extra"):
            load_model(folder)
        save_file(good | {name: torch.zeros(31)}, path)
        with pytest.raises(CheckpointError, match=r"\(31,\) instead of \(32,\)"):
            load_model(folder)
        path.write_bytes((GOLDEN / "cadrille_tiny" / "model.safetensors").read_bytes()[:-4])
        with pytest.raises(CheckpointError, match="cut off and has lost"):
            load_model(folder)

    def test_a_vocabulary_smaller_than_a_special_id_is_refused(self, folder: Path) -> None:
        change_json(folder / "config.json", video_token_id=48)
        with pytest.raises(
            CheckpointError, match="vocabulary of 48 has no room for video_token_id 48"
        ):
            load_model(folder)

    def test_a_tokenizer_too_large_for_the_model_is_refused(self, folder: Path) -> None:
        large = make_tokenizer([*NAMES, *(f"<{i}>" for i in range(40))])
        with pytest.raises(CheckpointError, match="only 48"):
            load_model(folder, tokenizer=large)

    def test_another_model_is_refused(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="'cad_recode' model|'qwen2' model"):
            load_model(GOLDEN / "cad_recode_tiny")
        with pytest.raises(CheckpointError, match="'qwen2_vl' model, not of 'qwen3_vl'"):
            CadrilleQwen3.from_pretrained(folder)

    def test_processor_and_model_must_agree(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path / "copy")
        change_json(tmp_path / "copy" / "config.json", num_points=9)
        with pytest.raises(CheckpointError, match="9 points"):
            load_model(tmp_path / "copy")
        change_json(folder / "processor_config.json", patches={"patch_size": 7})
        with pytest.raises(CheckpointError, match="patch_size is 7 in the processor but 14"):
            load_model(folder)

    def test_counts_and_ids_of_a_configuration_are_checked(self) -> None:
        assert CadrilleConfig().num_points == 256
        with pytest.raises(InputError, match="num_points"):
            CadrilleConfig(num_points=0)
        with pytest.raises(InputError, match="no room for image_token_id"):
            make_config("qwen2_5_vl", image_token_id=48)


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_importing_the_package_imports_no_torch() -> None:
    source = Path(__file__).parents[2] / "src"
    program = (
        f"import sys; sys.path.insert(0, {str(source)!r}); import cadwright.models; "
        "import cadwright.models.cadrille; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
