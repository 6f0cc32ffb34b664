"""Samples to a batch: token ids, mask, labels and points, padded on the right.

In: encoded samples (token ids and points, MODEL frame). Out: a Batch of numpy arrays.
Not covered: where samples come from (stream). Shape suffixes as in models: B, T, P.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POINT_MARK = -1
NO_LOSS = -100


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSample:
    """A sample ready for batching.

    Attributes:
        index: which draw of the stream it is.
        token_ids: (N,) int64, start token, program, end token.
        points: (P, 3) float32, MODEL frame, noise included.
    """

    index: int
    token_ids: NDArray[np.int64]
    points: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What the model's ``forward`` takes, with T = P + longest program.

    Attributes:
        input_ids: (B, T) int64; the padding id at points and padding.
        attention_mask: (B, T) int64; -1 at points, 1 at tokens, 0 at padding.
        labels: (B, T) int64; the token to predict, -100 at points, start token, padding.
        point_cloud: (B, P, 3) float32, MODEL frame.
        indices: (B,) int64, the draws of the stream.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    labels: NDArray[np.int64]
    point_cloud: NDArray[np.float32]
    indices: NDArray[np.int64]

    @property
    def num_targets(self) -> int:
        """Tokens with a loss."""
        return int((self.labels != NO_LOSS).sum())

    @property
    def num_padding(self) -> int:
        """Positions that hold neither point nor token."""
        return int((self.attention_mask == 0).sum())


def collate(samples: Sequence[EncodedSample], *, pad_id: int) -> Batch:
    """Stack samples: points first, then tokens, then padding.

    Args:
        samples: at least one, all with the same number of points.
        pad_id: stands wherever no token does.
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
    return Batch(
        input_ids=input_ids,
        attention_mask=mask,
        labels=labels,
        point_cloud=np.stack([s.points for s in samples]).astype(np.float32, copy=False),
        indices=np.array([s.index for s in samples], dtype=np.int64),
    )
