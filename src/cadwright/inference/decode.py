"""Point sets -> candidate texts, all in one batch.

In: a loaded model with its processor, and several samplings of one part (MODEL frame). Out:
program texts, unread: the first of each point set is greedy, the others are sampled. The same
seed gives the same texts on the same machine. Not covered: whether a text is a program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.utils.tqdm import enable_progress_bars
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.utils import logging

from cadwright.errors import CadwrightError, CheckpointError, InputError
from cadwright.models.cad_recode import CADRecode, CADRecodeProcessor, load_model

# Longest program, in tokens of the compact vocabulary and of Qwen2's (768 as published).
COMPACT_LENGTH, QWEN_LENGTH, COMPACT_VOCABULARY = 192, 768, 16_000
# Once this share of the candidates is done, the others may grow by half as much again.
DONE_SHARE, GROWTH = 0.75, 1.5


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
    def load(
        cls,
        path_or_id: str | Path,
        *,
        device: str = "auto",
        tokenizer: str | Path | None = None,
    ) -> Decoder:
        """Load a model folder or a Hub repository.

        Args:
            path_or_id: a folder, or a Hub id.
            device: 'auto' (a GPU if there is one), 'cpu', 'cuda', 'cuda:1', ...
            tokenizer: its folder or Hub id, where the model's folder has none.
        Raises:
            CheckpointError: the model is incomplete, cannot be had, or not go to the device.
        """
        chosen = pick_device(device)
        # Half precision is slower than float32 on a CPU, whatever the weights are stored in.
        dtype = torch.float32 if chosen.type == "cpu" else "auto"
        with _without_loading_bars():
            return cls(*load_model(path_or_id, chosen, dtype, tokenizer=tokenizer))

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
        by_set = [texts[first::samples] for first in range(samples)]
        ordered = [text for row in by_set for text in row]
        return (ordered * num_candidates)[:num_candidates]

    @torch.inference_mode()
    def _generate(
        self, batch: dict[str, Tensor], samples: int, temperature: float, top_p: float, seed: int,
        max_new_tokens: int,
    ) -> Tensor:  # fmt: skip
        settings: dict[str, Any] = {"do_sample": False}
        if samples > 1:
            settings = {
                "do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0,
                "num_return_sequences": samples,
                "logits_processor": LogitsProcessorList([_FirstIsGreedy(samples)]),
            }  # fmt: skip
        settings["stopping_criteria"] = StoppingCriteriaList([_Stragglers(self.processor)])
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            ids: Tensor = self.model.generate(**batch, **settings, max_new_tokens=max_new_tokens)
        return ids

    def _longest(self) -> int:
        compact = len(self.processor.tokenizer) <= COMPACT_VOCABULARY
        return COMPACT_LENGTH if compact else QWEN_LENGTH


class _FirstIsGreedy(LogitsProcessor):
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


class _Stragglers(StoppingCriteria):
    """Ends the batch when a few rows ramble on: its time is that of the longest row."""

    def __init__(self, processor: CADRecodeProcessor) -> None:
        self.end, self.prompt = processor.end_token_id, processor.num_points + 1
        self.ended: Tensor | None = None
        self.limit: float | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """(B,) bool, all true when it is time to stop."""
        last = input_ids[:, -1] == self.end
        self.ended = last if self.ended is None else self.ended | last
        written = input_ids.shape[1] - self.prompt
        if self.limit is None and float(self.ended.float().mean()) >= DONE_SHARE:
            self.limit = GROWTH * written
        stop = self.limit is not None and written >= self.limit
        return torch.full_like(last, stop)


@contextmanager
def _without_loading_bars() -> Iterator[None]:
    """Keep transformers from drawing on stderr while it copies weights; downloads still do."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    enable_progress_bars()  # those of the hub, which the line before switched off too
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def embedded_folder() -> Path:
    """The folder of the model that comes with the package."""
    import cadwright.assets

    return Path(cadwright.assets.__path__[0]) / "embedded"


def pick_device(name: str) -> torch.device:
    """A device that is there.

    Raises:
        CheckpointError: torch does not know the name, or the machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"the model cannot go to the device '{name}': {reason}") from error
    return device
