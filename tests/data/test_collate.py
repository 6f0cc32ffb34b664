"""Batches are what the model's processor makes, padded on the right."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.data.collate import NO_LOSS, POINT_MARK, EncodedSample, collate
from cadwright.models import CADRecodeProcessor
from cadwright.models.cad_recode.tokenizer import build_tokenizer

TEXTS = [
    "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr=w0.sketch().circle(16)",
    "import cadquery as cq\nr=1",
]


@pytest.fixture(scope="module")
def processor() -> CADRecodeProcessor:
    return CADRecodeProcessor(build_tokenizer(TEXTS * 5), num_points=4)


def _samples(processor: CADRecodeProcessor) -> list[EncodedSample]:
    rng = np.random.default_rng(0)
    return [
        EncodedSample(
            index=10 + i,
            token_ids=np.array(
                [
                    processor.start_token_id,
                    *processor.tokenizer(text, add_special_tokens=False)["input_ids"],
                    processor.end_token_id,
                ]
            ),
            points=rng.uniform(-1, 1, (4, 3)).astype(np.float32),
        )
        for i, text in enumerate(TEXTS)
    ]


def test_training_sees_what_the_processor_makes(processor: CADRecodeProcessor) -> None:
    samples = _samples(processor)
    batch = collate(samples, pad_id=processor.pad_token_id)
    expected = processor(
        points=np.stack([s.points for s in samples]),
        programs=TEXTS,
        padding_side="right",
        return_tensors="np",
    )
    for name in ("input_ids", "attention_mask", "labels", "point_cloud"):
        assert np.array_equal(getattr(batch, name), expected[name]), name
    assert batch.indices.tolist() == [10, 11]


def test_counts_agree_with_the_masks(processor: CADRecodeProcessor) -> None:
    samples = _samples(processor)
    batch = collate(samples, pad_id=processor.pad_token_id)
    assert batch.num_targets == sum(len(s.token_ids) - 1 for s in samples)
    assert batch.num_padding == len(samples[0].token_ids) - len(samples[1].token_ids)
    assert ((batch.attention_mask == POINT_MARK).sum(axis=1) == 4).all()
    assert (batch.labels[batch.attention_mask != 1] == NO_LOSS).all()
