"""DrawnProjector3D: codes to embeddings by way of what the frozen decoder draws for them.

In: ``drawn`` rows of a batch with their cells. Out: as of ``NeighbourProjector3D``, whose levels of
convolution it has; the summary also reads sums over the whole shape, Euler numbers among them. Not
in the published work, whose projector reads one codebook vector at a time (``projector``).
Shape suffixes: N cells, M blocks, B batch, C channels, H width of the language model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cadwright.errors import InputError
from cadwright.models.align3d.drawn import COUNTED, DRAWN, EULER, LEVELS, NORMAL_SCALE, NUM_CLASSES
from cadwright.models.align3d.hints import HINTS
from cadwright.models.align3d.neighbour_projector import (
    NUM_SUMMARY,
    NeighbourProjector3D,
    Projected,
    pool,
)
from cadwright.models.layers.sites import SparseTensor, make_sites

COUNT_SCALE, NEAR_SCALE = 8.0, 32.0  # typical numbers of a cell
LARGEST_EULER = 8.0  # beyond it, a drawing is noise
WIDE, DROPOUT = 256, 0.1
SLOWEST = 0.01  # share that a batch has in the means of all


class Standardise(nn.Module):
    """Mean 0 and spread 1 by the means of all batches seen in training, this one included.

    The same in training and in use, and of whatever size a batch is, unlike a batch norm.

    Args:
        channels: C.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) to (B, C)."""
        if self.training:
            with torch.no_grad():
                self.seen += 1
                share = max(SLOWEST, 1 / float(self.seen))
                self.variance.lerp_((x - self.mean).square().mean(dim=0), share)
                self.mean.lerp_(x.mean(dim=0), share)
        return (x - self.mean) / (self.variance + 1e-3).sqrt()


class DrawnProjector3D(NeighbourProjector3D):
    """Two levels of convolution over drawn cells, all of them pooled.

    Args:
        latent_dim: D, width of the codebook, whose vectors are drawn before (``draw_cells``).
        hidden: H, width of the language model.
        block: cells a side that share a token: 2 or 4.
        resolution: of the latent grid.
    Raises:
        InputError: a size that makes none.
    """

    widths = (32, 64, 96)

    def __init__(self, latent_dim: int, hidden: int, *, block: int, resolution: int) -> None:
        super().__init__(latent_dim, hidden, block=block, resolution=resolution)
        ends = self.widths[: len(self.levels) + 1]
        self.enter = nn.Sequential(
            nn.Linear(DRAWN, ends[0]), nn.GELU(), nn.Linear(ends[0], ends[0]), nn.GELU()
        )
        self.tell = nn.Sequential(nn.GELU(), nn.Linear(self.local_width, len(HINTS)))
        self.pooled_size = len(LEVELS) + COUNTED + 2 * sum(ends) + 2
        self.feedback = nn.Linear(self.pooled_size, ends[-1])
        self.norm = Standardise(self.pooled_size)
        self.sum_up = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(self.pooled_size, WIDE), nn.GELU(),
            nn.Dropout(DROPOUT), nn.Linear(WIDE, NUM_SUMMARY * hidden),
        )  # fmt: skip
        euler = torch.zeros(DRAWN, len(LEVELS))
        for number in range(len(LEVELS)):
            first = number * NUM_CLASSES
            euler[first : first + NUM_CLASSES, number] = torch.from_numpy(EULER)
        scale = torch.tensor([COUNT_SCALE] * COUNTED + [NORMAL_SCALE] * 9 + [NEAR_SCALE])
        self.euler: Tensor
        self.scale: Tensor
        self.register_buffer("euler", euler, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, feats: Tensor, coords: Tensor, batch_size: int) -> Projected:
        """Project.

        Args:
            feats: (N, ``DRAWN``) rows of ``draw_cells`` of all samples, in any order.
            coords: (N, 4) their cells, batch first.
            batch_size: B.
        Raises:
            InputError: another width, or cells outside of the grid.
        """
        if feats.shape[-1] != DRAWN:
            raise InputError(
                f"the 3-D rows have width {feats.shape[-1]}, a projector of drawn cells reads "
                f"{DRAWN}"
            )
        sites, order = make_sites(coords, resolution=self.resolution, batch_size=batch_size)
        rows = feats.to(self.scale)[order]
        cells = SparseTensor(self.enter(rows / self.scale), sites)
        levels = self.climb(cells)
        local, x = levels[0], levels[-1]
        pooled = self._sums(rows, sites.batch, batch_size)
        pooled += [pool(level) for level in (cells, *levels)]
        told = self.tell(local.feats)
        zeros = told.new_zeros((batch_size, 2))
        pooled.append(zeros.index_add(0, local.sites.batch, told[:, :2]))
        whole = self.norm(torch.cat(pooled, dim=1))
        x = x.replace(x.feats + self.feedback(whole)[x.sites.batch])
        summary = self.sum_up(whole).view(batch_size, NUM_SUMMARY, self.hidden)
        return Projected(
            self.to_tokens(x), x.coords, summary, whole, local.feats, local.sites, told
        )

    def _sums(self, rows: Tensor, batch: Tensor, batch_size: int) -> list[Tensor]:
        """Euler numbers of each level, and how often each window stands in the whole shape."""
        counts = rows.new_zeros((batch_size, COUNTED)).index_add(0, batch, rows[:, :COUNTED])
        euler = rows.new_zeros((batch_size, len(LEVELS)))
        euler = euler.index_add(0, batch, rows @ self.euler)
        return [euler.clamp(-LARGEST_EULER, LARGEST_EULER) / 2, torch.log1p(counts)]


READERS: dict[str, type[NeighbourProjector3D]] = {
    "neighbours": NeighbourProjector3D,
    "drawn": DrawnProjector3D,
}
"""Projectors of whole shapes, by the name of ``--projector``."""
