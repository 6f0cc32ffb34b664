"""Batches are what the model's processor makes, padded on the right."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.data.collate import NO_LOSS, POINT_MARK, Batch, PointEncoder, add_noise
from cadwright.models import CADRecodeProcessor
from cadwright.models.cad_recode.tokenizer import build_tokenizer
from cadwright.training.setup import TextToIds
from cadwright.types import Sample

TEXTS = [
    "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr=w0.sketch().circle(16)",
    "import cadquery as cq\nr=1",
]


@pytest.fixture(scope="module")
def processor() -> CADRecodeProcessor:
    return CADRecodeProcessor(build_tokenizer(TEXTS * 5), num_points=4)


def _encoder(processor: CADRecodeProcessor, **changes: float) -> PointEncoder:
    settings = {"max_tokens": 99, "noise_std": 0.0, "noise_probability": 0.0} | changes
    return PointEncoder(
        text_to_ids=TextToIds(processor.tokenizer),
        bos_id=processor.start_token_id,
        eos_id=processor.end_token_id,
        pad_id=processor.pad_token_id,
        **settings,  # type: ignore[arg-type]
    )


def _samples() -> list[Sample]:
    rng = np.random.default_rng(0)
    clouds = rng.uniform(-1, 1, (2, 4, 3)).astype(np.float32)
    return [Sample(10 + i, text, clouds[i]) for i, text in enumerate(TEXTS)]


def _batch(processor: CADRecodeProcessor) -> Batch:
    encoder = _encoder(processor)
    return encoder.collate([encoder.encode(sample, seed=0) for sample in _samples()])


def test_training_sees_what_the_processor_makes(processor: CADRecodeProcessor) -> None:
    batch = _batch(processor)
    expected = processor(
        points=np.stack([s.points for s in _samples()]),
        programs=TEXTS,
        padding_side="right",
        return_tensors="np",
    )
    assert batch.inputs.keys() == expected.keys()
    for name, values in batch.inputs.items():
        assert np.array_equal(values, expected[name]), name
    assert batch.indices.tolist() == [10, 11]


def test_counts_agree_with_the_masks(processor: CADRecodeProcessor) -> None:
    batch = _batch(processor)
    lengths = [len(processor.tokenizer(text)["input_ids"]) for text in TEXTS]
    mask = batch.inputs["attention_mask"]
    assert batch.num_targets == sum(lengths) + 2
    assert batch.num_padding == lengths[0] - lengths[1]
    assert batch.num_positions == mask.size
    assert ((mask == POINT_MARK).sum(axis=1) == 4).all()
    assert (batch.inputs["labels"][mask != 1] == NO_LOSS).all()


def test_program_beyond_the_limit_is_refused_and_one_at_the_limit_taken(
    processor: CADRecodeProcessor,
) -> None:
    sample = _samples()[1]
    length = len(processor.tokenizer(sample.text)["input_ids"]) + 2
    assert _encoder(processor, max_tokens=length).encode(sample, seed=0) is not None
    assert _encoder(processor, max_tokens=length - 1).encode(sample, seed=0) is None


def test_noise_has_its_size_and_share_and_depends_on_the_index_alone() -> None:
    points = np.zeros((50, 3), dtype=np.float32)
    noisy = [add_noise(points, seed=0, index=i, std=0.01, probability=0.5) for i in range(400)]
    changed = [p for p in noisy if p.any()]
    assert 0.4 < len(changed) / len(noisy) < 0.6
    assert np.std(changed) == pytest.approx(0.01, rel=0.05)
    again = add_noise(points, seed=0, index=7, std=0.01, probability=0.5)
    assert np.array_equal(again, noisy[7]) and again.dtype == np.float32
    assert not points.any()


def test_no_noise_leaves_points_alone() -> None:
    points = np.ones((5, 3), dtype=np.float32)
    assert add_noise(points, seed=0, index=0, std=0.0, probability=1.0) is points
    assert add_noise(points, seed=0, index=0, std=0.1, probability=0.0) is points
