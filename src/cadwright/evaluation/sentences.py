"""How alike two sentences are to a sentence model: cosine of their mean-pooled embeddings.

In: a folder of an encoder of transformers with its tokenizer (all-mpnet-base-v2 is the published
choice), pairs of sentences. Out: a number in [-1, 1] a pair. Not covered: fetching such a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cadwright.errors import CheckpointError, InputError
from cadwright.optional import require

BATCH = 32


class SentenceModel:
    """An encoder with mean pooling over its tokens.

    Args:
        folder: config, weights, tokenizer.
        device: where it goes.
    Raises:
        CheckpointError: it cannot be read.
    """

    def __init__(self, folder: str | Path, *, device: str = "cpu") -> None:
        transformers = require("transformers", extra="model")
        if not Path(folder).is_dir():
            raise CheckpointError(f"there is no sentence model in {folder}: no such folder")
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            model: Any = transformers.AutoModel.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"the sentence model in {folder} cannot be read: {reason}"
            ) from error
        self.model, self.device = model.eval().to(device), device

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(N, D) embeddings of length 1."""
        found = []
        for first in range(0, len(texts), BATCH):
            batch = self.tokenizer(
                list(texts[first : first + BATCH]), padding=True, truncation=True,
                return_tensors="pt",
            ).to(self.device)  # fmt: skip
            with torch.no_grad():
                states = self.model(**batch).last_hidden_state.float()
            weight = batch["attention_mask"][..., None].float()
            mean = (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
            found.append(torch.nn.functional.normalize(mean, dim=1))
        return torch.cat(found)

    def similarity(self, answers: Sequence[str], references: Sequence[str]) -> list[float]:
        """Cosine of each answer with its reference.

        Raises:
            InputError: there is nothing to compare, or the lists differ in length.
        """
        if not answers or len(answers) != len(references):
            raise InputError(
                f"sentences are compared in pairs: {len(answers)} and {len(references)}"
            )
        products = self.embed(answers) * self.embed(references)
        return [float(value) for value in products.sum(dim=1)]
