"""Samples to a batch: token ids, mask, labels and points, padded on the right.

In: samples (program text and points, MODEL frame). Out: a Batch of numpy arrays, what a model's
``forward`` takes. PointEncoder is for CADRecode; that of Cadrille is training.conversations.
Not covered: where samples come from (stream, finite). Shape suffixes as in models: B, T, P.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cadwright.types import Sample

POINT_MARK = -1
NO_LOSS = -100

# Keys the random streams of one run apart from each other (see also stream).
NOISE_KEY = 1

TextToIds = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What the model's ``forward`` takes.

    Attributes:
        inputs: by the names of ``forward``; ``input_ids``, ``attention_mask`` and ``labels``,
            each (B, T) int64, are always there.
        indices: (B,) int64, the draws of the stream.
    """

    inputs: dict[str, NDArray[Any]]
    indices: NDArray[np.int64]

    @property
    def num_targets(self) -> int:
        """Tokens with a loss."""
        return int((self.inputs["labels"] != NO_LOSS).sum())

    @property
    def num_positions(self) -> int:
        """B times T."""
        return int(self.inputs["input_ids"].size)

    @property
    def num_padding(self) -> int:
        """Positions that hold neither point, picture nor token."""
        return int((self.inputs["attention_mask"] == 0).sum())


class Encoded(Protocol):
    """A sample ready for batching; ``num_tokens`` is what it is sorted by."""

    @property
    def index(self) -> int:
        """Which draw of the stream it is."""

    @property
    def num_tokens(self) -> int:
        """Positions it takes, points left out."""


class Encoder(Protocol):
    """Makes samples ready one by one, then puts them together."""

    def encode(self, sample: Sample, *, seed: int) -> Any:
        """An ``Encoded``, or None where the text is too long."""

    def collate(self, items: Sequence[Any]) -> Batch:
        """Stack at least one ``Encoded``."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSample:
    """A program and its points, ready for batching.

    Attributes:
        index: which draw of the stream it is.
        token_ids: (N,) int64, start token, program, end token.
        points: (P, 3) float32, MODEL frame, noise included.
    """

    index: int
    token_ids: NDArray[np.int64]
    points: NDArray[np.float32]

    @property
    def num_tokens(self) -> int:
        """N."""
        return len(self.token_ids)


@dataclass(frozen=True, slots=True, eq=False)
class PointEncoder:
    """Samples for CADRecode.

    Attributes:
        text_to_ids: program text to ids, without start and end token.
        bos_id: start token.
        eos_id: end token.
        pad_id: padding token.
        max_tokens: longest program, start and end token included.
        noise_std: standard deviation of the noise on points, MODEL frame.
        noise_probability: share of samples that get noise.
    """

    text_to_ids: TextToIds
    bos_id: int
    eos_id: int
    pad_id: int
    max_tokens: int
    noise_std: float
    noise_probability: float

    def encode(self, sample: Sample, *, seed: int) -> EncodedSample | None:
        """Ids and noisy points of a sample; None where the program is too long."""
        ids = [self.bos_id, *self.text_to_ids(sample.text), self.eos_id]
        if len(ids) > self.max_tokens:
            return None
        points = add_noise(
            sample.points,
            seed=seed,
            index=sample.index,
            std=self.noise_std,
            probability=self.noise_probability,
        )
        return EncodedSample(sample.index, np.array(ids, dtype=np.int64), points)

    def collate(self, items: Sequence[EncodedSample]) -> Batch:
        """See ``collate``."""
        return collate(items, pad_id=self.pad_id)


def collate(samples: Sequence[EncodedSample], *, pad_id: int) -> Batch:
    """Stack samples: points first, then tokens, then padding.

    Args:
        samples: at least one, all with the same number of points.
        pad_id: stands wherever no token does.

    Returns:
        ``input_ids``, ``attention_mask`` (-1 at points, 1 at tokens, 0 at padding), ``labels``
        (-100 at points, start token and padding), each (B, T), T = P + longest program; and
        ``point_cloud`` (B, P, 3) float32, MODEL frame.
    """
    num_points = len(samples[0].points)
    width = num_points + max(len(s.token_ids) for s in samples)
    input_ids = np.full((len(samples), width), pad_id, dtype=np.int64)
    mask = np.zeros_like(input_ids)
    labels = np.full_like(input_ids, NO_LOSS)
    mask[:, :num_points] = POINT_MARK
    for row, sample in enumerate(samples):
        end = num_points + len(sample.token_ids)
        input_ids[row, num_points:end] = sample.token_ids
        mask[row, num_points:end] = 1
        # The start token is always there: predicting it from the last point teaches nothing.
        labels[row, num_points + 1 : end] = sample.token_ids[1:]
    inputs: dict[str, NDArray[Any]] = {
        "input_ids": input_ids,
        "attention_mask": mask,
        "labels": labels,
        "point_cloud": np.stack([s.points for s in samples]).astype(np.float32, copy=False),
    }
    return Batch(inputs, np.array([s.index for s in samples], dtype=np.int64))


def add_noise(
    points: NDArray[np.float32], *, seed: int, index: int, std: float, probability: float
) -> NDArray[np.float32]:
    """Gaussian noise on all points of a sample, or on none of them.

    CAD-Recode (arXiv 2412.14042, section 4.3) adds it to half of the samples.

    Args:
        points: (P, 3) float32, MODEL frame.
        seed: of the stream.
        index: of the sample; with ``seed`` it fixes the noise.
        std: standard deviation, MODEL frame.
        probability: of getting noise at all.

    Returns:
        (P, 3) float32, MODEL frame; the input itself where there is no noise.
    """
    rng = np.random.default_rng((seed, NOISE_KEY, index))
    if std == 0.0 or rng.random() >= probability:
        return points
    noise = rng.standard_normal(points.shape, dtype=np.float32)
    return points + np.float32(std) * noise
