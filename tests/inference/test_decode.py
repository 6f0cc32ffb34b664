from __future__ import annotations

from pathlib import Path

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
    stop = _Stragglers(decoder.processor)
    end, prompt = decoder.processor.end_token_id, NUM_POINTS + 1
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
