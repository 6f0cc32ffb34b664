"""Point sets -> candidate texts, all in one batch.

In: a loaded model with its processor, and several samplings of one part (MODEL frame). Out:
program texts, unread: the first of each point set is greedy, the others are sampled. The same
seed gives the same texts on the same machine. Not covered: whether a text is a program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from cadwright.errors import CadwrightError, InputError
from cadwright.models.cad_recode import CADRecode, CADRecodeProcessor, load_model

EMBEDDED = "embedded"
# Longest program, in tokens of the compact vocabulary and of Qwen2's (768 as published).
COMPACT_LENGTH, QWEN_LENGTH, COMPACT_VOCABULARY = 192, 768, 16_000


class Decoder:
    """A model that writes candidates.

    Attributes:
        num_points: P, the rows of every point set.
        device: where the model is.
    """

    def __init__(self, model: CADRecode, processor: CADRecodeProcessor) -> None:
        self.model, self.processor = model, processor
        self.num_points: int = processor.num_points
        self.device: torch.device = model.device

    @classmethod
    def load(cls, path_or_id: str | Path = EMBEDDED, *, device: str = "auto") -> Decoder:
        """Load a model folder, a Hub repository or the embedded default.

        Args:
            path_or_id: 'embedded', a folder, or a Hub id.
            device: 'auto' (a GPU if there is one), 'cpu', 'cuda', 'cuda:1', ...
        Raises:
            CheckpointError: the model is incomplete or cannot be had.
            InputError: there is no such device.
        """
        chosen = pick_device(device)
        folder = embedded_folder() if path_or_id == EMBEDDED else path_or_id
        # Half precision is slower than float32 on a CPU, whatever the weights are stored in.
        dtype = torch.float32 if chosen.type == "cpu" else "auto"
        return cls(*load_model(folder, chosen, dtype))

    def decode(
        self,
        point_sets: Sequence[NDArray[np.float32]],
        *,
        num_candidates: int,
        temperature: float = 1.0,
        top_p: float = 0.95,
        seed: int,
        max_new_tokens: int | None = None,
    ) -> list[str]:
        """Write candidates for one part.

        Args:
            point_sets: S samplings (P, 3) of the part, MODEL frame.
            num_candidates: how many texts; as even a share of them for each point set as
                can be.
            temperature: of the sampled candidates; 0 makes all greedy.
            top_p: share of the probability that is sampled from.
            seed: fixes the samples; the global random state stays as it was.
            max_new_tokens: longest program; None for what the vocabulary needs.
        Returns:
            ``num_candidates`` texts: the greedy ones first, in the order of the point sets.
        Raises:
            CadwrightError: the device has too little memory.
        """
        if num_candidates < 1 or not point_sets:
            raise InputError("decoding needs at least one candidate and one set of points")
        num_sets = min(len(point_sets), num_candidates)
        samples = math.ceil(num_candidates / num_sets) if temperature > 0 else 1
        batch = self.processor(points=list(point_sets[:num_sets])).to(self.device)
        try:
            ids = self._generate(
                batch, samples, temperature, top_p, seed, max_new_tokens or self._longest()
            )
        except torch.OutOfMemoryError as error:
            raise CadwrightError(
                f"{self.device} has too little memory for {num_candidates} candidates at once"
            ) from error
        texts = self.processor.batch_decode(ids, prompt_length=batch["input_ids"].shape[1])
        # Rows stand by point set; the greedy one of every set shall survive the cut.
        texts = [texts[row] for first in range(samples) for row in range(first, len(texts), samples)]
        return (texts * num_candidates)[:num_candidates]

    @torch.inference_mode()
    def _generate(
        self, batch: dict[str, Tensor], samples: int, temperature: float, top_p: float, seed: int,
        max_new_tokens: int,
    ) -> Tensor:  # fmt: skip
        settings = {"do_sample": False}
        if samples > 1:
            settings = {
                "do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0,
                "num_return_sequences": samples,
                "logits_processor": LogitsProcessorList([_FirstIsGreedy(samples)]),
            }  # fmt: skip
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            ids: Tensor = self.model.generate(**batch, **settings, max_new_tokens=max_new_tokens)
        return ids

    def _longest(self) -> int:
        compact = len(self.processor.tokenizer) <= COMPACT_VOCABULARY
        return COMPACT_LENGTH if compact else QWEN_LENGTH


class _FirstIsGreedy(LogitsProcessor):  # type: ignore[misc]
    """Leaves the first of every ``samples`` rows only its likeliest token."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(B, V) scores of the next token; rows 0, samples, 2 * samples, ... become greedy."""
        scores = scores.clone()
        greedy = scores[:: self.samples]
        best = greedy.argmax(dim=-1, keepdim=True)
        scores[:: self.samples] = torch.full_like(greedy, -torch.inf).scatter(1, best, 0.0)
        return scores


def embedded_folder() -> Path:
    """The folder of the model that comes with the package."""
    import cadwright.assets

    return Path(cadwright.assets.__path__[0]) / EMBEDDED


def pick_device(name: str) -> torch.device:
    """A device that is there.

    Raises:
        InputError: torch does not know the name, or the machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device '{name}' cannot be used: {reason}") from error
    return device
