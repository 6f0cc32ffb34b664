"""Weights of a CADRecode into a Cadrille, or the other way round.

In: two models and their tokenizers. Out: the second with what both have: decoder, point encoder
and the embeddings of shared tokens. Not covered: making the second (models, cadrille_start).
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from transformers import PreTrainedTokenizerBase

from cadwright.errors import CheckpointError
from cadwright.models import CADRecode, Cadrille

Model: TypeAlias = CADRecode | Cadrille

_DECODER = "model.language_model."  # where Cadrille has what is CADRecode's "model."


@torch.no_grad()
def transplant(
    source: Model,
    source_tokenizer: PreTrainedTokenizerBase,
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
) -> list[str]:
    """Take over decoder, point encoder and embeddings where shapes agree.

    Embeddings go by token, not by number. A model that sees points alone is then the same
    function, but for the words around the answer, which it learns within a hundred steps.

    Returns:
        The names of the tensors that were taken over.

    Raises:
        CheckpointError: no layer fits.
    """
    old = {_plain(name): value for name, value in source.state_dict().items()}
    taken = []
    for name, value in model.state_dict().items():
        before = old.get(_plain(name))
        by_token = "embed" in name or "lm_head" in name  # the two are one tensor
        if before is not None and before.shape == value.shape and not by_token:
            value.copy_(before)
            taken.append(name)
    if not any(".layers." in name for name in taken):
        raise CheckpointError("the model to start from has no layer that fits the new one")
    rows, vocabulary = source_tokenizer.get_vocab(), tokenizer.get_vocab()
    shared = [(vocabulary[word], rows[word]) for word in vocabulary if word in rows]
    to, by = (torch.tensor(column) for column in zip(*shared, strict=True))
    embeds, known = model.get_input_embeddings().weight, source.get_input_embeddings().weight
    if embeds.shape[1] == known.shape[1]:
        embeds[to] = known[by]
        taken.append("embed_tokens")
    return taken


def _plain(name: str) -> str:
    """A tensor's name as CADRecode has it."""
    return f"model.{name.removeprefix(_DECODER)}" if name.startswith(_DECODER) else name
