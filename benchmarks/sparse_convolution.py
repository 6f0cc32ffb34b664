"""Submanifold convolution by table and matrix product against dense conv3d on the same shape.

In: parts of the generator as sparse SDFs. Out: a markdown table of largest difference, seconds
forward and forward with backward, and the bytes of activations each holds; a second one of the
convolution after a subdivision, at once against step by step. Needs the extra ``sdf``.

    python benchmarks/sparse_convolution.py --resolutions 64 128 --channels 16
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_sdf import mesh_to_sdf
from cadwright.models.layers.sites import Sites, SparseTensor
from cadwright.models.layers.sparse_convolution import SparseConvolution, subdivide
from cadwright.models.layers.submanifold import CHUNK_BYTES, submanifold_convolution
from cadwright.models.vqvae import sdfs_to_batch
from cadwright.synth.generate import draw_solid

REPEATS = 3


def draw_sites(resolution: int) -> Sites:
    """Voxels near the surface of a held-out part."""
    drawn = draw_solid(1_000_014, 0)
    assert drawn is not None
    sdf = mesh_to_sdf(manifold_to_mesh(drawn[1]), resolution=resolution, threshold_factor=1.2)
    return sdfs_to_batch([sdf]).sites


def best_s(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """The fastest of a few runs."""
    times = []
    for _ in range(REPEATS):
        begin_s = clock()
        work()
        times.append(clock() - begin_s)
    return min(times)


def compare(
    ours: Callable[[], Tensor], theirs: Callable[[], Tensor], inputs: Sequence[Tensor],
    clock: Callable[[], float],
) -> tuple[float, list[float], list[float]]:  # fmt: skip
    """Largest difference as a share of the largest value; seconds forward, and with backward."""

    def with_backward(make: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(make().sum(), inputs)

    with torch.no_grad():
        error = float((ours() - theirs()).abs().max() / theirs().abs().max())
        forward = [best_s(work, clock) for work in (ours, theirs)]
    both = [best_s(with_backward(work), clock) for work in (ours, theirs)]
    return error, forward, both


def print_table(heads: str, rows: Iterable[str]) -> None:
    """Each row as soon as it is measured."""
    print(heads)
    print("|" + "---|" * heads.count(" | ") + "---|")
    for row in rows:
        print(row, flush=True)


def measure(resolution: int, channels: int, device: str) -> str:
    """One row of the table."""
    sites = draw_sites(resolution)
    sites = Sites(sites.coords.to(device), resolution, 1)
    clock = time.perf_counter if device == "cuda" else time.process_time
    begin_s = clock()
    table = sites.neighbours
    table_s = clock() - begin_s
    feats = torch.randn(len(sites), channels, device=device, requires_grad=True)
    kernel = torch.randn(27, channels, channels, device=device) / channels
    kernel.requires_grad_()
    place = tuple(sites.coords[:, 1:].unbind(1))

    def sparse() -> Tensor:
        return submanifold_convolution(feats, kernel, table)

    def dense() -> Tensor:
        grid = feats.new_zeros((*[resolution] * 3, channels)).index_put(place, feats)
        weight = kernel.view(3, 3, 3, channels, channels).permute(4, 3, 2, 1, 0)
        out = functional.conv3d(grid.permute(3, 0, 1, 2)[None], weight, padding=1)
        return out[0].permute(1, 2, 3, 0)[place]

    error, forward, both = compare(sparse, dense, (feats, kernel), clock)
    held = [
        (table.numel() + 2 * feats.numel()) * 4 + CHUNK_BYTES.get(device, 0),
        2 * resolution**3 * channels * 4,
    ]
    share = len(sites) / resolution**3
    return (
        f"| {resolution} | {channels} | {len(sites)} ({share:.1%}) | {error:.1e} | {table_s:.3f} | "
        f"{forward[0]:.3f} / {forward[1]:.3f} | {both[0]:.3f} / {both[1]:.3f} | "
        f"{held[0] / 1e6:.0f} / {held[1] / 1e6:.0f} |"
    )


def measure_children(resolution: int, channels: int, device: str) -> str:
    """One row of the second table: sites of the coarser grid, tables included."""
    sites = draw_sites(resolution // 2)
    coords = sites.coords.to(device)
    clock = time.perf_counter if device == "cuda" else time.process_time
    layer = SparseConvolution(channels, channels).to(device)
    feats = torch.randn(len(sites), channels, device=device, requires_grad=True)

    def parents() -> SparseTensor:
        return SparseTensor(feats, Sites(coords, resolution // 2, 1))

    def at_once() -> Tensor:
        return layer.subdivided(parents()).feats

    def in_steps() -> Tensor:
        return layer(subdivide(parents())).feats

    error, forward, both = compare(at_once, in_steps, (feats, layer.conv.kernel), clock)
    return (
        f"| {resolution} | {channels} | {8 * len(sites)} | {error:.1e} | "
        f"{forward[0]:.3f} / {forward[1]:.3f} | {both[0]:.3f} / {both[1]:.3f} | "
        f"{forward[1] / forward[0]:.1f}, {both[1] / both[0]:.1f} |"
    )


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--channels", type=int, nargs="+", default=[16])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    sizes = list(product(arguments.resolutions, arguments.channels))
    for work, heads in (
        (measure, "| R | channels | sites | difference | table s | forward s, sparse / dense "
                  "| with backward s | MB |"),
        (measure_children, "| R | channels | children | difference "
                           "| forward s, at once / in steps | with backward s | ratios |"),
    ):  # fmt: skip
        work(16, 4, arguments.device)  # loads what the first call loads
        print_table(heads, (work(*size, arguments.device) for size in sizes))
        print()


if __name__ == "__main__":
    main()
