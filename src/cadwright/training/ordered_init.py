"""First weights that know numbers are ordered: of integer tokens and of the point encoder.

In: a new model and its tokenizer. Out: the same model, changed in place. With random
embeddings the 400 integers are strangers to each other, and tens of thousands of samples pass
before a small model sees that 57 lies beside 58. Here an integer token starts as a random
projection of the Fourier features of its value, the same features that the point encoder
sees (CAD-Recode, arXiv 2412.14042, section 4.1), each axis turned by a rotation of its own.
Only where training starts from nothing; trained weights are never touched.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cadwright.models import CADRecode

PROGRAM_UNITS = 100.0  # of a MODEL unit
NUM_FREQUENCIES = 8
OWN_SHARE = 0.3  # of an embedding's size that stays its own
NUMBER = re.compile(r"#(-?\d+)")


@torch.no_grad()
def order_numbers(model: CADRecode, tokenizer: PreTrainedTokenizerBase) -> int:
    """Give integer tokens and point encoder a common, ordered start.

    Returns:
        How many tokens of the vocabulary are integers; 0 leaves the model as it was.
    """
    values = {
        index: int(match[1])
        for token, index in tokenizer.get_vocab().items()
        if (match := NUMBER.fullmatch(token))
    }
    if not values:
        return 0
    weight = model.get_input_embeddings().weight
    width, scale = weight.shape[1], float(weight.std())
    projection = torch.randn(1 + 2 * NUM_FREQUENCIES, width) / (1 + NUM_FREQUENCIES) ** 0.5
    ids = torch.tensor(list(values))
    features = value_to_fourier(torch.tensor(list(values.values())) / PROGRAM_UNITS)
    shared = features @ projection * scale
    weight[ids] = shared + OWN_SHARE * weight[ids]
    encoder = model.point_encoder.projection.weight
    for axis in range(3):
        rotation = torch.linalg.qr(torch.randn(width, width))[0]
        columns = _axis_columns(axis)
        encoder[:, columns] = (rotation @ projection.T * scale).to(encoder.dtype)
    return len(values)


def value_to_fourier(values: Tensor) -> Tensor:
    """(N,) to (N, 17): the value, sines, cosines; MODEL frame, as the point encoder has them."""
    angles = values[:, None] * 2.0 ** torch.arange(NUM_FREQUENCIES)
    return torch.cat([values[:, None], angles.sin(), angles.cos()], dim=1)


def _axis_columns(axis: int) -> list[int]:
    """Inputs of the point encoder that belong to one axis, in the order of value_to_fourier."""
    sines = [3 + axis * NUM_FREQUENCIES + k for k in range(NUM_FREQUENCIES)]
    return [axis, *sines, *(column + 3 * NUM_FREQUENCIES for column in sines)]
