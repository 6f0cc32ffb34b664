from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reconstruct_stubs import DISC, RING

from cadwright.errors import CheckpointError, InputError
from cadwright.inference.decode import DONE_SHARE, GROWTH, Decoder, _Stragglers, pick_device
from cadwright.models import CADRecode, CADRecodeConfig, CADRecodeProcessor
from cadwright.models.cad_recode.tokenizer import build_tokenizer

NUM_POINTS = 8


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    tokenizer = build_tokenizer([RING, DISC], min_count=1)
    processor = CADRecodeProcessor(tokenizer, num_points=NUM_POINTS)
    config = CADRecodeConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=24, num_points=NUM_POINTS,
        bos_token_id=processor.start_token_id, eos_token_id=processor.end_token_id,
        pad_token_id=processor.pad_token_id,
    )  # fmt: skip
    return Decoder(CADRecode(config).eval(), processor)


@pytest.fixture(scope="module")
def clouds() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, (NUM_POINTS, 3)).astype(np.float32) for _ in range(3)]


def test_same_seed_gives_the_same_texts_and_another_seed_others(
    decoder: Decoder, clouds: list[NDArray[np.float32]]
) -> None:
    first, same, other = (
        decoder.decode(clouds, num_candidates=9, seed=seed, max_new_tokens=12) for seed in (1, 1, 2)
    )
    assert first == same
    assert first != other
    assert len(first) == 9


def test_first_candidates_are_greedy_one_for_each_point_set(
    decoder: Decoder, clouds: list[NDArray[np.float32]]
) -> None:
    mixed = decoder.decode(clouds, num_candidates=12, seed=3, max_new_tokens=12)
    greedy = decoder.decode(clouds, num_candidates=3, temperature=0, seed=4, max_new_tokens=12)
    assert mixed[:3] == greedy
    for cloud, text in zip(clouds, greedy, strict=True):
        alone = decoder.decode([cloud], num_candidates=1, seed=0, max_new_tokens=12)
        assert alone == [text]


@pytest.mark.parametrize("num", [1, 2, 4, 7])
def test_as_many_candidates_as_asked_for(
    decoder: Decoder, clouds: list[NDArray[np.float32]], num: int
) -> None:
    assert len(decoder.decode(clouds, num_candidates=num, seed=0, max_new_tokens=3)) == num


def test_global_random_state_is_left_alone(
    decoder: Decoder, clouds: list[NDArray[np.float32]]
) -> None:
    before = torch.get_rng_state()
    decoder.decode(clouds, num_candidates=6, seed=0, max_new_tokens=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_to_decode_is_an_error(decoder: Decoder, clouds: list[NDArray[np.float32]]) -> None:
    with pytest.raises(InputError, match="at least one"):
        decoder.decode(clouds, num_candidates=0, seed=0)
    with pytest.raises(InputError, match="at least one"):
        decoder.decode([], num_candidates=1, seed=0)


def test_stragglers_may_grow_by_half_after_most_are_done(decoder: Decoder) -> None:
    end, prompt = decoder.processor.end_token_id, NUM_POINTS + 1
    stop = _Stragglers(end, prompt)
    ids = torch.full((8, prompt), 5)
    num_done, stopped_at = int(8 * DONE_SHARE), 0
    for written in range(1, 40):
        token = torch.full((8, 1), 5)
        token[:num_done] = end if written == 10 else 5
        ids = torch.cat([ids, token], dim=1)
        answer = stop(ids, torch.zeros(8, 3))
        assert answer.shape == (8,)
        if answer.all():
            stopped_at = written
            break
        assert not answer.any()
    assert stopped_at == GROWTH * 10


def test_loaded_folder_decodes_as_the_model_that_was_saved(
    decoder: Decoder,
    clouds: list[NDArray[np.float32]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    decoder.model.save_pretrained(tmp_path)
    decoder.processor.save_pretrained(tmp_path)
    capfd.readouterr()
    loaded = Decoder.load(tmp_path, device="cpu")
    assert capfd.readouterr().err == ""  # no library draws on the user's terminal
    options = {"num_candidates": 6, "seed": 0, "max_new_tokens": 12}
    assert loaded.decode(clouds, **options) == decoder.decode(clouds, **options)  # type: ignore[arg-type]


def test_unknown_device_is_one_clear_error() -> None:
    with pytest.raises(CheckpointError, match="'abacus'"):
        pick_device("abacus")


KINDS = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip


def cadrille_decoder(kind: str, *, context: int = 256) -> Decoder:
    """A random Cadrille whose words are letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from cadwright.models.cadrille import CadrilleProcessor
    from cadwright.models.cadrille.model import MODELS

    words = [*SPECIAL, "<unk>", "user", "assistant", *"abcdefghijklmnopqrstuvwxyz"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(SPECIAL)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token=SPECIAL[0], eos_token=SPECIAL[2]
    )
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    text: dict[str, Any] = {
        "vocab_size": len(words), "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": context, "rope_parameters": rope, "eos_token_id": 2,
        "pad_token_id": 0, "bos_token_id": None, "initializer_range": 0.5,
    }  # fmt: skip
    vision: dict[str, Any] = {"depth": 1, "num_heads": 2}
    if kind == "qwen2_vl":
        vision |= {"embed_dim": 16, "hidden_size": 16, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 16, "out_hidden_size": 16, "intermediate_size": 24}
    if kind == "qwen2_5_vl":
        vision |= {"fullatt_block_indexes": [0]}
    if kind == "qwen3_vl":
        rope["mrope_interleaved"] = True
        text |= {"head_dim": 8}
        vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    torch.manual_seed(0)
    model = MODELS[kind](
        MODELS[kind].config_class(
            text_config=text,
            vision_config=vision,
            num_points=NUM_POINTS,
            vision_start_token_id=3,
            vision_end_token_id=4,
            image_token_id=5,
            video_token_id=6,
        )  # fmt: skip
    )
    patch = 16 if kind == "qwen3_vl" else 14
    patches = {"picture_size": 4 * patch, "patch_size": patch}
    processor = CadrilleProcessor(tokenizer, num_points=NUM_POINTS, patches=patches)
    return Decoder(model.eval(), processor)


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_backbone_decodes_points_pictures_and_words_as_saved(
    kind: str, clouds: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    decoder = cadrille_decoder(kind)
    assert decoder.inputs == {"points", "views", "words"}
    decoder.model.save_pretrained(tmp_path)
    decoder.processor.save_pretrained(tmp_path)
    loaded = Decoder.load(tmp_path, device="cpu")
    assert type(loaded.model) is type(decoder.model)
    ways: list[dict[str, Any]] = [
        {"point_sets": clouds},
        {"picture": picture()},
        {"picture": [picture(k) for k in range(4)]},
        {"words": "a b c"},
    ]
    for given in ways:
        options = {"num_candidates": 6, "seed": 0, "max_new_tokens": 10}
        texts = decoder.decode(**given, **options)
        assert len(texts) == 6
        assert loaded.decode(**given, **options) == texts
        assert decoder.decode(**given, **(options | {"seed": 1})) != texts
        greedy = decoder.decode(**given, **(options | {"temperature": 0, "num_candidates": 1}))
        assert texts[:1] == greedy


def test_points_only_model_names_what_it_reads(decoder: Decoder) -> None:
    assert decoder.inputs == {"points"}
    with pytest.raises(InputError, match="reads meshes and point clouds, not pictures"):
        decoder.decode(picture=picture(), num_candidates=1, seed=0)
    with pytest.raises(InputError, match="reads meshes and point clouds, not text"):
        decoder.decode(words="a ring", num_candidates=1, seed=0)


def test_part_is_shown_in_one_way(decoder: Decoder, clouds: list[NDArray[np.float32]]) -> None:
    for given in ({}, {"point_sets": clouds, "words": "a"}):
        with pytest.raises(InputError, match="by one of them"):
            decoder.decode(**given, num_candidates=1, seed=0)  # type: ignore[arg-type]


def test_bad_pictures_and_too_many_words_are_refused_with_one_sentence() -> None:
    decoder = cadrille_decoder("qwen2_vl", context=96)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"picture": "absent.png"}, "absent.png is not a readable picture"),
        ({"picture": np.zeros((4, 4))}, "a picture must be"),
        ({"picture": []}, "4 views, not 0"),
        ({"picture": [picture()] * 5}, "4 views, not 5"),
        ({"words": "a " * 40}, "no room for a program: the model's context is 96"),
        ({"words": "a " * 400}, "the model's context is 96"),
    ]
    for given, message in bad:
        with pytest.raises(InputError, match=message):
            decoder.decode(**given, num_candidates=1, seed=0)


def test_program_may_be_as_long_as_the_context_leaves_room() -> None:
    decoder = cadrille_decoder("qwen2_vl", context=96)
    assert decoder._room(20, 192) == 76
    assert decoder._room(20, 30) == 30
    assert decoder._room(60, 30) == 30


def test_folder_of_another_model_names_what_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="'bert' model.*cad_recode.*qwen3_vl"):
        Decoder.load(tmp_path, device="cpu")
