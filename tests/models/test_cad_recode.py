"""CADRecode against golden values of the published class, and against itself.

The golden folder is a random 3-layer checkpoint in the published layout; the numbers next
to it come from the published class under transformers 4.47 and 4.50.
"""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoProcessor,
    PreTrainedTokenizerFast,
)

from cadwright.errors import CheckpointError, InputError  # noqa: E402
from cadwright.models.cad_recode import (  # noqa: E402
    CADRecode,
    CADRecodeConfig,
    CADRecodeProcessor,
    load_model,
)
from cadwright.models.layers.fourier import FourierPointEncoder, points_to_fourier  # noqa: E402
from cadwright.models.layers.splice import splice  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
NUM_POINTS = 6
WORDS = ["<pad>", "<start>", "<end>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN / "cad_recode_tiny.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(np.array(file[name])) for name in file.files}


@pytest.fixture(scope="module")
def published() -> CADRecode:
    return CADRecode.from_pretrained(GOLDEN / "cad_recode_tiny")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(bos_token="<start>", eos_token="<end>", pad_token="<pad>")


@pytest.fixture(scope="module")
def processor(tokenizer: PreTrainedTokenizerFast) -> CADRecodeProcessor:
    return CADRecodeProcessor(tokenizer, num_points=NUM_POINTS)


@pytest.fixture(scope="module")
def model() -> CADRecode:
    return make_model()


@pytest.fixture
def folder(tmp_path: Path, model: CADRecode, processor: CADRecodeProcessor) -> Path:
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def make_tokenizer(words: list[str] = WORDS, **names: str) -> PreTrainedTokenizerFast:
    words = [*words, *(name for name in names.values() if name not in words)]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", **names)


def make_config(**changes: Any) -> CADRecodeConfig:
    settings = dict(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        tie_word_embeddings=True, num_points=NUM_POINTS, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    return CADRecodeConfig(**(settings | changes))


def make_model(**changes: Any) -> CADRecode:
    torch.manual_seed(0)
    return CADRecode(make_config(**changes)).eval()


def make_clouds(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, NUM_POINTS, 3)).astype(np.float32)


def prompt_of(golden: dict[str, Any], length: int = 33) -> dict[str, Any]:
    names = ("input_ids", "attention_mask")
    return {name: golden[name][:, :length] for name in names} | {
        "point_cloud": golden["point_cloud"]
    }


class TestGolden:
    def test_logits_and_loss_are_the_published_ones(
        self, published: CADRecode, golden: dict[str, Any]
    ) -> None:
        names = ("input_ids", "attention_mask", "point_cloud", "labels")
        with torch.no_grad():
            output = published(**{name: golden[name] for name in names})
        torch.testing.assert_close(output.logits, golden["logits"], atol=1e-4, rtol=0)
        torch.testing.assert_close(output.loss, golden["loss"], atol=1e-4, rtol=0)

    def test_greedy_tokens_are_the_published_ones(
        self, published: CADRecode, golden: dict[str, Any]
    ) -> None:
        tokens = published.generate(**prompt_of(golden), max_new_tokens=24, do_sample=False)
        assert torch.equal(tokens, golden["generated"])

    def test_samples_that_share_a_prompt_continue_the_published_way(
        self, published: CADRecode, golden: dict[str, Any]
    ) -> None:
        tokens = published.generate(
            **prompt_of(golden), max_new_tokens=24, do_sample=True, top_k=1, num_return_sequences=3
        )
        assert torch.equal(tokens, golden["generated"].repeat_interleave(3, dim=0))

    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    def test_attention_kernels_agree_with_the_published_logits(
        self, attention: str, golden: dict[str, Any]
    ) -> None:
        model = CADRecode.from_pretrained(GOLDEN / "cad_recode_tiny", attn_implementation=attention)
        names = ("input_ids", "attention_mask", "point_cloud")
        with torch.no_grad():
            logits = model(**{name: golden[name] for name in names}).logits
        torch.testing.assert_close(logits, golden["logits"], atol=1e-4, rtol=0)

    def test_the_published_folder_loads_without_a_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        logging.getLogger("transformers").propagate = True
        try:
            with caplog.at_level(logging.WARNING):
                _, info = CADRecode.from_pretrained(
                    GOLDEN / "cad_recode_tiny", output_loading_info=True
                )
        finally:
            logging.getLogger("transformers").propagate = False
        assert not caplog.records
        assert not info["missing_keys"] and not info["unexpected_keys"]

    def test_loading_leaves_the_default_dtype_alone(self) -> None:
        CADRecode.from_pretrained(GOLDEN / "cad_recode_tiny", dtype=torch.bfloat16)
        assert torch.get_default_dtype() == torch.float32


class TestLayers:
    def test_fourier_columns_are_points_sines_cosines_with_the_octave_fastest(self) -> None:
        points = torch.tensor([[0.1, -0.2, 0.7]])
        features = points_to_fourier(points, num_frequencies=8)
        assert features.shape == (1, 51)
        for axis in range(3):
            for octave in range(8):
                angle = points[0, axis] * 2**octave
                column = 3 + 8 * axis + octave
                torch.testing.assert_close(features[0, column], angle.sin())
                torch.testing.assert_close(features[0, column + 24], angle.cos())

    def test_features_are_float32_under_autocast(self) -> None:
        encoder, points = FourierPointEncoder(16), torch.rand(2, 5, 3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = encoder(points)
        assert inside.dtype == torch.float32
        assert torch.equal(inside, encoder(points))

    def test_the_encoder_keeps_no_buffer(self) -> None:
        assert not list(FourierPointEncoder(16).buffers())

    def test_splice_fills_marked_positions_in_order_and_keeps_the_rest(self) -> None:
        embeds, inserts = torch.zeros(2, 4, 3), torch.arange(12.0).reshape(2, 2, 3)
        marked = torch.tensor([[True, False, True, False], [False, True, True, False]])
        result = splice(embeds, marked, inserts)
        assert torch.equal(result[0, [0, 2]], inserts[0])
        assert torch.equal(result[1, [1, 2]], inserts[1])
        assert not result[~marked].any() and not embeds.any()

    def test_splice_refuses_counts_that_only_fit_in_total(self) -> None:
        marked = torch.tensor([[True, True, True], [True, False, False]])
        with pytest.raises(InputError, match=r"\[3, 1\]"):
            splice(torch.zeros(2, 3, 4), marked, torch.zeros(2, 2, 4))


class TestForward:
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_unequal_lengths_give_each_row_what_it_gets_alone(
        self, side: str, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        clouds, programs = make_clouds(3), ["a b c d e", "f", "g h"]
        batch = processor(points=clouds, programs=programs, padding_side=side)
        with torch.no_grad():
            logits = model(**batch).logits
            for i, program in enumerate(programs):
                single = processor(points=clouds[i], programs=program)
                alone = model(**single).logits[0]
                torch.testing.assert_close(
                    logits[i][batch["attention_mask"][i] != 0], alone, atol=1e-5, rtol=0
                )

    def test_loss_is_the_same_on_either_side_of_padding(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        make = {"points": make_clouds(2), "programs": ["a b c d", "e"]}
        with torch.no_grad():
            left = model(**processor(**make, padding_side="left")).loss
            right = model(**processor(**make, padding_side="right")).loss
        torch.testing.assert_close(left, right, atol=1e-5, rtol=0)

    def test_right_padding_takes_the_causal_path_without_a_mask(
        self, model: CADRecode, processor: CADRecodeProcessor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        inner = model.model.forward

        def spy(**kwargs: Any) -> Any:
            seen.append(kwargs["attention_mask"])
            return inner(**kwargs)

        monkeypatch.setattr(model.model, "forward", spy)
        make = {"points": make_clouds(2), "programs": ["a b c", "d"]}
        model(**processor(**make, padding_side="right"))
        model(**processor(**make, padding_side="left"))
        assert seen[0] is None and seen[1] is not None

    def test_loss_ignores_what_has_no_label_and_shifts_by_one(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        batch = processor(points=make_clouds(2), programs=["a b c", "d e"])
        with torch.no_grad():
            output = model(**batch)
        log_probs = output.logits[:, :-1].log_softmax(dim=-1)
        labels = batch["labels"][:, 1:]
        wanted = [-log_probs[i, t, labels[i, t]] for i, t in (labels != -100).nonzero().tolist()]
        assert len(wanted) == 3 + 1 + 2 + 1
        torch.testing.assert_close(output.loss, torch.stack(wanted).mean())

    def test_keeping_only_the_learned_positions_leaves_the_loss(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        batch = processor(points=make_clouds(2), programs=["a b c", "d e"])
        learned = torch.nn.functional.pad(batch["labels"][:, 1:] != -100, (0, 1))
        with torch.no_grad():
            whole, part = model(**batch), model(**batch, logits_to_keep=learned)
            tail = model(**batch, logits_to_keep=5)
        assert part.logits.shape == (int(learned.sum()), 40)
        torch.testing.assert_close(part.loss, whole.loss)
        torch.testing.assert_close(tail.loss, whole.loss)

    def test_gradients_reach_the_point_encoder_and_the_decoder(
        self, processor: CADRecodeProcessor
    ) -> None:
        model = make_model().train()
        batch = processor(points=make_clouds(2), programs=["a b", "c"], padding_side="right")
        model(**batch).loss.backward()
        without = [name for name, value in model.named_parameters() if value.grad is None]
        assert not without
        assert model.point_encoder.projection.weight.grad.abs().sum() > 0

    def test_bfloat16_runs_near_float32_with_a_float32_point_encoder(
        self, folder: Path, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        half = CADRecode.from_pretrained(folder, dtype=torch.bfloat16)
        assert half.lm_head.weight.dtype == torch.bfloat16
        assert half.point_encoder.projection.weight.dtype == torch.float32
        batch = processor(points=make_clouds(2), programs=["a b c", "d"])
        with torch.no_grad():
            near, exact = half(**batch), model(**batch)
        assert near.logits.dtype == torch.bfloat16
        assert abs(near.loss.item() - exact.loss.item()) < 0.05 * exact.loss.item()

    def test_a_model_cast_as_a_whole_still_runs(self, processor: CADRecodeProcessor) -> None:
        model = make_model().to(torch.bfloat16)
        with torch.no_grad():
            loss = model(**processor(points=make_clouds(1), programs="a b")).loss
        assert torch.isfinite(loss)

    def test_points_and_marks_must_come_together(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        batch = processor(points=make_clouds(1))
        ids, mask, cloud = (batch[name] for name in processor.model_input_names)
        with pytest.raises(InputError, match="no point_cloud"):
            model(input_ids=ids, attention_mask=mask)
        with pytest.raises(InputError, match="attention_mask"):
            model(input_ids=ids, point_cloud=cloud)
        with pytest.raises(InputError, match="mark 5 positions"):
            model(input_ids=ids, attention_mask=mask, point_cloud=cloud[:, :5])


class TestGenerate:
    def test_unequal_prompts_continue_as_they_do_alone(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        clouds = make_clouds(2)
        batch = processor(points=clouds, programs=["a b c d", "e"])
        batch.pop("labels")
        settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
        together = model.generate(**batch, **settings)[:, -8:]
        for i, program in enumerate(["a b c d", "e"]):
            single = processor(points=clouds[i], programs=program)
            single.pop("labels")
            assert torch.equal(model.generate(**single, **settings)[0, -8:], together[i])

    @pytest.mark.parametrize(
        "settings",
        [
            {"use_cache": False},
            {"cache_implementation": "static", "disable_compile": True},
            {"prefill_chunk_size": 32},
        ],
    )
    def test_every_kind_of_cache_gives_the_same_tokens(
        self, settings: dict[str, Any], published: CADRecode, golden: dict[str, Any]
    ) -> None:
        tokens = published.generate(
            **prompt_of(golden), max_new_tokens=24, do_sample=False, **settings
        )
        assert torch.equal(tokens, golden["generated"])

    def test_beams_repeat_the_points(self, model: CADRecode, processor: CADRecodeProcessor) -> None:
        batch = processor(points=make_clouds(2))
        tokens = model.generate(**batch, max_new_tokens=4, num_beams=3, num_return_sequences=3)
        assert tokens.shape[0] == 6

    def test_points_are_encoded_once_per_cloud_for_many_samples(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        shapes: list[tuple[int, ...]] = []
        handle = model.point_encoder.register_forward_hook(
            lambda module, inputs, output: shapes.append(tuple(inputs[0].shape))
        )
        torch.manual_seed(0)
        tokens = model.generate(
            **processor(points=make_clouds(2)),
            max_new_tokens=6, do_sample=True, num_return_sequences=16, eos_token_id=None,
        )  # fmt: skip
        handle.remove()
        assert shapes == [(2, NUM_POINTS, 3)]
        assert tokens.shape == (32, NUM_POINTS + 1 + 6)
        assert len({tuple(row) for row in tokens[:16].tolist()}) > 1

    def test_samples_of_a_shared_prompt_are_those_of_repeated_prompts(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        batch = processor(points=make_clouds(2))
        settings = {"max_new_tokens": 6, "do_sample": True, "eos_token_id": None}
        torch.manual_seed(3)
        shared = model.generate(**batch, **settings, num_return_sequences=4)
        torch.manual_seed(3)
        repeated = {name: value.repeat_interleave(4, dim=0) for name, value in batch.items()}
        assert torch.equal(shared, model.generate(**repeated, **settings))

    def test_a_prefill_can_be_reused(self, published: CADRecode, golden: dict[str, Any]) -> None:
        prompt = prompt_of(golden)
        ids, mask = prompt["input_ids"], prompt["attention_mask"]
        with torch.no_grad():
            cache = published.prefill(
                ids[:, :-1], attention_mask=mask[:, :-1], point_cloud=prompt["point_cloud"]
            )
        tokens = published.generate(
            input_ids=ids, attention_mask=mask, past_key_values=cache,
            max_new_tokens=24, do_sample=False,
        )  # fmt: skip
        assert torch.equal(tokens, golden["generated"])

    def test_greedy_decoding_still_refuses_several_sequences(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        with pytest.raises(ValueError, match="num_return_sequences"):
            model.generate(
                **processor(points=make_clouds(1)), do_sample=False, num_return_sequences=2
            )

    def test_unknown_arguments_are_refused(
        self, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        with pytest.raises(ValueError, match="point_clouds"):
            model.generate(**processor(points=make_clouds(1)), point_clouds=make_clouds(1))


class TestProcessor:
    def test_a_prompt_is_points_then_the_start_token(self, processor: CADRecodeProcessor) -> None:
        batch = processor(points=make_clouds(2))
        assert batch["input_ids"].tolist() == [[0] * NUM_POINTS + [1]] * 2
        assert batch["attention_mask"].tolist() == [[-1] * NUM_POINTS + [1]] * 2
        assert batch["point_cloud"].dtype == torch.float32
        assert "labels" not in batch

    def test_labels_are_the_program_and_its_end(self, processor: CADRecodeProcessor) -> None:
        batch = processor(points=make_clouds(2), programs=["a b", "c"])
        a, b, c = (WORDS.index(letter) for letter in "abc")
        prefix = [-100] * (NUM_POINTS + 1)
        assert batch["labels"].tolist() == [[*prefix, a, b, 2], [-100, *prefix, c, 2]]
        assert batch["attention_mask"][1].tolist() == [0, *[-1] * NUM_POINTS, 1, 1, 1]

    def test_the_end_is_learned_and_visible_where_padding_has_its_id(self) -> None:
        names = ["<|im_start|>", "<|endoftext|>"]
        shared = make_tokenizer([*WORDS, *names], pad_token="<|endoftext|>")
        processor = CADRecodeProcessor(shared, num_points=NUM_POINTS)
        assert processor.end_token_id == processor.pad_token_id
        batch = processor(points=make_clouds(2), programs=["a b c", "d"])
        assert (batch["labels"] == processor.end_token_id).sum(dim=1).tolist() == [1, 1]
        assert (batch["attention_mask"] == 0).sum(dim=1).tolist() == [0, 2]
        assert processor.batch_decode(batch["input_ids"]) == ["a b c", "d"]

    def test_decoding_inverts_encoding(self, processor: CADRecodeProcessor) -> None:
        texts = ["a b c", "d"]
        ids = processor(points=make_clouds(2), programs=texts)["input_ids"]
        assert processor.batch_decode(ids) == texts
        assert processor.batch_decode(ids[:, -2:], prompt_length=0) == ["c", "d"]
        assert processor.decode([4, 5, 1, 6]) == "c"
        assert processor.decode([4, 5, 1, 6], prompt_length=0) == "a b"

    def test_points_of_wrong_shape_frame_or_value_are_refused(
        self, processor: CADRecodeProcessor
    ) -> None:
        good = make_clouds(1)[0]
        with pytest.raises(InputError, match=r"\(6, 3\), not \(5, 3\)"):
            processor(points=good[:5])
        with pytest.raises(InputError, match="MODEL frame"):
            processor(points=good * 100)
        with pytest.raises(InputError, match="finite"):
            processor(points=np.where(good > 0, np.nan, good))
        with pytest.raises(InputError, match="one program for each shape"):
            processor(points=good, programs=["a", "b"])
        with pytest.raises(InputError, match="either meshes or points"):
            processor()

    def test_tensors_arrays_and_lists_are_the_same_points(
        self, processor: CADRecodeProcessor
    ) -> None:
        clouds = make_clouds(2)
        for points in (torch.from_numpy(clouds), list(clouds), clouds.tolist()):
            assert np.array_equal(processor(points=points, return_tensors="np").point_cloud, clouds)

    def test_a_mesh_is_sampled_in_the_model_frame_whatever_its_own(
        self, processor: CADRecodeProcessor
    ) -> None:
        pytest.importorskip("cadwright.geometry.mesh_to_points")
        mesh = box_mesh(low=(1000.0, 0.0, 0.0), sides=(40.0, 20.0, 10.0))
        cloud = processor(meshes=mesh, seed=5)["point_cloud"][0]
        half = torch.tensor([1.0, 0.5, 0.25])
        on_a_face = ((cloud.abs() - half).abs() < 1e-4).any(dim=1)
        assert on_a_face.all() and (cloud.abs() <= half + 1e-4).all()

    def test_one_mesh_given_twice_is_sampled_twice_and_a_seed_fixes_it(
        self, processor: CADRecodeProcessor
    ) -> None:
        pytest.importorskip("cadwright.geometry.mesh_to_points")
        mesh = box_mesh(low=(0.0, 0.0, 0.0), sides=(4.0, 2.0, 1.0))
        first, second = processor(meshes=[mesh, mesh], seed=7)["point_cloud"]
        assert not torch.equal(first, second)
        assert torch.equal(second, processor(meshes=mesh, seed=8)["point_cloud"][0])

    def test_a_tokenizer_without_markers_is_refused(self) -> None:
        with pytest.raises(InputError, match="start token"):
            CADRecodeProcessor(make_tokenizer())


def box_mesh(*, low: tuple[float, ...], sides: tuple[float, ...]) -> Any:
    trimesh = pytest.importorskip("trimesh")
    from cadwright.types import Mesh

    box = trimesh.creation.box(extents=sides)
    vertices = np.asarray(box.vertices, dtype=np.float64) + np.asarray(low)
    return Mesh(vertices=vertices, faces=np.asarray(box.faces, dtype=np.int32))


class TestSaving:
    @pytest.mark.parametrize("tied", [True, False])
    def test_a_round_trip_keeps_every_bit(self, tied: bool, tmp_path: Path) -> None:
        model = make_model(tie_word_embeddings=tied)
        model.save_pretrained(tmp_path)
        names = set(load_file(tmp_path / "model.safetensors"))
        assert ("lm_head.weight" in names) != tied
        loaded, info = CADRecode.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        for name, value in model.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[name]), name

    def test_loading_over_the_meta_device_computes_the_same(
        self, folder: Path, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        batch = processor(points=make_clouds(2), programs=["a b", "c"])
        with torch.device("meta"):
            assert CADRecode(model.config).lm_head.weight.is_meta
        with torch.no_grad():
            assert torch.equal(
                CADRecode.from_pretrained(folder)(**batch).logits, model(**batch).logits
            )

    def test_the_auto_classes_find_what_was_saved(
        self, folder: Path, processor: CADRecodeProcessor
    ) -> None:
        config = AutoConfig.from_pretrained(folder)
        assert isinstance(config, CADRecodeConfig) and config.num_points == NUM_POINTS
        assert isinstance(AutoModelForCausalLM.from_pretrained(folder), CADRecode)
        assert isinstance(AutoModel.from_pretrained(folder), CADRecode)
        found = AutoProcessor.from_pretrained(folder)
        assert isinstance(found, CADRecodeProcessor)
        make = {"points": make_clouds(2), "programs": ["a b", "c"]}
        for name, value in processor(**make).items():
            assert torch.equal(value, found(**make)[name])

    def test_the_point_count_defaults_to_the_published_and_must_be_positive(self) -> None:
        assert CADRecodeConfig().num_points == 256
        with pytest.raises(InputError, match="num_points"):
            CADRecodeConfig(num_points=0)

    def test_importing_the_package_imports_no_torch(self) -> None:
        source = Path(__file__).parents[2] / "src"
        program = (
            f"import sys; sys.path.insert(0, {str(source)!r}); import cadwright.models; "
            "import cadwright.models.cad_recode; "
            "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class TestLoadModel:
    def test_a_saved_folder_loads_without_network(
        self, folder: Path, model: CADRecode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise AssertionError("the network was touched")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        loaded, processor = load_model(folder)
        assert processor.num_points == NUM_POINTS and not loaded.training
        assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
        assert loaded.generation_config.eos_token_id == processor.end_token_id

    def test_the_published_layout_needs_a_tokenizer(
        self, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        with pytest.raises(CheckpointError, match="Qwen/Qwen2-1.5B"):
            load_model(GOLDEN / "cad_recode_tiny")
        model, processor = load_model(GOLDEN / "cad_recode_tiny", tokenizer=tokenizer)
        assert processor.num_points == model.config.num_points == 256
        tokenizer.save_pretrained(tmp_path)
        _, again = load_model(GOLDEN / "cad_recode_tiny", tokenizer=tmp_path)
        assert again.start_token_id == processor.start_token_id

    def test_dtype_and_attention_can_be_chosen(self, folder: Path) -> None:
        model, _ = load_model(folder, dtype="bfloat16", attn="eager")
        assert model.dtype == torch.bfloat16
        assert model.config._attn_implementation == "eager"

    def test_a_missing_folder_or_file_is_named(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="there is no folder"):
            load_model(tmp_path / "nowhere")
        (folder / "model.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load_model(folder)
        (folder / "config.json").unlink()
        with pytest.raises(CheckpointError, match=r"no config\.json"):
            load_model(folder)

    def test_a_config_of_another_model_or_no_json_is_refused(self, folder: Path) -> None:
        change_json(folder / "config.json", model_type="qwen2_vl")
        with pytest.raises(CheckpointError, match="qwen2_vl"):
            load_model(folder)
        (folder / "config.json").write_text("{")
        with pytest.raises(CheckpointError, match="JSON"):
            load_model(folder)

    def test_missing_unexpected_and_misshapen_tensors_are_named(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        good = load_file(path)
        name = "point_encoder.projection.weight"
        save_file({key: value for key, value in good.items() if key != name}, path)
        with pytest.raises(CheckpointError, match=rf"lacks the tensor {name}"):
            load_model(folder)
        save_file(good | {"visual.proj": torch.zeros(2)}, path)
        with pytest.raises(CheckpointError, match=r"unexpected tensor visual\.proj"):
            load_model(folder)
        save_file(good | {name: torch.zeros(32, 50)}, path)
        with pytest.raises(CheckpointError, match=r"\(32, 50\) instead of \(32, 51\)"):
            load_model(folder)

    def test_truncated_weights_name_what_was_lost(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        whole = path.read_bytes()
        path.write_bytes(whole[:-4])
        with pytest.raises(CheckpointError, match=r"has lost the tensor point_encoder\."):
            load_model(folder)
        path.write_bytes(whole[:20])
        with pytest.raises(CheckpointError, match="cut off in its header"):
            load_model(folder)

    def test_a_lost_shard_is_named_with_its_tensors(
        self, tmp_path: Path, model: CADRecode, processor: CADRecodeProcessor
    ) -> None:
        model.save_pretrained(tmp_path, max_shard_size="10KB")
        processor.save_pretrained(tmp_path)
        load_model(tmp_path)
        shard = sorted(tmp_path.glob("model-*.safetensors"))[0]
        shard.unlink()
        with pytest.raises(CheckpointError, match=f"no {shard.name} with the tensor"):
            load_model(tmp_path)

    def test_a_tokenizer_too_large_for_the_model_is_refused(self, folder: Path) -> None:
        large = make_tokenizer(
            [*WORDS, *(f"w{i}" for i in range(40))], bos_token="<start>", eos_token="<end>",
            pad_token="<pad>",
        )  # fmt: skip
        with pytest.raises(CheckpointError, match="only 40"):
            load_model(folder, tokenizer=large)

    def test_processor_and_config_must_agree_on_the_points(self, folder: Path) -> None:
        change_json(folder / "config.json", num_points=9)
        with pytest.raises(CheckpointError, match="9 points"):
            load_model(folder)

    def test_a_copied_folder_is_whole(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path / "copy")
        model, _ = load_model(tmp_path / "copy")
        assert isinstance(model, CADRecode)


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
