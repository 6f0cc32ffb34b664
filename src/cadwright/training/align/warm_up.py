"""A projector's start: what is asked later, learned before any sentence is read.

In: shapes as depth maps, with texts that name kinds and counts, and perhaps hints axis by axis.
Out: the projector, changed. A pass costs a fraction of one with a language model, which then finds
embeddings that differ where the words do. The heads are thrown away. Not in the published recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import InputError
from cadwright.models.align3d.collate import IGNORE
from cadwright.models.align3d.depth_maps import SYMMETRIES, turn_rows
from cadwright.models.align3d.depth_projector import NUM_SUMMARY, DepthProjector3D
from cadwright.models.align3d.hints import hint_loss
from cadwright.models.align3d.pairs import TOPICS, text_to_said
from cadwright.models.align3d.sources import Shape
from cadwright.synth.facts import KINDS
from cadwright.training.align.schedule import lr_share
from cadwright.training.align.state import resume, save_state, to_kept

MOST = {"kind": len(KINDS) - 1, "bodies": 5, "holes": 7}  # larger counts are one class
BATCH = 48
LR, WEIGHT_DECAY = 2e-3, 0.02
STATE = "warm_up.pt"


@dataclass(slots=True)
class _Run:
    """What a pass works with."""

    projector: DepthProjector3D
    heads: nn.Linear
    shapes: Sequence[Shape]
    truths: Tensor
    learned: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    epochs: int
    seed: int

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return -(-len(self.truths) // BATCH)


def warm_up(
    projector: Any,
    shapes: Any,
    *,
    epochs: int,
    folder: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Teach a projector.

    Args:
        projector: changed in place.
        shapes: a folder of depth maps.
        epochs: over all shapes; the rate falls from the first to the last.
        folder: for a state after each epoch, from which a stopped warm-up goes on.
        seed: of the order and of what is thrown away.
        say: gets a line for each epoch.
    Raises:
        InputError: another kind of projector, shapes without depth maps, or no caption names kind
            or counts.
        CheckpointError: the state is of another warm-up.
    """
    run = _set_up(projector, shapes, epochs, seed)
    settings = {"epochs": epochs, "seed": seed, "num": len(shapes)}
    kept = to_kept(projector, run.learned, "projector.")
    first = 0 if folder is None else resume(folder, settings, kept, run.optimizer, name=STATE)
    projector.train()
    for epoch in range(first, epochs):
        topics, told = _epoch(run, epoch)
        say(f"warm-up, epoch {epoch + 1} of {epochs}: loss {topics:.4f}, of hints {told:.4f}")
        if folder is not None:
            save_state(folder, settings, kept, run.optimizer, epoch + 1, name=STATE)


def _set_up(projector: Any, shapes: Any, epochs: int, seed: int) -> _Run:
    if not isinstance(projector, DepthProjector3D):
        raise InputError("only a projector of depth maps has a warm-up: --projector depth")
    if not getattr(shapes, "depth", False):
        raise InputError("a warm-up needs a folder of 'cadwright align extract --depth'")
    truths = torch.tensor([_to_truth(shapes[k]) for k in range(len(shapes))])
    if bool((truths == IGNORE).all()):
        raise InputError("a warm-up needs captions that name kinds or counts")
    device = next(projector.parameters()).device
    torch.manual_seed(seed)
    sizes = sum(MOST[topic] + 1 for topic in TOPICS)
    heads = nn.Linear(NUM_SUMMARY * projector.hidden, sizes).to(device)
    learned = {f"projector.{n}": p for n, p in projector.named_parameters()}
    learned |= {f"heads.{n}": p for n, p in heads.named_parameters()}
    optimizer = torch.optim.AdamW(
        learned.values(), lr=LR, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98)
    )
    return _Run(projector, heads, shapes, truths.to(device), learned, optimizer, epochs, seed)


def _epoch(run: _Run, epoch: int) -> tuple[float, float]:
    """One pass in an order that only depends on seed and epoch; mean losses of both kinds."""
    torch.manual_seed(run.seed * 1_000_003 + epoch)  # of dropout, so that a run can go on
    generator = torch.Generator().manual_seed(run.seed * 1_000_003 + epoch)
    order = torch.randperm(len(run.truths), generator=generator).tolist()
    sums = torch.zeros(2)
    for step in range(run.steps):
        share = lr_share(
            epoch * run.steps + step, run.epochs * run.steps, warmup=0.02, schedule="linear"
        )
        for group in run.optimizer.param_groups:
            group["lr"] = LR * share
        chosen = order[step * BATCH : (step + 1) * BATCH]
        numbers = torch.randint(len(SYMMETRIES), (len(chosen),), generator=generator).tolist()
        topics, told = _losses(run, chosen, numbers)
        (topics + told).backward()
        nn.utils.clip_grad_norm_(list(run.learned.values()), 1.0)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        sums += torch.stack([topics, told]).detach().cpu()
    topics_mean, told_mean = (sums / run.steps).tolist()
    return topics_mean, told_mean


def _losses(run: _Run, chosen: list[int], symmetries: list[int]) -> tuple[Tensor, Tensor]:
    """Of a batch, each of its shapes in a position of its own: of topics, and of hints."""
    rows, places, hints = [], [], []
    for number, (index, symmetry) in enumerate(zip(chosen, symmetries, strict=True)):
        shape = run.shapes[index]
        assert shape.feats is not None and shape.coords is not None
        turned, at = turn_rows(shape.feats, shape.coords, symmetry, size=run.projector.size)
        at[:, 0] = number
        rows.append(turned)
        places.append(at)
        if shape.hints is not None:
            hints.append(shape.hints[list(SYMMETRIES[symmetry][0])])
    device = run.truths.device
    made = run.projector(torch.cat(rows).to(device), torch.cat(places).to(device), len(chosen))
    topics = _topic_loss(run.heads(made.summary.flatten(1)), run.truths[chosen])
    if len(hints) < len(chosen):
        return topics, topics * 0
    return topics, hint_loss(made.told, torch.from_numpy(np.stack(hints)).to(device))


def _topic_loss(said: Tensor, truth: Tensor) -> Tensor:
    """Sum over the topics.

    Args:
        said: (B, classes of all topics).
        truth: (B, T) class of each topic, ``IGNORE`` where it is not known.
    """
    scores = said.split([MOST[topic] + 1 for topic in TOPICS], dim=1)
    known = [
        functional.cross_entropy(score, truth[:, k], ignore_index=IGNORE)
        for k, score in enumerate(scores)
        if bool((truth[:, k] != IGNORE).any())
    ]
    return torch.stack(known).sum() if known else said.sum() * 0


def _to_truth(shape: Shape) -> list[int]:
    """Class of each topic that any of a shape's texts names."""
    found: dict[str, int] = {}
    for pair in shape.pairs:
        said = text_to_said(pair.answer)
        for topic in TOPICS:
            value = getattr(said, topic)
            if value is not None:
                found[topic] = KINDS.index(value) if topic == "kind" else value
    return [min(found[topic], MOST[topic]) if topic in found else IGNORE for topic in TOPICS]
