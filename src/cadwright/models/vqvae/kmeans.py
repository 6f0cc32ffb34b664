"""k-means of latents, and the reservoir of latents it works on. Plain PyTorch, seeded.

In: (M, D) rows. Out: (K, D) centres. Not covered: several machines; each keeps its own reservoir.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 8
CHUNK = 1 << 22  # distances measured at a time


class Reservoir:
    """An even draw of all rows seen since it was cleared, at most ``size`` of them.

    Args:
        size: 0 keeps nothing.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._rows: Tensor | None = None
        self._seen = 0

    def add(self, rows: Tensor) -> None:
        """Take in (M, D) rows: each row seen so far stays with the same probability."""
        if not self.size:
            return
        rows = rows.float()
        kept = rows[:0] if self._rows is None else self._rows
        room = self.size - len(kept)
        kept = torch.cat([kept, rows[:room]])
        self._seen += min(room, len(rows))
        if len(rows) > room:
            rest = rows[room:]
            order = self._seen + 1 + torch.arange(len(rest), device=rest.device)
            place = (torch.rand(len(rest), device=rest.device) * order).long()
            taken = place < self.size
            kept[place[taken]] = rest[taken]
            self._seen += len(rest)
        self._rows = kept

    def rows(self) -> Tensor:
        """(M, D) float32; (0, 0) where nothing was added."""
        return torch.zeros((0, 0)) if self._rows is None else self._rows


def kmeans(rows: Tensor, num: int, *, seed: int, rounds: int = ROUNDS) -> tuple[Tensor, Tensor]:
    """Lloyd's iterations from rows drawn far apart; a centre without rows moves to a far row.

    Args:
        rows: (M, D), M >= num.
        num: K.
        seed: of the draw.
        rounds: iterations.
    Returns:
        (K, D) centres and (K,) float32 how many rows are nearest to each.
    """
    rows = rows.float()
    centres = _far_apart(rows, num, torch.Generator().manual_seed(seed))
    for _ in range(rounds):
        nearest, away = _nearest(rows, centres)
        counts = torch.bincount(nearest, minlength=num)
        sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
        centres = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty):
            centres[empty] = rows[away.topk(len(empty)).indices]
    nearest, _ = _nearest(rows, centres)
    return centres, torch.bincount(nearest, minlength=num).float()


def _far_apart(rows: Tensor, num: int, random: torch.Generator) -> Tensor:
    """(K, D) rows: each drawn with the square of its distance to those before it (k-means++).

    Sixteen draws at a time share their distances, so that thousands of centres stay cheap.
    """
    first = int(torch.randint(len(rows), (1,), generator=random))
    chosen = [rows[first : first + 1]]
    away = (rows - chosen[0]).square().sum(1)
    step = max(1, num // 16)
    while (left := num - sum(map(len, chosen))) > 0:
        # A little for all, so that equal rows can still be drawn where fewer differ than asked.
        weight = (away + 1e-12 * away.max() + 1e-30).cpu().double()
        drawn = torch.multinomial(weight, min(step, left), generator=random).to(rows.device)
        chosen.append(rows[drawn])
        away = torch.minimum(away, _nearest(rows, chosen[-1])[1])
    return torch.cat(chosen).clone()


def _nearest(rows: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) number of the nearest centre, and squared distance to it."""
    half = centres.square().sum(1) / 2
    step = max(1, CHUNK // len(centres))
    found = [torch.addmm(half, part, centres.t(), alpha=-1).min(1) for part in rows.split(step)]
    least = torch.cat([part.values for part in found])
    away = (rows.square().sum(1) + 2 * least).clamp(min=0)
    return torch.cat([part.indices for part in found]), away
