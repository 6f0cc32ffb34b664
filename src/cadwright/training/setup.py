"""What a training reads: draws, encoders, the stream of steps, held-out samples.

In: a TrainConfig and the processor of the model. Out: objects for the trainer. Not covered:
the model (models), optimizers, checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from transformers import PreTrainedTokenizerBase

from cadwright.data.collate import Batch, Encoder, PointEncoder
from cadwright.data.finite import FiniteData, open_data
from cadwright.data.stream import DrawSample, SampleStream, StreamConfig, fixed_batches
from cadwright.errors import CadwrightError, InputError
from cadwright.geometry.scan import PointDegradation
from cadwright.models import CadrilleProcessor
from cadwright.training.config import TrainConfig
from cadwright.training.conversations import ConversationEncoder
from cadwright.training.models import Processor
from cadwright.types import Sample

# Added to a run's seed for its held-out samples; far beyond any seed in use.
HELD_OUT_SEED_OFFSET = 1_000_003
LARGEST_HELD_OUT_SHARE = 0.1  # of finite data that bring none of their own
HELD_OUT_POOL = 8  # batches sorted together


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


@dataclass(slots=True)
class HeldOut:
    """What a validation looks at, the same each time.

    Attributes:
        batches: for the loss.
        parts: samples whose programs are written, built and scored.
        encoder: the one the batches were made with.
        seed: of the draws.
        kinds: how Cadrille is shown each part.
    """

    encoder: Encoder
    seed: int = 0
    batches: list[Batch] = field(default_factory=list)
    parts: list[Sample] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)


def default_draw(config: TrainConfig, *, num_points: int) -> DrawSample:
    """The project's own generator; points (P, 3) float32, MODEL frame."""
    from cadwright.synth.generate import sample_at

    degradation = PointDegradation(
        noise=0.0,  # the encoder's, which finite data get, too
        missing_side=config.missing_side_probability,
        holes=config.holes_probability,
        uneven=config.uneven_probability,
    )
    spoils = degradation.missing_side or degradation.holes or degradation.uneven
    return partial(
        sample_at,
        num_points=num_points,
        degradation=degradation if spoils else None,
    )


def make_draws(
    config: TrainConfig, *, num_points: int, draw: DrawSample | None = None
) -> tuple[DrawSample, DrawSample]:
    """Draws for training, and for validation.

    Args:
        config: ``data`` and ``eval_data`` are read.
        num_points: P.
        draw: instead of the generator.

    Raises:
        InputError: data that are not there, empty, or cannot be read.
    """
    fallback = draw or default_draw(config, num_points=num_points)
    if config.data is None:
        evaluation: DrawSample = fallback
        if config.eval_data is not None:
            evaluation = open_data(config.eval_data, num_points=num_points)
        elif draw is None:  # the generator without its augmentation
            from cadwright.synth.generate import sample_at

            evaluation = partial(sample_at, num_points=num_points)
        return fallback, evaluation
    training = open_data(config.data, num_points=num_points)
    if config.eval_data is not None:
        return training, open_data(config.eval_data, num_points=num_points)
    if not config.eval_every:
        return training, training
    wanted = max(config.eval_samples, config.eval_programs)
    most = max(int(LARGEST_HELD_OUT_SHARE * len(training)), 1)
    kept, held = training.split(min(wanted, most), seed=config.seed)
    if not len(held):
        raise InputError(
            f"the data '{config.data}' hold {len(training)} sample, too few to hold one out for "
            "validation: set eval_every=0 or eval_data"
        )
    return kept, held


def make_encoder(config: TrainConfig, processor: Processor, *, noisy: bool) -> Encoder:
    """What makes batches for the model; validation goes without noise."""
    noise_std = config.noise_std if noisy else 0.0
    if isinstance(processor, CadrilleProcessor):
        return ConversationEncoder(
            processor=processor,
            weights=(config.points_weight, config.views_weight, config.words_weight),
            max_tokens=config.max_tokens,
            noise_std=noise_std,
            noise_probability=config.noise_probability,
            dimensioned_share=config.dimensioned_share,
        )
    return PointEncoder(
        text_to_ids=TextToIds(processor.tokenizer),
        bos_id=processor.start_token_id,
        eos_id=processor.end_token_id,
        pad_id=processor.pad_token_id,
        max_tokens=config.max_tokens,
        noise_std=noise_std,
        noise_probability=config.noise_probability,
    )


def make_stream(
    config: TrainConfig,
    draw: DrawSample,
    processor: Processor,
    *,
    rank: int = 0,
    num_ranks: int = 1,
) -> SampleStream:
    """The endless stream of training steps, this process's share of each."""
    settings = StreamConfig(
        seed=config.seed,
        step_samples=step_samples(config, num_ranks),
        pool_batches=config.pool_batches,
        parts=config.parts,
        reserve=config.reserve,
        accumulation=config.accumulation,
        rank=rank,
        num_ranks=num_ranks,
    )
    return SampleStream(draw, make_encoder(config, processor, noisy=True), settings)


def step_samples(config: TrainConfig, num_ranks: int) -> int:
    """Samples of an optimizer step over all processes: the effective batch size."""
    return config.batch_size * config.accumulation * num_ranks


def make_held_out(config: TrainConfig, draw: DrawSample, processor: Processor) -> HeldOut:
    """Validation samples, without noise and from another seed; none where it is off."""
    encoder = make_encoder(config, processor, noisy=False)
    seed = config.seed + HELD_OUT_SEED_OFFSET
    held = HeldOut(encoder, seed)
    if not config.eval_every:
        return held
    num = config.eval_samples
    if isinstance(draw, FiniteData):
        num = min(num, len(draw))
    size = max(min(config.batch_size, num), 1)
    settings = StreamConfig(
        seed=seed,
        step_samples=size,
        pool_batches=max(min(HELD_OUT_POOL, num // size), 1),
        reserve=config.reserve,
    )
    held.batches = list(fixed_batches(SampleStream(draw, encoder, settings), num_samples=num))
    held.parts = _draw_parts(draw, seed, config.eval_programs)
    if isinstance(encoder, ConversationEncoder):
        encoded = [encoder.encode(part, seed=seed) for part in held.parts]
        held.kinds = ["points" if item is None else item.kind for item in encoded]
    return held


def _draw_parts(draw: DrawSample, seed: int, num: int) -> list[Sample]:
    """The first ``num`` samples that can be drawn."""
    parts: list[Sample] = []
    for index in range(4 * num):
        if len(parts) == num:
            break
        try:
            sample = draw(seed, index)
        except CadwrightError:
            continue  # what cannot be built is counted in training; here it has no meaning
        if sample is not None:
            parts.append(sample)
    return parts
