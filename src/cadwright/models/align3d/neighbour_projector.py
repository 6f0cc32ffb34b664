"""NeighbourProjector3D: codes to embeddings, each cell with those around it, and a summary.

In: rows of codebook vectors of a batch with their cells. Out: embeddings of blocks of cells, and
for each shape a few summary embeddings made of sums and maxima over all of it. A language model's
attention gives averages; what is counted (holes, bodies) is a sum, which is why it is made here.
Not in the published work, whose projector sees one vector at a time (``projector``).
Shape suffixes: N cells, M blocks, B batch, C channels, H width of the language model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import InputError
from cadwright.models.align3d.projector import coords_to_sines
from cadwright.models.layers.sites import CHILDREN, Sites, SparseTensor, make_sites
from cadwright.models.layers.sparse_convolution import SparseConvolution

WIDTHS = (16, 48, 64)  # channels of a cell, of a block of two cells a side, of four
NUM_SUMMARY = 8
TYPICAL = 64.0  # blocks of a shape; keeps sums near 1


class Projected(NamedTuple):
    """A batch of shapes for a language model.

    Attributes:
        tokens: (M, H) blocks.
        coords: (M, 4) int64 theirs, batch first, on the grid of blocks.
        summary: (B, S, H).
        pooled: (B, P) what the summary is made of; for a warm-up.
        local: (K, C) blocks of two cells a side; for a warm-up.
        sites: of ``local``.
        told: (K, 3) the hints that the projector itself reads in ``local``, if it does.
    """

    tokens: Tensor
    coords: Tensor
    summary: Tensor
    pooled: Tensor
    local: Tensor
    sites: Sites
    told: Tensor | None = None


class NeighbourProjector3D(nn.Module):
    """Levels of submanifold convolution, each on half the resolution, all of them pooled.

    Args:
        latent_dim: D, width of the codebook.
        hidden: H, width of the language model.
        block: cells a side that share a token: 2 or 4.
        resolution: of the latent grid.
    Raises:
        InputError: a size that makes none.
    """

    widths = WIDTHS
    enter: nn.Module

    def __init__(self, latent_dim: int, hidden: int, *, block: int, resolution: int) -> None:
        super().__init__()
        if block not in (2, 4) or min(latent_dim, hidden, resolution // block) < 1:
            raise InputError("a projector with neighbours makes tokens of 2 or 4 cells a side")
        self.latent_dim, self.hidden = latent_dim, hidden
        self.block, self.resolution = block, resolution
        widths = self.widths[: 2 if block == 2 else 3]
        self.enter = nn.Linear(latent_dim, widths[0])
        # The encoder's codes have seen their neighbours: the first level only mixes channels.
        self.levels = nn.ModuleList([_Level(width) for width in widths[1:]])
        self.merges = nn.ModuleList(
            [nn.Linear(8 * a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        )
        ends = widths[1:]
        self.local_width = ends[0]
        self.pooled_size = 2 * sum(ends)
        self.feedback = nn.Linear(self.pooled_size, ends[-1])
        self.leave = nn.Sequential(nn.GELU(), nn.Linear(ends[-1], hidden))
        self.sum_up = nn.Sequential(
            nn.LayerNorm(self.pooled_size), nn.Linear(self.pooled_size, hidden), nn.GELU(),
            nn.Linear(hidden, NUM_SUMMARY * hidden),
        )  # fmt: skip

    def forward(self, feats: Tensor, coords: Tensor, batch_size: int) -> Projected:
        """Project.

        Args:
            feats: (N, D) rows of all samples, in any order.
            coords: (N, 4) their cells, batch first.
            batch_size: B.
        Raises:
            InputError: another width, or cells outside of the grid.
        """
        if feats.shape[-1] != self.latent_dim:
            raise InputError(
                f"the 3-D vectors have width {feats.shape[-1]}, the projector reads "
                f"latent_dim {self.latent_dim}"
            )
        sites, order = make_sites(coords, resolution=self.resolution, batch_size=batch_size)
        h = functional.gelu(self.enter(feats.to(next(self.parameters()).dtype)[order]))
        levels = self.climb(SparseTensor(h, sites))
        local, x = levels[0], levels[-1]
        whole = torch.cat([pool(level) for level in levels], dim=1)
        x = x.replace(x.feats + self.feedback(whole)[x.sites.batch])
        summary = self.sum_up(whole).view(batch_size, NUM_SUMMARY, self.hidden)
        return Projected(self.to_tokens(x), x.coords, summary, whole, local.feats, local.sites)

    def climb(self, x: SparseTensor) -> list[SparseTensor]:
        """Blocks of two cells a side, then, where a token takes more, of four."""
        climbed = []
        for merge, level in zip(self.merges, self.levels, strict=True):
            gathered = gather_children(x)
            x = level(gathered.replace(merge(gathered.feats)))
            climbed.append(x)
        return climbed

    def to_tokens(self, x: SparseTensor) -> Tensor:
        """(M, C) to (M, H), with sines of where they are."""
        tokens: Tensor = self.leave(x.feats)
        return tokens + coords_to_sines(x.coords[:, 1:], self.hidden).to(tokens.dtype)


class _Level(nn.Module):
    """Two convolutions beside a skip; the norm is over the channels of a site."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.convolutions = nn.ModuleList([SparseConvolution(width, width) for _ in range(2)])

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) to (N, C)."""
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            h = functional.gelu(norm(x.feats))
            x = x.replace(x.feats + convolution(x.replace(h)).feats)
        return x


def gather_children(x: SparseTensor) -> SparseTensor:
    """(N, C) to (M, 8 C) on the grid of half the resolution; a child that is missing is 0."""
    sites, parent = x.sites.parents
    steps = x.coords[:, 1:] % 2
    child = steps[:, 0] * 4 + steps[:, 1] * 2 + steps[:, 2]
    rows = x.feats.new_zeros((len(sites) * len(CHILDREN), x.feats.shape[1]))
    rows = rows.index_copy(0, parent * len(CHILDREN) + child, x.feats)
    return SparseTensor(rows.view(len(sites), -1), sites)


def pool(x: SparseTensor) -> Tensor:
    """(B, 2 C) sums and maxima over the sites of each sample; 0 where it has none."""
    batch, size = x.sites.batch, (x.sites.batch_size, x.feats.shape[1])
    sums = x.feats.new_zeros(size).index_add(0, batch, x.feats) / TYPICAL
    index = batch[:, None].expand(-1, size[1])
    largest = x.feats.new_zeros(size).scatter_reduce(
        0, index, functional.gelu(x.feats), "amax", include_self=False
    )
    return torch.cat([sums, largest], dim=1)
