"""Layers on sparse tensors: submanifold convolution, pooling, subdivision, normalisation.

In and out: ``SparseTensor``, the sites as they are. Plain PyTorch (``submanifold``) is the
reference on every device; spconv (``sparse_backend``) takes its place on a GPU after a check.
Shape suffixes: N sites, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.models.layers import sparse_backend
from cadwright.models.layers.sites import SparseTensor
from cadwright.models.layers.submanifold import convolve_children, submanifold_convolution

SURFACE_NEIGHBOURS, SILU_GAIN = 14, 1.67


class _Weights(nn.Module):
    """Kernel and bias, under the published names."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape[-1]))


class SparseConvolution(nn.Module):
    """Submanifold convolution of 3x3x3 cells, or of one cell.

    The names and the layout are those of the published files: ``conv.kernel`` (27, Cin, Cout),
    or (Cin, Cout) for one cell, and ``conv.bias``.

    Args:
        channels_in: Cin.
        channels_out: Cout.
        size: 3 or 1.
    """

    def __init__(self, channels_in: int, channels_out: int, *, size: int = 3) -> None:
        super().__init__()
        shape = (channels_in, channels_out) if size == 1 else (27, channels_in, channels_out)
        self.conv = _Weights(shape)
        # As for dense layers the fan in decides, but of a surface's 27 neighbours only these are
        # there; with 27, the numbers fade on the decoder's way through layers without norms.
        fan = channels_in * (SURFACE_NEIGHBOURS if size == 3 else 1)
        nn.init.normal_(self.conv.kernel, std=SILU_GAIN / math.sqrt(fan))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, Cin) to (N, Cout) on the same sites."""
        kernel, bias = self.conv.kernel, self.conv.bias
        if kernel.ndim == 2:
            return x.replace(torch.addmm(bias, x.feats, kernel))
        if sparse_backend.use_spconv(x.feats.device):
            return x.replace(sparse_backend.spconv_convolution(x, kernel) + bias)
        return x.replace(submanifold_convolution(x.feats, kernel, x.sites.neighbours) + bias)

    def subdivided(self, x: SparseTensor) -> SparseTensor:
        """(N, Cin) to (8N, Cout): the same as of ``subdivide(x)``, for a third of the work."""
        if sparse_backend.use_spconv(x.feats.device):
            return self(subdivide(x))
        made = convolve_children(x.feats, self.conv.kernel, x.sites.neighbours)
        return SparseTensor(made + self.conv.bias, x.sites.children())


class SparseGroupNorm(nn.GroupNorm):
    """Group normalisation over the channels of a group and all sites of a sample, in float32.

    Statistics are per sample, so that a sample gives the same alone and in a batch.
    """

    def forward(self, x: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """(N, C) to (N, C)."""
        feats = x.feats.float().view(len(x.sites), self.num_groups, -1)
        size = feats.shape[2]
        counts = (x.sites.counts.clamp(min=1) * size)[:, None].to(feats)
        mean = _sum_samples(feats.sum(2), x) / counts
        centred = feats - mean[x.sites.batch][:, :, None]
        spread = _sum_samples(centred.square().sum(2), x) / counts
        scaled = centred * (spread + self.eps).rsqrt()[x.sites.batch][:, :, None]
        out = scaled.view(len(x.sites), -1) * self.weight + self.bias
        return x.replace(out.to(x.feats.dtype))


def _sum_samples(values: Tensor, x: SparseTensor) -> Tensor:
    """(B, G) sums of (N, G) over the sites of each sample."""
    if x.sites.batch_size == 1:
        return values.sum(0, keepdim=True)
    zeros = values.new_zeros((x.sites.batch_size, values.shape[1]))
    return zeros.index_add(0, x.sites.batch, values)


def silu(x: SparseTensor) -> SparseTensor:
    """X sigmoid(x)."""
    return x.replace(functional.silu(x.feats))


class SparseSiLU(nn.Module):
    """``silu`` as a module, so that published names count it."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) to (N, C)."""
        return silu(x)


def pool(x: SparseTensor, *, published: bool) -> SparseTensor:
    """Mean over the sites of each 2x2x2 block, on the grid of half the resolution.

    Args:
        x: (N, C).
        published: divide by one more than the number of sites, as the code does that the
            released weights were trained with (it counts the zeros it starts from); else a
            true mean.
    """
    sites, parent = x.sites.parents
    sums = x.feats.new_zeros((len(sites), x.feats.shape[1])).index_add(0, parent, x.feats)
    counts = torch.bincount(parent, minlength=len(sites)) + int(published)
    return SparseTensor(sums / counts[:, None].to(sums), sites)


def subdivide(x: SparseTensor) -> SparseTensor:
    """Each site becomes its eight children, each with a copy of its numbers."""
    return SparseTensor(x.feats.repeat_interleave(8, dim=0), x.sites.children())
