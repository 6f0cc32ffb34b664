"""Submanifold 3x3x3 convolution as a function: a neighbour table and one matrix product.

In: features of sites, a kernel, the table of neighbours. Out: features of the same sites, or of
their eight children; a site that is not there counts as zero. Plain PyTorch, the reference on every
device. Shape suffixes: N sites, C channels. Not covered: layers (sparse_convolution), spconv
(sparse_backend).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cadwright.models.layers.sites import CHILDREN, NUM_OFFSETS, OFFSETS

# Gathered rows are multiplied in pieces of about this size: on a CPU they should stay in its
# cache (1.6 times as fast as 32 MiB on AVX2), on a GPU they should fill it.
CHUNK_BYTES = {"cpu": 1 << 20}
CHUNK_BYTES_ELSEWHERE = 1 << 28


def _cells_by_parent(child: tuple[int, int, int]) -> dict[int, list[int]]:
    """Cells of a child's kernel by the offset of the parent whose row they multiply."""
    found: dict[int, list[int]] = {}
    for cell, offset in enumerate(OFFSETS):
        x, y, z = ((place + step) // 2 for place, step in zip(child, offset, strict=True))
        found.setdefault(OFFSETS.index((x, y, z)), []).append(cell)
    return dict(sorted(found.items()))


PARENTS = [list(_cells_by_parent(child)) for child in CHILDREN]
CELLS = [list(_cells_by_parent(child).values()) for child in CHILDREN]
"""For each child: offsets of the 8 parents near it, and which cells of the kernel each takes."""


class _GatherProduct(torch.autograd.Function):
    """Rows of neighbours side by side, times a matrix; backward by the opposite neighbours.

    Autograd would scatter gradients with atomics, in another order each time on a GPU. Since
    neighbourhood is mutual, the gradient of the input is the same gather and product with the
    kernel mirrored and transposed, and the opposite offsets, ascending again.
    """

    @staticmethod
    def forward(
        ctx: Any, feats: Tensor, kernel: Tensor, table: Tensor, offsets: list[int] | None
    ) -> Tensor:
        ctx.save_for_backward(feats, kernel, table)
        ctx.offsets = offsets
        return _gather_product(feats, kernel, _columns(table, offsets))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        feats, kernel, table = ctx.saved_tensors
        grad = grad.contiguous()
        to_feats = to_kernel = None
        if ctx.needs_input_grad[0]:
            opposite = ctx.offsets and [NUM_OFFSETS - 1 - t for t in reversed(ctx.offsets)]
            mirrored = kernel.flip(0).transpose(1, 2)
            to_feats = _gather_product(grad, mirrored, _columns(table, opposite))
        if ctx.needs_input_grad[1]:
            to_kernel = torch.zeros_like(kernel).view(-1, kernel.shape[2])
            padded, near = functional.pad(feats, (0, 0, 0, 1)), _columns(table, ctx.offsets)
            for rows in _chunks(near, feats):
                gathered = padded.index_select(0, near[rows].reshape(-1))
                to_kernel.addmm_(gathered.view(-1, to_kernel.shape[0]).t(), grad[rows])
            to_kernel = to_kernel.view_as(kernel)
        return to_feats, to_kernel, None, None


def _columns(table: Tensor, offsets: list[int] | None) -> Tensor:
    """(N, T) of a table of all neighbours; None means all of them, without a copy."""
    return table if offsets is None else table[:, offsets]


def _gather_product(feats: Tensor, kernel: Tensor, table: Tensor) -> Tensor:
    """(N, Cout) of (N, Cin), (T, Cin, Cout) and (N, T)."""
    padded = functional.pad(feats, (0, 0, 0, 1))  # the row of those that are not there
    matrix = kernel.reshape(-1, kernel.shape[2])
    out = feats.new_zeros((len(table), kernel.shape[2]))
    for rows in _chunks(table, feats):
        gathered = padded.index_select(0, table[rows].reshape(-1))
        torch.mm(gathered.view(-1, matrix.shape[0]), matrix, out=out[rows])
    return out


def _chunks(table: Tensor, feats: Tensor) -> list[slice]:
    size = CHUNK_BYTES.get(feats.device.type, CHUNK_BYTES_ELSEWHERE)
    step = max(1, size // (4 * table.shape[1] * feats.shape[1]))
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
    out: Tensor = _GatherProduct.apply(feats, kernel, table, None)
    return out


def convolve_children(feats: Tensor, kernel: Tensor, table: Tensor) -> Tensor:
    """``submanifold_convolution`` on all children of sites, each with a copy of its parent's row.

    A child's 27 neighbours have only 8 parents, so that the kernel's matrices can be added up
    before: 0.3 of the products, and no table of the children.

    Args:
        feats: (N, Cin) of the parents.
        kernel: (27, Cin, Cout), of the children's grid.
        table: (N, 27) ``Sites.neighbours`` of the parents.
    Returns:
        (8N, Cout), child c of site i in row 8 i + c.
    """
    made = []
    for offsets, parts in zip(PARENTS, CELLS, strict=True):
        summed = torch.stack([kernel[cells].sum(0) for cells in parts])
        made.append(_GatherProduct.apply(feats, summed, table, offsets))
    return torch.stack(made, dim=1).flatten(0, 1)
