"""Validation during training: the loss, and programs that are written, built and scored.

In: a model and held-out samples. Out: ``eval_loss`` (nats a token), and of the programs
``eval_invalid_ratio``, ``eval_iou`` (0 where invalid) and ``eval_chamfer`` (of the valid ones),
by the direct protocol of geometry.metrics: nothing is forgiven. Programs are written greedily,
so that the figures are the same for the same weights. Not covered: candidates, search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cadwright.data.collate import Batch
from cadwright.errors import GeometryError, ProgramError
from cadwright.geometry.metrics import Score, Target
from cadwright.models import CadrilleProcessor
from cadwright.models.cadrille import Conversation
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.training.feed import batch_to_inputs
from cadwright.training.models import Processor
from cadwright.training.setup import HeldOut
from cadwright.types import Sample

SEED = 0  # of the surface samples that programs are scored by


@torch.no_grad()
def sum_losses(
    model: Any, batches: Sequence[Batch], *, device: torch.device, rank: int = 0, num_ranks: int = 1
) -> tuple[float, int]:
    """Sum of the loss over tokens, and their number, over this process's share of the batches.

    All processes take equally many steps, since a model may be spread over them.
    """
    total, tokens = 0.0, 0
    for first in range(0, len(batches), num_ranks):
        mine = first + rank
        batch = batches[min(mine, len(batches) - 1)]
        inputs = batch_to_inputs(batch)
        inputs.pop("indices")
        loss = model(**{name: value.to(device) for name, value in inputs.items()}).loss
        if mine < len(batches):
            total += float(loss) * batch.num_targets
            tokens += batch.num_targets
    return total, tokens


def write_programs(
    model: Any, processor: Processor, held: HeldOut, parts: Sequence[Sample], *, max_tokens: int
) -> list[str]:
    """The program the model writes first for each part; Cadrille sees each in one of its ways."""
    prompt: dict[str, Tensor]
    if isinstance(processor, CadrilleProcessor):
        shown = [held.encoder.encode(part, seed=held.seed) for part in parts]
        talks = [Conversation(points=part.points) for part in parts]
        for i, item in enumerate(shown):
            if item is not None:  # otherwise too long in words
                talks[i] = replace(item.conversation, answers=())
        prompt = processor(talks)
    else:
        prompt = processor(points=[part.points for part in parts])
    prompt = {name: value.to(model.device) for name, value in prompt.items()}
    ids = model.generate(**prompt, do_sample=False, max_new_tokens=max_tokens)
    texts: list[str] = processor.batch_decode(ids, prompt_length=prompt["input_ids"].shape[1])
    return texts


def score_program(text: str, target: str) -> Score | None:
    """How well a written program fits the true one, both in the PROGRAM frame; None if invalid."""
    truth = program_to_mesh(text_to_program(target)).mesh
    assert truth is not None  # it was built when it was drawn
    try:
        mesh = program_to_mesh(text_to_program(text)).mesh
        return None if mesh is None else Target(truth, seed=SEED).direct(mesh)
    except (ProgramError, GeometryError):
        return None


def scores_to_metrics(scores: Sequence[Score | None]) -> dict[str, float]:
    """The figures of a validation; ``eval_chamfer`` is infinite where nothing is valid."""
    valid = [score for score in scores if score is not None]
    chamfer = sum(score.chamfer for score in valid) / len(valid) if valid else float("inf")
    return {
        "eval_invalid_ratio": 1.0 - len(valid) / len(scores),
        "eval_iou": sum(score.iou for score in valid) / len(scores),
        "eval_chamfer": chamfer,
    }
