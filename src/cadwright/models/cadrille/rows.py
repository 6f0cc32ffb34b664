"""Tokenised conversations side by side: which tokens are learned, and one padded rectangle.

In: texts made by a chat template, with the characters each token covers. Out: int64 ids, masks
and labels. Not covered: the template and the tokenizer (see processor).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.models.layers.marks import NO_LOSS, PADDING, TOKEN


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The ids of one conversation and, (T,) bool, which of them are learned."""

    ids: list[int]
    learned: NDArray[np.bool_]

    @property
    def prompt_length(self) -> int:
        """How many tokens stand before the first that is learned."""
        return int(self.learned.argmax()) if self.learned.any() else len(self.ids)


def answer_spans(text: str, *, before: str, end: str) -> list[tuple[int, int]]:
    """Where answers stand in a text: from after ``before`` to after the next ``end``.

    An answer without its ``end`` is left out.
    """
    spans, position = [], 0
    while (found := text.find(before, position)) >= 0:
        first = found + len(before)
        last = text.find(end, first)
        if last < 0:
            break
        position = last + len(end)
        spans.append((first, position))
    return spans


def mark_spans(
    offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> NDArray[np.bool_]:
    """(T,) bool, true at tokens that lie in a span.

    Args:
        offsets: the first character of each token, and the one after its last.
        spans: likewise.
    """
    first, last = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    marked = np.zeros(len(first), dtype=bool)
    for low, high in spans:
        marked |= (first >= low) & (last <= high) & (first < last)
    return marked


def lay_out(rows: Sequence[Row], *, pad: int, learn: bool, side: str) -> dict[str, NDArray[Any]]:
    """Rows of any lengths in one rectangle.

    Args:
        rows: B of them.
        pad: the id of padding.
        learn: whether to make labels.
        side: where padding stands, "left" or "right".

    Returns:
        (B, T) int64 input_ids, attention_mask (1, and 0 at padding) and, where wanted, labels
        (-100 where nothing is learned).
    """
    shape = (len(rows), max(len(row.ids) for row in rows))
    ids = np.full(shape, pad, dtype=np.int64)
    mask = np.full(shape, PADDING, dtype=np.int64)
    labels = np.full(shape, NO_LOSS, dtype=np.int64)
    for i, row in enumerate(rows):
        first = shape[1] - len(row.ids) if side == "left" else 0
        place = slice(first, first + len(row.ids))
        ids[i, place], mask[i, place] = row.ids, TOKEN
        labels[i, place] = np.where(row.learned, ids[i, place], NO_LOSS)
    batch: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
    return batch | {"labels": labels} if learn else batch
