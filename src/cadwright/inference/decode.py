"""Points, a picture or words -> candidate texts, all in one batch.

In: a loaded model with its processor, and one part: several samplings of it (MODEL frame), its
four views, or a description. Out: program texts, unread: the first of each prompt is greedy, the
others are sampled. The same seed gives the same texts on the same machine. Not covered: whether a
text is a program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from cadwright.inference.embedded import READS, InputKind, embedded_folder, name_kinds
from cadwright.models.cad_recode import CADRecode
from cadwright.models.cadrille.picture_to_patches import PictureLike
from cadwright.models.loading import load_any_model

if TYPE_CHECKING:
    from cadwright.models.loading import AnyModel, AnyProcessor

__all__ = ["Decoder", "embedded_folder", "pick_device"]

# Longest program, in tokens of the compact vocabulary and of Qwen2's (768 as published).
COMPACT_LENGTH, QWEN_LENGTH, COMPACT_VOCABULARY = 192, 768, 16_000
TEMPERATURE = 1.0  # 0.7 is better on generated parts and worse on real ones, see docs/log.md
SHORTEST_ROOM = 64  # tokens; where a context has fewer left for a program, the prompt is too long
# Once this share of the candidates is done, the others may grow by half as much again.
DONE_SHARE, GROWTH = 0.75, 1.5


class Decoder:
    """A model that writes candidates.

    Attributes:
        inputs: what it reads, of 'points', 'views' and 'words'.
        num_points: P, the rows of every point set.
        device: where the model is.
    """

    def __init__(self, model: AnyModel, processor: AnyProcessor) -> None:
        self.model, self.processor = model, processor
        all_kinds: frozenset[InputKind] = frozenset(READS)
        points_only: frozenset[InputKind] = frozenset({"points"})
        self.inputs = points_only if isinstance(model, CADRecode) else all_kinds
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
        """Load a model folder or a Hub repository, of any class this package has.

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
            return cls(*load_any_model(path_or_id, chosen, dtype, tokenizer=tokenizer))

    def check_reads(self, kind: InputKind) -> None:
        """Refuse what the model cannot read.

        Raises:
            InputError: naming what it reads.
        """
        if kind not in self.inputs:
            raise InputError(f"this model reads {name_kinds(self.inputs)}, not {READS[kind]}")

    def decode(
        self,
        point_sets: Sequence[NDArray[np.float32]] | None = None,
        *,
        picture: PictureLike | Sequence[PictureLike] | None = None,
        words: str | None = None,
        num_candidates: int,
        temperature: float = TEMPERATURE,
        top_p: float = 0.95,
        seed: int,
        max_new_tokens: int | None = None,
    ) -> list[str]:
        """Write candidates for one part, shown in one of three ways.

        Args:
            point_sets: S samplings (P, 3) of the part, MODEL frame.
            picture: its four views in one picture, or a sequence of the four.
            words: a description.
            num_candidates: how many texts; as even a share of them for each point set as
                can be.
            temperature: of the sampled candidates; 0 makes all greedy.
            top_p: share of the probability that is sampled from.
            seed: fixes the samples; the global random state stays as it was.
            max_new_tokens: longest program; None for what the vocabulary needs.
        Returns:
            ``num_candidates`` texts: the greedy ones first, in the order of the point sets.
        Raises:
            InputError: not exactly one of the three is given, the model does not read it, or it
                cannot be read; the words are longer than the model's context.
            CadwrightError: the device has too little memory.
        """
        if num_candidates < 1 or (point_sets is not None and not len(point_sets)):
            raise InputError("decoding needs at least one candidate and one set of points")
        num_sets = 1 if point_sets is None else min(len(point_sets), num_candidates)
        samples = math.ceil(num_candidates / num_sets) if temperature > 0 else 1
        shown = None if point_sets is None else list(point_sets[:num_sets])
        batch = self._prompts(shown, picture, words).to(self.device)
        length = self._room(batch["input_ids"].shape[1], max_new_tokens or self._longest())
        try:
            ids = self._generate(batch, samples, temperature, top_p, seed, length)
        except torch.OutOfMemoryError as error:
            raise CadwrightError(
                f"{self.device} has too little memory for {num_candidates} candidates at once"
            ) from error
        texts = self.processor.batch_decode(ids, prompt_length=batch["input_ids"].shape[1])
        # Rows stand by point set; the greedy one of every set shall survive the cut.
        by_set = [texts[first::samples] for first in range(samples)]
        ordered = [text for row in by_set for text in row]
        return (ordered * num_candidates)[:num_candidates]

    def _prompts(
        self,
        point_sets: list[NDArray[np.float32]] | None,
        picture: PictureLike | Sequence[PictureLike] | None,
        words: str | None,
    ) -> Any:
        """The processor's batch of prompts, one for each point set."""
        given: dict[InputKind, Any] = {"points": point_sets, "views": picture, "words": words}
        kinds = [kind for kind, value in given.items() if value is not None]
        if len(kinds) != 1:
            raise InputError("a part is shown by points, by a picture or by words: by one of them")
        self.check_reads(kinds[0])
        processor: Any = self.processor  # only Cadrille's has the last two arguments
        if point_sets is not None:
            return processor(points=point_sets)
        if words is not None:
            return processor(texts=[words])
        return processor(pictures=[picture])

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
        stop = _Stragglers(self.processor.end_token_id, batch["input_ids"].shape[1])
        settings["stopping_criteria"] = StoppingCriteriaList([stop])
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            ids: Tensor = self.model.generate(**batch, **settings, max_new_tokens=max_new_tokens)
        return ids

    def _longest(self) -> int:
        compact = len(self.processor.tokenizer) <= COMPACT_VOCABULARY
        return COMPACT_LENGTH if compact else QWEN_LENGTH

    def _room(self, prompt_length: int, wanted: int) -> int:
        """How long a program may be: as wanted, or what is left of the context."""
        context: int = self.model.config.get_text_config().max_position_embeddings
        left = context - prompt_length
        if left < min(wanted, SHORTEST_ROOM):
            raise InputError(
                f"the input has {prompt_length} tokens, which leaves no room for a program: the "
                f"model's context is {context}"
            )
        return min(wanted, left)


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

    def __init__(self, end_token_id: int, prompt_length: int) -> None:
        self.end, self.prompt = end_token_id, prompt_length
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
