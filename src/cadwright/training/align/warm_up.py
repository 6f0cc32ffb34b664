"""A projector's start: what is asked later, learned before any sentence is read.

In: shapes as codebook vectors, with texts that name kinds and counts, and perhaps hints cell by
cell. Out: the projector, changed. A pass costs a fraction of one with a language model, which then
finds embeddings that differ where the words do. The heads are thrown away. Not in the published
recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import InputError
from cadwright.models.align3d.collate import IGNORE
from cadwright.models.align3d.drawn import SYMMETRIES, turn_drawn
from cadwright.models.align3d.drawn_projector import DrawnProjector3D
from cadwright.models.align3d.hints import HINTS
from cadwright.models.align3d.neighbour_projector import (
    NUM_SUMMARY,
    NeighbourProjector3D,
    Projected,
)
from cadwright.models.align3d.pairs import TOPICS, text_to_said
from cadwright.models.layers.sites import make_sites
from cadwright.synth.facts import KINDS
from cadwright.training.align.schedule import lr_share
from cadwright.training.align.state import resume, save_state, to_kept

MOST = {"kind": len(KINDS) - 1, "bodies": 5, "holes": 7}  # larger counts are one class
BATCH = 32
LR, WEIGHT_DECAY = 2e-3, 0.05
STATE = "warm_up.pt"
# Bends and counts of a block of cells are small numbers; so scaled, their losses matter.
SCALES = (1.0, 10.0)


class _Losses(NamedTuple):
    """Of a batch."""

    topics: Tensor
    hints: Tensor


class _Heads(nn.Module):
    """What is thrown away: topics from the summary, hints from blocks of two cells a side."""

    def __init__(self, projector: NeighbourProjector3D) -> None:
        super().__init__()
        self.sizes = [MOST[topic] + 1 for topic in TOPICS]
        self.topics = nn.Linear(NUM_SUMMARY * projector.hidden, sum(self.sizes))
        self.hints = nn.Sequential(nn.GELU(), nn.Linear(projector.local_width, len(HINTS)))

    def losses(self, made: Projected, truth: Tensor, hints: Tensor | None) -> _Losses:
        """Losses of a batch.

        Args:
            made: of the projector.
            truth: (B, T) class of each topic, ``IGNORE`` where it is not known.
            hints: (K, 3) of ``made.local``, or None.
        """
        scores = self.topics(made.summary.flatten(1)).split(self.sizes, dim=1)
        known = [
            functional.cross_entropy(score, truth[:, k], ignore_index=IGNORE)
            for k, score in enumerate(scores)
            if bool((truth[:, k] != IGNORE).any())
        ]
        told = made.summary.new_zeros(())
        if hints is not None:
            told = self._hints(made, hints)
        return _Losses(torch.stack(known).sum() if known else told * 0, told)

    def _hints(self, made: Projected, hints: Tensor) -> Tensor:
        """Each block by itself, and the sums over a shape, where small errors add up."""
        said: Tensor = self.hints(made.local) if made.told is None else made.told
        scale = said.new_tensor(SCALES)
        values, truth = said[:, :2], hints[:, :2] * scale
        single = functional.smooth_l1_loss(values[:, 0], truth[:, 0], beta=0.1) * 10
        single = single + functional.mse_loss(values[:, 1], truth[:, 1]) * 3
        owner = functional.binary_cross_entropy_with_logits(said[:, 2], hints[:, 2].clamp(0, 1))
        zeros = said.new_zeros((made.sites.batch_size, 2))
        found, true = (
            zeros.index_add(0, made.sites.batch, rows) / scale for rows in (values, truth)
        )
        return single + owner + 0.5 * functional.smooth_l1_loss(found, true)


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
        shapes: a folder of latents.
        epochs: over all shapes; the rate falls in the last quarter.
        folder: for a state after each epoch, from which a stopped warm-up goes on.
        seed: of the order and of what is thrown away.
        say: gets a line for each epoch.
    Raises:
        InputError: another kind of projector, a shape is raw, or no caption names kind or counts.
        CheckpointError: the state is of another warm-up.
    """
    if not isinstance(projector, NeighbourProjector3D):
        raise InputError("only a projector of whole shapes has a warm-up: --projector")
    truths = [_to_truth(shapes[k]) for k in range(len(shapes))]
    if all(value == IGNORE for truth in truths for value in truth):
        raise InputError("a warm-up needs captions that name kinds or counts")
    device = next(projector.parameters()).device
    torch.manual_seed(seed)
    projector.train()
    heads = _Heads(projector).to(device)
    learned = {f"projector.{n}": p for n, p in projector.named_parameters()}
    learned |= {f"heads.{n}": p for n, p in heads.named_parameters()}
    optimizer = torch.optim.AdamW(
        learned.values(), lr=LR, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98)
    )
    settings = {"epochs": epochs, "seed": seed, "num": len(shapes)}
    kept = to_kept(projector, learned, "projector.")
    first = 0 if folder is None else resume(folder, settings, kept, optimizer, name=STATE)
    steps = -(-len(truths) // BATCH)
    for epoch in range(first, epochs):
        torch.manual_seed(seed * 1_000_003 + epoch)  # of dropout, so that a run can go on
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(truths), generator=generator).tolist()
        topics = told = 0.0
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            share = lr_share(epoch * steps + step, epochs * steps, warmup=0.02, schedule="fall")
            for group in optimizer.param_groups:
                group["lr"] = LR * share
            truth = torch.tensor([truths[k] for k in chosen], device=device)
            batch = [shapes[k] for k in chosen]
            if isinstance(projector, DrawnProjector3D):
                batch = _turned(batch, projector.resolution, generator)
            losses = _losses(projector, heads, batch, truth)
            sum(losses).backward()  # type: ignore[union-attr]
            nn.utils.clip_grad_norm_(list(learned.values()), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            topics, told = (
                topics + float(losses.topics.detach()),
                told + float(losses.hints.detach()),
            )
        say(
            f"warm-up, epoch {epoch + 1} of {epochs}: loss {topics / steps:.4f}, "
            f"of hints {told / steps:.4f}"
        )
        if folder is not None:
            save_state(folder, settings, kept, optimizer, epoch + 1, name=STATE)


def _turned(shapes: list[Any], resolution: int, generator: torch.Generator) -> list[Any]:
    """Each in a position by chance."""
    numbers = torch.randint(len(SYMMETRIES), (len(shapes),), generator=generator).tolist()
    made = []
    for shape, number in zip(shapes, numbers, strict=True):
        feats, coords = turn_drawn(shape.feats, shape.coords, number, resolution=resolution)
        made.append(replace(shape, feats=feats, coords=coords))
    return made


def _losses(
    projector: NeighbourProjector3D, heads: _Heads, shapes: Sequence[Any], truth: Tensor
) -> _Losses:
    feats = torch.cat([shape.feats for shape in shapes]).to(truth.device)
    coords = torch.cat([shape.coords for shape in shapes])
    counts = torch.tensor([len(shape.feats) for shape in shapes])
    coords = coords.clone()
    coords[:, 0] = torch.repeat_interleave(torch.arange(len(shapes)), counts)
    coords = coords.to(truth.device)
    made = projector(feats, coords, len(shapes))
    if any(shape.hints is None for shape in shapes):
        return heads.losses(made, truth, None)
    hints = torch.cat([shape.hints for shape in shapes]).to(truth.device)
    return heads.losses(made, truth, _to_blocks(hints, coords, projector.resolution, len(shapes)))


def _to_blocks(hints: Tensor, coords: Tensor, resolution: int, batch_size: int) -> Tensor:
    """(K, 3) of blocks of two cells a side: sums, and the mean of the last."""
    sites, order = make_sites(coords, resolution=resolution, batch_size=batch_size)
    parents, parent = sites.parents
    made = hints.new_zeros((len(parents), hints.shape[1])).index_add(0, parent, hints[order])
    made[:, 2] /= torch.bincount(parent, minlength=len(parents))
    return made


def _to_truth(shape: Any) -> list[int]:
    """Class of each topic that any of a shape's texts names."""
    if shape.feats is None or shape.coords is None:
        raise InputError(f"{shape.name}: a warm-up needs a folder of 'cadwright align extract'")
    found: dict[str, int] = {}
    for pair in shape.pairs:
        said = text_to_said(pair.answer)
        for topic in TOPICS:
            value = getattr(said, topic)
            if value is not None:
                found[topic] = KINDS.index(value) if topic == "kind" else value
    return [min(found[topic], MOST[topic]) if topic in found else IGNORE for topic in TOPICS]
