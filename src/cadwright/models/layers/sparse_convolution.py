"""Layers on sparse tensors: submanifold convolution, pooling, subdivision, normalisation.

In and out: ``SparseTensor``. A submanifold 3x3x3 convolution is a neighbour table and one matrix
product; a site that is not there counts as zero, and the sites stay as they are. Plain PyTorch is
the reference on every device; spconv (``sparse_backend``) takes its place on a GPU after a check.
Shape suffixes: N sites, C channels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.models.layers import sparse_backend
from cadwright.models.layers.sites import NUM_OFFSETS, SparseTensor

# Gathered rows are multiplied in pieces of about this size: on a CPU they should stay in its
# cache (1.6 times as fast as 32 MiB on AVX2), on a GPU they should fill it.
CHUNK_BYTES = {"cpu": 1 << 20}
CHUNK_BYTES_ELSEWHERE = 1 << 28
SURFACE_NEIGHBOURS, SILU_GAIN = 14, 1.67


class _GatherProduct(torch.autograd.Function):
    """Rows of neighbours side by side, times a matrix; backward by the mirrored table.

    Autograd would scatter gradients with atomics, in another order each time on a GPU. Since a
    table is symmetric (t is found from p where 26 - t is found from q), the gradient of the
    input is the same gather and product with the kernel mirrored and transposed.
    """

    @staticmethod
    def forward(ctx: Any, feats: Tensor, kernel: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(feats, kernel, table)
        return _gather_product(feats, kernel, table)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        feats, kernel, table = ctx.saved_tensors
        grad = grad.contiguous()
        to_feats = to_kernel = None
        if ctx.needs_input_grad[0]:
            to_feats = _gather_product(grad, kernel.flip(0).transpose(1, 2), table)
        if ctx.needs_input_grad[1]:
            to_kernel = torch.zeros_like(kernel).view(-1, kernel.shape[2])
            padded = functional.pad(feats, (0, 0, 0, 1))
            for rows in _chunks(table, feats):
                gathered = padded.index_select(0, table[rows].reshape(-1))
                to_kernel.addmm_(gathered.view(-1, to_kernel.shape[0]).t(), grad[rows])
            to_kernel = to_kernel.view_as(kernel)
        return to_feats, to_kernel, None


def _gather_product(feats: Tensor, kernel: Tensor, table: Tensor) -> Tensor:
    """(N, Cout) of (N, Cin), (27, Cin, Cout) and (N, 27)."""
    padded = functional.pad(feats, (0, 0, 0, 1))  # the row of those that are not there
    matrix = kernel.reshape(-1, kernel.shape[2])
    out = feats.new_zeros((len(table), kernel.shape[2]))
    for rows in _chunks(table, feats):
        gathered = padded.index_select(0, table[rows].reshape(-1))
        torch.mm(gathered.view(-1, matrix.shape[0]), matrix, out=out[rows])
    return out


def _chunks(table: Tensor, feats: Tensor) -> list[slice]:
    size = CHUNK_BYTES.get(feats.device.type, CHUNK_BYTES_ELSEWHERE)
    step = max(1, size // (4 * NUM_OFFSETS * feats.shape[1]))
    return [slice(start, start + step) for start in range(0, len(table), step)]


def submanifold_convolution(feats: Tensor, kernel: Tensor, table: Tensor) -> Tensor:
    """A 3x3x3 convolution of stride 1 that keeps the sites, without bias.

    Args:
        feats: (N, Cin).
        kernel: (27, Cin, Cout); cell t is at x = t % 3 - 1, y = t // 3 % 3 - 1, z = t // 9 - 1,
            and multiplies the neighbour there, as ``torch.conv3d`` does.
        table: (N, 27) ``Sites.neighbours``.
    Returns:
        (N, Cout).
    """
    out: Tensor = _GatherProduct.apply(feats, kernel, table)
    return out


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
