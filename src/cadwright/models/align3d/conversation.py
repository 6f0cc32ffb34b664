"""Question and answer to token ids and labels, by the tokenizer's own chat template.

In: a tokenizer with a chat template, a question, an answer. Out: ids, mask, labels; only the
answer and the token that ends it are learned. Not covered: the 3-D tokens, which go before.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cadwright.errors import InputError
from cadwright.models.align3d.collate import IGNORE

PROMPT = "Describe this 3D shape in one sentence:"


def question_to_ids(tokenizer: Any, question: str = PROMPT) -> list[int]:
    """Ids of the user's turn and the beginning of the answer's; the prompt of ``generate``."""
    turns = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def answer_to_example(
    tokenizer: Any, answer: str, *, question: str = PROMPT, max_length: int = 256
) -> dict[str, Tensor]:
    """One training text.

    Args:
        tokenizer: with a chat template and ``eos_token_id``, which ends the answer.
        answer: what is to be said.
        question: what is asked.
        max_length: tokens kept; an answer may lose its end here, but not all of itself.
    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, each (L,) int64.
    Raises:
        InputError: the answer is empty, or cut off whole.
    """
    if not answer.strip():
        raise InputError("the answer of a 3-D sample is empty")
    prefix = question_to_ids(tokenizer, question)
    said = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    if len(prefix) >= max_length:
        raise InputError(
            f"the question takes {len(prefix)} of {max_length} tokens: the answer is cut off whole"
        )
    ids = torch.tensor((prefix + said)[:max_length])
    labels = ids.clone()
    labels[: len(prefix)] = IGNORE
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
