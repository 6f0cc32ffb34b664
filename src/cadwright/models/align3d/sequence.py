"""Codebook vectors with coordinates to token sequences: sorted, shortened, padded, with a mask.

In: (N, D) vectors and (N, 4) whole coordinates (batch, x, y, z). Out: ``Sequence3D``. Every way
of shortening but the published ``head`` keeps the whole shape, and all keep the order.
Shape suffixes: N cells, B batch, L tokens, D width of a code.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from cadwright.errors import InputError

Truncation = Literal["head", "random_sample", "even", "pool"]
TRUNCATIONS: tuple[Truncation, ...] = get_args(Truncation)


class Sequence3D(NamedTuple):
    """One shape (no batch axis) or a batch of them.

    Attributes:
        feats: (..., L, D).
        mask: (..., L) bool, False at padding.
        coords: (..., L, 4) int64, 0 at padding.
    """

    feats: Tensor
    mask: Tensor
    coords: Tensor


def prepare_3d_sequence(
    feats: Tensor,
    coords: Tensor,
    max_3d_tokens: int = 2048,
    pad_value: float = 0.0,
    sort: bool = True,
    truncate_mode: Truncation = "head",
    seed: int = 0,
) -> Sequence3D:
    """Bring one shape to exactly ``max_3d_tokens`` tokens.

    Args:
        feats: (N, D).
        coords: (N, 4) whole numbers.
        max_3d_tokens: L; 0 or less means N.
        pad_value: of the vectors that are padding.
        sort: by (batch, z, y, x), x fastest, as published.
        truncate_mode: ``head`` keeps the first L (published; a slab of low z), ``even`` every
            so-manieth, ``random_sample`` a seeded choice in order, ``pool`` the means of blocks
            of 2, 4, ... cells a side, as small as will do.
        seed: of ``random_sample``.
    Raises:
        InputError: shapes or types do not fit, or there is no such mode.
    """
    check_cells(feats, coords)
    if truncate_mode not in TRUNCATIONS:
        raise InputError(f"truncate_mode is one of {', '.join(TRUNCATIONS)}, not {truncate_mode!r}")
    coords = coords.long()
    if sort:
        order = sort_cells(coords)
        feats, coords = feats[order], coords[order]
    length = max_3d_tokens if max_3d_tokens > 0 else len(feats)
    if len(feats) > length:
        feats, coords = _shorten(feats, coords, length, truncate_mode, seed)
    return _pad(feats, coords, length, pad_value)


def prepare_3d_sequence_batched(
    feats: Tensor,
    coords: Tensor,
    max_3d_tokens: int = 2048,
    pad_value: float = 0.0,
    sort: bool = True,
    truncate_mode: Truncation = "head",
    *,
    batch_size: int,
    seed: int = 0,
) -> Sequence3D:
    """Bring a batch to one length: the longest sample's, at least 1, at most ``max_3d_tokens``.

    Args:
        feats: (N, D) rows of all samples, in any order.
        coords: (N, 4); the first column says which sample a row belongs to.
        max_3d_tokens: as for ``prepare_3d_sequence``.
        pad_value: as there.
        sort: as there.
        truncate_mode: as there.
        batch_size: B; a sample without a row is all padding.
        seed: as there.
    Raises:
        InputError: as there, or a batch index outside 0 .. B - 1.
    """
    check_cells(feats, coords)
    number = coords[:, 0].long()
    if len(number) and not 0 <= int(number.min()) <= int(number.max()) < batch_size:
        raise InputError(f"the coordinates' batch indices must lie in 0 to {batch_size - 1}")
    largest = int(torch.bincount(number, minlength=batch_size).max())
    length = max(1, min(max_3d_tokens, largest) if max_3d_tokens > 0 else largest)
    rows = [number == sample for sample in range(batch_size)]
    made = [
        prepare_3d_sequence(feats[row], coords[row], length, pad_value, sort, truncate_mode, seed)
        for row in rows
    ]
    return Sequence3D(*(torch.stack(parts) for parts in zip(*made, strict=True)))


def sort_cells(coords: Tensor) -> Tensor:
    """(N,) row order by (batch, z, y, x), x fastest; found on the tensor's own device."""
    if not len(coords):
        return torch.zeros(0, dtype=torch.long, device=coords.device)
    b, x, y, z = coords.long().unbind(1)
    side = int(coords.max()) + 1
    return torch.argsort(((b * side + z) * side + y) * side + x, stable=True)


def pool_cells(feats: Tensor, coords: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Means over cubes of ``block`` cells a side; each cube's lowest corner is its coordinate."""
    blocks = coords.long().clone()
    blocks[:, 1:] = blocks[:, 1:] // block * block
    places, inverse = torch.unique(blocks, dim=0, return_inverse=True)
    counts = torch.bincount(inverse, minlength=len(places)).to(feats.dtype)
    sums = feats.new_zeros((len(places), feats.shape[1])).index_add_(0, inverse, feats)
    order = sort_cells(places)
    return (sums / counts[:, None])[order], places[order]


def gather_blocks(feats: Tensor, coords: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Cubes of ``block`` cells a side as single rows; nothing is lost, cells missing are 0.

    Args:
        feats: (N, D).
        coords: (N, 4); x, y, z are divided by ``block``.
        block: cells a side.
    Returns:
        (M, block^3 D), cell (x, y, z) of a cube in place x block^2 + y block + z; and (M, 4).
    """
    if block == 1:
        return feats, coords.long()
    coords = coords.long()
    places = coords.clone()
    places[:, 1:] //= block
    x, y, z = (coords[:, 1:] % block).unbind(1)
    unique, inverse = torch.unique(places, dim=0, return_inverse=True)
    gathered = feats.new_zeros((len(unique), block**3, feats.shape[1]))
    gathered[inverse, (x * block + y) * block + z] = feats
    order = sort_cells(unique)
    return gathered.flatten(1)[order], unique[order]


def check_cells(feats: Tensor, coords: Tensor) -> None:
    """Refuse vectors and coordinates that do not fit each other.

    Raises:
        InputError: they do not.
    """
    if feats.ndim != 2 or coords.ndim != 2 or coords.shape != (len(feats), 4):
        raise InputError(
            f"feats_3d must be (N, D) and coords_3d (N, 4), not {tuple(feats.shape)} and "
            f"{tuple(coords.shape)}"
        )
    if coords.is_floating_point():
        raise InputError(f"coords_3d must be whole numbers, not {coords.dtype}")


def _shorten(
    feats: Tensor, coords: Tensor, length: int, mode: Truncation, seed: int
) -> tuple[Tensor, Tensor]:
    num, block = len(feats), 2
    if mode == "pool":
        short, places = feats, coords
        while len(short) > length and block <= 2 * int(coords[:, 1:].max()) + 2:
            short, places = pool_cells(feats, coords, block)
            block *= 2
        return short[:length], places[:length]  # more samples than tokens cannot be pooled
    if mode == "head":
        return feats[:length], coords[:length]
    if mode == "even":
        rows = torch.arange(length) * num // length
    else:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(num, generator=generator)[:length].sort().values
    rows = rows.to(feats.device)
    return feats[rows], coords[rows.to(coords.device)]


def _pad(feats: Tensor, coords: Tensor, length: int, pad_value: float) -> Sequence3D:
    num = len(feats)
    padded = feats.new_full((length, feats.shape[1]), pad_value)
    padded[:num] = feats
    places = coords.new_zeros((length, 4))
    places[:num] = coords
    mask = torch.arange(length, device=feats.device) < num
    return Sequence3D(padded, mask, places)
