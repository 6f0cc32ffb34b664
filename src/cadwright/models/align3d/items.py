"""Shapes with texts as samples of either data form, one question each time.

In: a source of shapes and a tokenizer. Out: a sequence of dicts for ``collate_3d_text``: form A
where a shape has codebook vectors, form B where it has an SDF. Which of its questions a shape is
asked depends on the epoch only, so a run that goes on asks the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cadwright.errors import InputError
from cadwright.models.align3d.collate import Item
from cadwright.models.align3d.conversation import answer_to_example
from cadwright.models.align3d.depth_maps import SYMMETRIES, turn_rows
from cadwright.models.align3d.pairs import Pair, is_whole, text_to_said
from cadwright.models.align3d.sources import Shape

EPOCH_STRIDE = 29  # of positions
STRIDE = 7919  # a prime, so that shapes do not all ask the same question at a time


class ShapeItems(Sequence[Item]):
    """Samples of a training.

    Args:
        shapes: a source or a folder of latents.
        tokenizer: of the language model.
        latent_dim: width that vectors must have; not checked if left out.
        max_length: tokens of a text.
        only_captions: ask nothing but the published prompt.
        whole_captions: never ask for a caption that leaves kind, bodies or holes open, so that a
            model names all three. Such a shape is only asked questions; without any it is left
            out, for which all shapes are read once.
        turn_in: samples along the VAE's grid, if the shapes are depth maps, which are then turned
            into another position each time; 0 leaves all shapes as they are.
    """

    def __init__(
        self, shapes: Any, tokenizer: Any, *, latent_dim: int | None = None,
        max_length: int = 256, only_captions: bool = False, whole_captions: bool = False,
        turn_in: int = 0,
    ) -> None:  # fmt: skip
        self.shapes, self.tokenizer, self.latent_dim = shapes, tokenizer, latent_dim
        self.max_length, self.only_captions, self.epoch = max_length, only_captions, 0
        self.whole_captions, self.turn_in = whole_captions, turn_in
        self.numbers: Sequence[int] = range(len(shapes))
        if whole_captions:
            self.numbers = [k for k in self.numbers if any(self._texts(shapes[k].pairs))]
            if not self.numbers:
                raise InputError("no caption names kind, bodies and holes, and nothing is asked")

    def set_epoch(self, epoch: int) -> None:
        """Ask what this epoch asks."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        shape: Shape = self.shapes[self.numbers[index]]
        pair = self._pair(index, shape.pairs)
        try:
            text = answer_to_example(
                self.tokenizer, pair.answer, question=pair.question, max_length=self.max_length
            )
        except InputError as error:
            raise InputError(f"{shape.name}: {error}") from error
        return {**text, **self._shape(shape, index)}

    def _texts(self, pairs: tuple[Pair, ...]) -> tuple[list[Pair], list[Pair]]:
        """Captions that may be asked for, and questions."""
        captions = [pair for pair in pairs if pair.question == pairs[0].question]
        if self.whole_captions:
            captions = [pair for pair in captions if is_whole(text_to_said(pair.answer))]
        return captions, [pair for pair in pairs if pair.question != pairs[0].question]

    def _pair(self, index: int, pairs: tuple[Pair, ...]) -> Pair:
        """A caption every other time, as one says more than a single answer."""
        captions, others = self._texts(pairs)
        turn = index * STRIDE + self.epoch
        if not captions:
            return others[turn % len(others)]
        if turn % 2 == 0 or not others or self.only_captions:
            return captions[turn // (1 if self.only_captions else 2) % len(captions)]
        return others[turn // 2 % len(others)]

    def _shape(self, shape: Shape, index: int) -> dict[str, Any]:
        if shape.feats is None or shape.coords is None:
            assert shape.sdf is not None
            return {
                "inputs_3d": {
                    "sparse_sdf": torch.from_numpy(shape.sdf.values),
                    "sparse_index": torch.from_numpy(shape.sdf.index),
                }
            }
        if self.latent_dim is not None and shape.feats.shape[-1] != self.latent_dim:
            raise InputError(
                f"{shape.name}: codebook vectors of width {shape.feats.shape[-1]}, latent_dim is "
                f"{self.latent_dim}"
            )
        feats, coords = shape.feats, shape.coords
        if self.turn_in:
            symmetry = (index * STRIDE + self.epoch * EPOCH_STRIDE) % len(SYMMETRIES)
            feats, coords = turn_rows(feats, coords, symmetry, size=self.turn_in)
        return {"feats_3d": feats, "coords_3d": coords}
