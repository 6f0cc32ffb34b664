"""Cells to places along a space-filling curve: Z-order (Morton) and Hilbert codes.

In: (N, 3) coordinates that are not negative. Out: (N,) int64 codes; cells near each other along
the curve are near each other in space. Hilbert after Skilling (2004), all cells at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cadwright.errors import InputError

ORDERS = ("z", "z-trans", "hilbert", "hilbert-trans")
MAX_BITS = 20  # three of them fill 60 bits of a code


def coords_to_code(coords: Tensor, order: str) -> Tensor:
    """Place of each cell along a curve.

    Args:
        coords: (N, 3) int64 x, y, z, each from 0 to 2^20 - 1.
        order: 'z', 'hilbert', or either with '-trans', which exchanges x and y first.
    Returns:
        (N,) int64, different for different cells.
    Raises:
        InputError: an unknown order, or a coordinate out of range.
    """
    if order not in ORDERS:
        raise InputError(f"the order of cells must be one of {ORDERS}, not '{order}'")
    if len(coords) and (int(coords.min()) < 0 or int(coords.max()) >> MAX_BITS):
        raise InputError(f"coordinates on a curve must lie in 0 to {(1 << MAX_BITS) - 1}")
    x, y, z = coords.unbind(1)
    axes = [y, x, z] if order.endswith("-trans") else [x, y, z]
    bits = max(1, int(coords.max()).bit_length()) if len(coords) else 1
    if order.startswith("hilbert"):
        axes = _to_hilbert(axes, bits)
    return _interleave(axes, bits)


def _interleave(axes: list[Tensor], bits: int) -> Tensor:
    """Bits of three numbers in turn, those of the first one highest."""
    code = torch.zeros_like(axes[0])
    for bit in range(bits):
        for place, axis in enumerate(reversed(axes)):
            code |= (axis >> bit & 1) << (3 * bit + place)
    return code


def _to_hilbert(axes: list[Tensor], bits: int) -> list[Tensor]:
    """Coordinates to the three numbers whose interleaved bits are the Hilbert index."""
    axes = [axis.clone() for axis in axes]
    for bit in reversed(range(1, bits)):
        low = (1 << bit) - 1
        for k in range(3):
            # Where this bit is set the low bits of the first axis turn over, else they are
            # exchanged with those of axis k.
            is_set = (axes[k] >> bit & 1).bool()
            swap = torch.where(is_set, 0, (axes[0] ^ axes[k]) & low)
            axes[0] = torch.where(is_set, axes[0] ^ low, axes[0] ^ swap)
            axes[k] = axes[k] ^ swap if k else axes[0]
    for k in (1, 2):
        axes[k] = axes[k] ^ axes[k - 1]
    turn = torch.zeros_like(axes[0])
    for bit in reversed(range(1, bits)):
        turn = torch.where((axes[2] >> bit & 1).bool(), turn ^ ((1 << bit) - 1), turn)
    return [axis ^ turn for axis in axes]
