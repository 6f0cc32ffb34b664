"""A projector's start: its tokens, pooled, must tell kinds and counts before a sentence is read.

In: shapes as codebook vectors with texts that name kinds and counts. Out: the projector, changed.
A pass costs a twentieth of one with the language model, which then finds tokens that differ where
the words do. What is learned besides the projector is thrown away. Not in the published recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.pairs import text_to_said
from cadwright.models.align3d.sequence import gather_blocks
from cadwright.synth.facts import KINDS

MOST = {"kind": len(KINDS) - 1, "bodies": 5, "holes": 7}  # larger counts are one class
BATCH = 32
LR = 1e-3
TYPICAL = 32.0  # tokens a shape; keeps sums near 1


class _Told(NamedTuple):
    """One shape."""

    feats: Tensor
    coords: Tensor
    truth: list[int]


def warm_up(
    branch: Qwen3VLWith3DBranch,
    shapes: Any,
    *,
    epochs: int,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Teach the projector of a branch, and nothing else of it.

    Args:
        branch: its projector is changed in place.
        shapes: a folder of latents whose captions are this package's.
        epochs: over all shapes; the rate falls to nothing.
        seed: of the order and of what is thrown away.
        say: gets a line for each epoch.
    Raises:
        InputError: a shape is raw, or its caption names no kind and counts.
    """
    told = [_to_told(shapes[k], branch.block) for k in range(len(shapes))]
    sizes = [most + 1 for most in MOST.values()]
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    head = nn.Linear(2 * branch.projector.hidden, sum(sizes)).to(branch.device)
    learned = [*branch.projector.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=LR, weight_decay=0.05)
    steps, step = epochs * -(-len(told) // BATCH), 0
    for epoch in range(epochs):
        order, total = torch.randperm(len(told), generator=generator).tolist(), 0.0
        for first in range(0, len(order), BATCH):
            batch = [told[k] for k in order[first : first + BATCH]]
            for group in optimizer.param_groups:
                group["lr"] = LR * (1 - step / steps)
            scores = head(_pool(branch, batch)).split(sizes, dim=1)
            truth = torch.tensor([row.truth for row in batch], device=branch.device)
            losses = [functional.cross_entropy(s, truth[:, k]) for k, s in enumerate(scores)]
            loss = torch.stack(losses).sum()
            loss.backward()
            nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step, total = step + 1, total + float(loss.detach()) * len(batch)
        say(f"warm-up, epoch {epoch + 1} of {epochs}: loss {total / len(told):.4f}")


def _pool(branch: Qwen3VLWith3DBranch, batch: list[_Told]) -> Tensor:
    """(B, 2 H): sums over the tokens of each shape, and their largest values."""
    device = branch.device
    lengths = torch.tensor([len(row.feats) for row in batch], device=device)
    owner = torch.repeat_interleave(torch.arange(len(batch), device=device), lengths)
    feats = torch.cat([row.feats for row in batch]).to(device)
    tokens = branch.projector(feats, torch.cat([row.coords for row in batch]).to(device))
    shape = (len(batch), tokens.shape[1])
    sums = tokens.new_zeros(shape).index_add(0, owner, tokens) / TYPICAL
    index = owner[:, None].expand(-1, shape[1])
    largest = tokens.new_full(shape, -1e4).scatter_reduce(0, index, tokens, "amax")
    return torch.cat([sums, largest], dim=1)


def _to_told(shape: Any, block: int) -> _Told:
    if shape.feats is None or shape.coords is None:
        raise InputError(f"{shape.name}: a warm-up needs a folder of 'cadwright align extract'")
    said = text_to_said(shape.pairs[0].answer)
    if said.kind is None or said.bodies is None or said.holes is None:
        raise InputError(f"{shape.name}: a warm-up needs captions that name kind and counts")
    truth = [KINDS.index(said.kind), said.bodies, said.holes]
    feats, coords = gather_blocks(shape.feats, shape.coords, block)
    clipped = [min(value, most) for value, most in zip(truth, MOST.values(), strict=True)]
    return _Told(feats, coords, clipped)
