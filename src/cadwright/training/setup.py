"""Everything a training starts from: model, processor, stream, held-out batches.

In: a TrainConfig and where to start from. Out: objects for the loop (sft). Not covered:
optimizers, checkpoints of the trainer's own state.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from cadwright.data.collate import Batch
from cadwright.data.stream import DrawSample, SampleStream, StreamConfig, fixed_batches
from cadwright.errors import CheckpointError, InputError
from cadwright.models import CADRecode, CADRecodeConfig, CADRecodeProcessor
from cadwright.models.cad_recode.checkpoint import load_model
from cadwright.models.cad_recode.tokenizer import load_tokenizer
from cadwright.training.config import TrainConfig
from cadwright.training.ordered_init import order_numbers

# Added to a run's seed for its held-out samples; far beyond any seed in use.
HELD_OUT_SEED_OFFSET = 1_000_003

# Setting of the recipe to setting of the model.
_SHAPE = {
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "intermediate_size": "intermediate_size",
    "num_points": "num_points",
}


class TextToIds:
    """Program text to ids without start and end token; picklable for worker processes.

    Args:
        tokenizer: any tokenizer of transformers.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        """Token ids of one program."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def default_draw(config: TrainConfig) -> DrawSample:
    """The project's own generator; points (P, 3) float32, MODEL frame."""
    from cadwright.synth.generate import sample_at

    return partial(sample_at, num_points=config.num_points)


def make_model(
    config: TrainConfig,
    source: str | Path | None,
    tokenizer: PreTrainedTokenizerBase | None,
) -> tuple[CADRecode, CADRecodeProcessor]:
    """A model in training mode, weights in float32, and its processor.

    Args:
        config: the shape, and the seed of random weights.
        source: folder to load, or None for random weights.
        tokenizer: goes before the one the recipe names, or the folder's, or the default's.

    Raises:
        CheckpointError: the folder cannot be loaded, or its shape is not the recipe's.
    """
    torch.manual_seed(config.seed)
    named = tokenizer if tokenizer is not None else config.tokenizer
    if source is not None:
        model, processor = load_model(source, dtype=torch.float32, tokenizer=named)
        _check_shape(model.config, config, source)
        return model.train(), processor
    if isinstance(named, str):
        from transformers import AutoTokenizer

        named = AutoTokenizer.from_pretrained(named)
    processor = CADRecodeProcessor(named or load_tokenizer(), num_points=config.num_points)
    model = CADRecode(_model_config(config, processor))
    order_numbers(model, processor.tokenizer)
    return model.train(), processor


def make_stream(
    config: TrainConfig, draw: DrawSample, processor: CADRecodeProcessor
) -> SampleStream:
    """The endless stream of training batches."""
    settings = _stream_config(config, processor, held_out=False)
    return SampleStream(draw, TextToIds(processor.tokenizer), settings)


def make_held_out(
    config: TrainConfig, draw: DrawSample, processor: CADRecodeProcessor
) -> list[Batch]:
    """Validation batches, without noise and from another seed; none where it is off."""
    if not config.eval_every:
        return []
    settings = _stream_config(config, processor, held_out=True)
    stream = SampleStream(draw, TextToIds(processor.tokenizer), settings)
    return fixed_batches(stream, num_samples=config.eval_samples)


def pick_device(name: str) -> torch.device:
    """A device by name; 'auto' is a GPU if there is one.

    Raises:
        InputError: torch knows no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise InputError(f"the setting 'device' names no device: {name!r}") from error


def _model_config(config: TrainConfig, processor: CADRecodeProcessor) -> CADRecodeConfig:
    """The shape the recipe names, input and output embeddings tied."""
    return CADRecodeConfig(
        **{theirs: getattr(config, ours) for ours, theirs in _SHAPE.items()},
        vocab_size=len(processor.tokenizer),
        max_position_embeddings=config.num_points + max(config.max_tokens, 512),
        tie_word_embeddings=True,
        initializer_range=config.hidden_size**-0.5,  # 0.02 is for widths of thousands
        bos_token_id=processor.start_token_id,
        eos_token_id=processor.end_token_id,
        pad_token_id=processor.pad_token_id,
    )


def _check_shape(found: CADRecodeConfig, config: TrainConfig, source: str | Path) -> None:
    """A loaded model must be what the recipe says it is."""
    for ours, theirs in _SHAPE.items():
        if getattr(found, theirs) != getattr(config, ours):
            raise CheckpointError(
                f"the model in '{source}' has {ours}={getattr(found, theirs)}, "
                f"the recipe says {ours}={getattr(config, ours)}"
            )


def _stream_config(
    config: TrainConfig, processor: CADRecodeProcessor, *, held_out: bool
) -> StreamConfig:
    """The stream's settings; held-out samples have their own seed and no noise."""
    return StreamConfig(
        seed=config.seed + (HELD_OUT_SEED_OFFSET if held_out else 0),
        batch_size=config.batch_size,
        pool_batches=1 if held_out else config.pool_batches,
        max_tokens=config.max_tokens,
        noise_std=0.0 if held_out else config.noise_std,
        noise_probability=config.noise_probability,
        bos_id=processor.start_token_id,
        eos_id=processor.end_token_id,
        pad_id=processor.pad_token_id,
    )
