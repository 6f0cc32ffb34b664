"""Samples to batches for Cadrille: each shown as points, as a picture of four views, or in words.

In: samples (program text and points, MODEL frame). Out: batches as CadrilleProcessor makes them,
padded on the right, with answers to learn. Which of the three a sample is shown as is a draw of
its own (cadrille, arXiv 2505.22914, tosses a coin between points and views). Views and words are
made from the program here, where a worker process has time for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.data.collate import Batch, add_noise
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.models.cadrille import CadrilleProcessor, Conversation
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.describe import STYLES, Style, describe
from cadwright.types import Sample

KINDS = ("points", "views", "words")
_KIND_KEY = 7  # keeps the choice apart from other random streams of a run


@dataclass(frozen=True, slots=True, eq=False)
class EncodedConversation:
    """A conversation ready for batching.

    Attributes:
        index: which draw of the stream it is.
        num_tokens: positions it takes, about.
        kind: one of KINDS.
        conversation: with its answer.
    """

    index: int
    num_tokens: int
    kind: str
    conversation: Conversation


@dataclass(frozen=True, slots=True, eq=False)
class ConversationEncoder:
    """Samples for Cadrille.

    Attributes:
        processor: of the model that is trained.
        weights: of points, views and words.
        max_tokens: longest question and answer together.
        noise_std: standard deviation of the noise on points, MODEL frame.
        noise_probability: share of samples with points that get noise.
        dimensioned_share: of samples shown in words, those with all numbers, the only ones that
            say what to write.
    """

    processor: CadrilleProcessor
    weights: tuple[float, float, float]
    max_tokens: int
    noise_std: float
    noise_probability: float
    dimensioned_share: float = 0.7

    def encode(self, sample: Sample, *, seed: int) -> EncodedConversation | None:
        """The sample as one of the three kinds; None where its text is too long."""
        rng = np.random.default_rng((seed, _KIND_KEY, sample.index))
        shares = np.array(self.weights) / sum(self.weights)
        kind = KINDS[int(rng.choice(len(KINDS), p=shares))]
        style = STYLES[int(rng.choice(len(STYLES), p=self._style_shares()))]
        shown = self._show(sample, kind, style, seed)
        conversation = Conversation(answers=(sample.text,), name=f"draw {sample.index}", **shown)
        texts = [*conversation.questions, sample.text]
        length = sum(len(ids) for ids in self.processor.tokenizer(texts)["input_ids"])
        if length > self.max_tokens:
            return None
        length += {
            "points": self.processor.num_points,
            "views": self.processor.patch_settings.num_tokens,
            "words": 0,
        }[kind]
        return EncodedConversation(sample.index, length, kind, conversation)

    def collate(self, items: Sequence[EncodedConversation]) -> Batch:
        """What ``CadrilleProcessor`` makes of them."""
        inputs: dict[str, NDArray[Any]] = dict(
            self.processor(
                [item.conversation for item in items], padding_side="right", return_tensors="np"
            )
        )
        return Batch(inputs, np.array([item.index for item in items], dtype=np.int64))

    def _style_shares(self) -> list[float]:
        rest = (1 - self.dimensioned_share) / (len(STYLES) - 1)
        return [self.dimensioned_share if one == "dimensioned" else rest for one in STYLES]

    def _show(self, sample: Sample, kind: str, style: Style, seed: int) -> dict[str, Any]:
        """The parts of a conversation that show the sample."""
        if kind == "points":
            noise = {"std": self.noise_std, "probability": self.noise_probability}
            return {"points": add_noise(sample.points, seed=seed, index=sample.index, **noise)}
        program = text_to_program(sample.text)
        if kind == "words":
            return {"questions": (describe(program, style=style, seed=sample.index),)}
        return {"picture": program_to_picture(sample.text)}


def program_to_picture(text: str) -> NDArray[np.uint8]:
    """The published four views of a program that can be built, (268, 268, 3) uint8."""
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None  # a sample's program was built before
    return mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds)))
