"""Cadrille is trained on points, views and words mixed; it starts from a CADRecode where it can."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cadwright.data.stream import SampleStream, StreamConfig
from cadwright.models import CADRecode, Cadrille, CadrilleProcessor
from cadwright.models.cad_recode.tokenizer import load_tokenizer
from cadwright.models.cadrille import load_model
from cadwright.training import cadrille_start, conversations
from cadwright.training.config import TrainConfig
from cadwright.training.conversations import ConversationEncoder
from cadwright.training.models import make_model
from cadwright.training.sft import train
from cadwright.types import Sample

WORDS = ["A box with a round hole, seen from four sides.", "Make a box 20 by 30 by 4 and a hole."]
FIRST = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr=w0.workplane(offset=0/2)"


def draw_box(seed: int, index: int) -> Sample:
    """A box of the PROGRAM frame, with points of no meaning."""
    rng = np.random.default_rng((seed, index))
    text = f"{FIRST}.box({rng.integers(20, 180)},{rng.integers(20, 180)},200)"
    return Sample(index, text, rng.uniform(-1, 1, (8, 3)).astype(np.float32))


@pytest.fixture(autouse=True)
def _few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """No describing of hundreds of programs for a vocabulary; descriptions that cost nothing."""
    monkeypatch.setattr(cadrille_start, "_descriptions", lambda _: iter(WORDS * 3))
    monkeypatch.setattr(
        conversations, "describe", lambda *_, style, seed: f"A box, {style} {seed}."
    )


@pytest.fixture
def multimodal(tiny: TrainConfig) -> TrainConfig:
    return dataclasses.replace(
        tiny, model="cadrille", vision_width=32, vision_layers=1, picture_size=56, max_tokens=120,
        iterations=3, hidden_size=32,
    )  # fmt: skip


def make_encoder(config: TrainConfig, *weights: float) -> ConversationEncoder:
    _, processor = make_model(config, None)
    assert isinstance(processor, CadrilleProcessor)
    return ConversationEncoder(
        processor, weights=weights, max_tokens=120, noise_std=0.0, noise_probability=0.0
    )  # type: ignore[arg-type]


def losses(folder: Path) -> list[float]:
    records = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if "loss" in record]


def test_samples_are_shown_in_three_ways_by_their_weights(multimodal: TrainConfig) -> None:
    encoder = make_encoder(multimodal, 2.0, 1.0, 1.0)
    assert pickle.dumps(encoder)  # goes to worker processes
    encoded = [encoder.encode(draw_box(0, index), seed=3) for index in range(60)]
    kinds = Counter(item.kind for item in encoded if item is not None)
    assert sum(kinds.values()) == 60
    assert 20 <= kinds["points"] <= 40 and min(kinds["views"], kinds["words"]) >= 7
    for item in encoded:
        assert item is not None
        shown = item.conversation
        assert (shown.points is not None) == (item.kind == "points")
        assert (shown.picture is not None) == (item.kind == "views")
        assert (shown.questions[0] != cadrille_start.QUESTION) == (item.kind == "words")


def test_descriptions_give_all_measures_as_often_as_asked_for(multimodal: TrainConfig) -> None:
    encoder = make_encoder(multimodal, 0.0, 0.0, 1.0)
    shares = {}
    for share in (0.0, 0.5, 1.0):
        some = dataclasses.replace(encoder, dimensioned_share=share)
        shown = [some.encode(draw_box(0, index), seed=0) for index in range(40)]
        questions = [one.conversation.questions[0] for one in shown if one is not None]
        shares[share] = np.mean(["dimensioned" in question for question in questions])
    assert shares[0.0] == 0.0 and shares[1.0] == 1.0
    assert 0.3 < shares[0.5] < 0.7


def test_kind_of_a_sample_depends_on_seed_and_index_alone(multimodal: TrainConfig) -> None:
    encoder = make_encoder(multimodal, 1.0, 0.0, 1.0)
    kinds = [[encoder.encode(draw_box(0, i), seed=s).kind for i in range(20)] for s in (3, 3, 4)]
    assert kinds[0] == kinds[1] != kinds[2]


def test_words_are_tokens_and_programs_cost_what_they_cost_before(multimodal: TrainConfig) -> None:
    _, processor = make_model(multimodal, None)
    like = cadrille_start.load_tokenizer()
    text = draw_box(0, 1).text
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert processor.tokenizer.decode(ids) == text
    assert len(ids) <= len(like(text, add_special_tokens=False)["input_ids"]) + 2
    assert processor.tokenizer.tokenize("A box with a") == ["A", " box", " with", " ", "a"]


def test_mixed_training_resumes_to_the_bit_and_leaves_a_usable_model(
    multimodal: TrainConfig, tmp_path: Path
) -> None:
    whole = dataclasses.replace(multimodal, output_dir=str(tmp_path / "whole"))
    final = train(whole, draw=draw_box)
    parted = dataclasses.replace(multimodal, output_dir=str(tmp_path / "parted"))
    train(dataclasses.replace(parted, max_minutes=1e-9), draw=draw_box)
    assert (tmp_path / "parted" / "checkpoint-1").is_dir()
    again = train(parted, draw=draw_box)
    assert losses(tmp_path / "parted") == losses(tmp_path / "whole")
    model, processor = load_model(final)
    other = load_model(again)[0].state_dict()
    assert all(torch.equal(value, other[name]) for name, value in model.state_dict().items())
    prompt = processor(points=[None, np.zeros((8, 3), dtype=np.float32)], texts=["A box", None])
    ids = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    assert ids.shape[0] == 2


def test_new_cadrille_takes_over_what_a_cad_recode_has_learned(
    multimodal: TrainConfig, tiny: TrainConfig, draw_toy: Any
) -> None:
    small = dataclasses.replace(tiny, hidden_size=32, iterations=1)
    recode = train(small, draw=draw_toy)
    model, processor = make_model(dataclasses.replace(multimodal, hidden_size=None), recode)
    assert isinstance(model, Cadrille)
    source, reader = make_model(small, recode)
    layers, old = model.model.language_model.layers, source.model.layers
    for ours, theirs in zip(layers.parameters(), old.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    found, expected = (m.point_encoder.projection.weight for m in (model, source))
    assert torch.equal(found, expected)
    ours = model.get_input_embeddings().weight[processor.tokenizer.get_vocab()["#57"]]
    theirs = source.get_input_embeddings().weight[reader.tokenizer.get_vocab()["#57"]]
    assert torch.equal(ours, theirs)


def test_new_cad_recode_takes_over_what_a_cadrille_knows_of_points(
    multimodal: TrainConfig, tiny: TrainConfig
) -> None:
    folder = train(dataclasses.replace(multimodal, iterations=1), draw=draw_box)
    source, reader = make_model(multimodal, folder)
    small = dataclasses.replace(tiny, hidden_size=None)
    model, processor = make_model(small, folder)
    assert isinstance(model, CADRecode) and processor.num_points == reader.num_points
    layers, old = model.model.layers, source.model.language_model.layers
    for ours, theirs in zip(layers.parameters(), old.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    found, expected = (m.point_encoder.projection.weight for m in (model, source))
    assert torch.equal(found, expected)
    ours = model.get_input_embeddings().weight[processor.tokenizer.get_vocab()["#-8"]]
    theirs = source.get_input_embeddings().weight[reader.tokenizer.get_vocab()["#-8"]]
    assert torch.equal(ours, theirs)


def test_scored_programs_are_written_from_all_three(
    multimodal: TrainConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        multimodal, iterations=1, eval_every=1, eval_samples=4, eval_programs=5
    )
    train(config, draw=draw_box)
    lines = (Path(config.output_dir) / "log.jsonl").read_text().splitlines()
    record = next(r for r in map(json.loads, lines) if "eval_iou" in r)
    assert record["eval_loss"] > 0 and record["eval_invalid_ratio"] == 1.0


def test_batches_of_all_kinds_are_sorted_by_what_they_take(multimodal: TrainConfig) -> None:
    encoder = make_encoder(multimodal, 1.0, 1.0, 1.0)
    settings = StreamConfig(seed=1, step_samples=4, pool_batches=4)
    pool = SampleStream(draw_box, encoder, settings).pool(0)
    batches = [batch for step in pool.steps for batch in step]
    padding = sum(b.num_padding for b in batches) / sum(b.num_positions for b in batches)
    assert padding < 0.1


def test_what_stands_between_two_numbers_of_a_description_is_one_token() -> None:
    tokenizer = cadrille_start.build_words_tokenizer(load_tokenizer())
    ids = tokenizer(WORDS[1])["input_ids"]
    pieces = [tokenizer.decode([one]) for one in ids]
    assert pieces[:6] == ["Make a box ", "20", " by ", "30", " by ", "4"]
    assert tokenizer.decode(ids) == WORDS[1]
