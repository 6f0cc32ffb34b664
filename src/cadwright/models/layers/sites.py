"""Sites: which cells of a batch of grids are occupied, and who neighbours whom.

In: (N, 4) whole coordinates, batch first. Out: sorted sites, neighbour tables, parents and
children. Everything derived is kept in the object itself, so that two levels of a network can
never share a table by accident. Tensor plus sites is a ``SparseTensor``.
Shape suffixes: N sites, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from cadwright.errors import InputError

# Grids of fewer cells than this are looked up in a dense table; larger ones in sorted keys.
LARGEST_TABLE = 1 << 25
NUM_OFFSETS = 27
# The published order of a kernel's 27 cells: t = (dx + 1) + 3 (dy + 1) + 9 (dz + 1).
OFFSETS = tuple((t % 3 - 1, t // 3 % 3 - 1, t // 9 - 1) for t in range(NUM_OFFSETS))
# Children of a cell in the published order: x slowest, z fastest.
CHILDREN = tuple((c >> 2, c >> 1 & 1, c & 1) for c in range(8))

T = TypeVar("T")


class Sites:
    """Occupied cells; rows of one sample stand together. Immutable, tables made at first use.

    Args:
        coords: (N, 4) int64 batch, x, y, z; no cell twice. ``make_sites`` checks and sorts.
        resolution: R, cells along each side; x, y, z lie in 0 .. R - 1.
        batch_size: B; samples 0 .. B - 1, of which some may be empty.
    """

    def __init__(self, coords: Tensor, resolution: int, batch_size: int) -> None:
        self.coords, self.resolution, self.batch_size = coords, resolution, batch_size
        self._made: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.coords)

    def once(self, name: Any, make: Callable[[], T]) -> T:
        """What ``make`` gave when ``name`` was first asked for on these sites."""
        if name not in self._made:
            self._made[name] = make()
        value: T = self._made[name]
        return value

    @property
    def batch(self) -> Tensor:
        """(N,) int64 sample of each site."""
        return self.coords[:, 0]

    @property
    def counts(self) -> Tensor:
        """(B,) int64 sites of each sample."""
        return self.once("counts", lambda: torch.bincount(self.batch, minlength=self.batch_size))

    @property
    def keys(self) -> Tensor:
        """(N,) int64 place in the padded grid, ((b (R+2) + x+1) (R+2) + y+1) (R+2) + z+1."""
        return self.once("keys", lambda: _keys(self.coords, self.resolution))

    @property
    def neighbours(self) -> Tensor:
        """(N, 27) int32 row of the site at each offset, N where there is none."""
        return self.once("neighbours", lambda: _neighbours(self))

    @property
    def parents(self) -> tuple[Sites, Tensor]:
        """Sites of the grid of half the resolution, sorted, and (N,) the parent of each site."""
        return self.once("parents", lambda: _parents(self))

    def children(self) -> Sites:
        """(8N) sites of the grid of twice the resolution: row 8 i + c is child c of site i."""
        steps = self.coords.new_tensor([(0, *child) for child in CHILDREN])
        doubled = self.coords * self.coords.new_tensor([1, 2, 2, 2])
        coords = (doubled[:, None] + steps).reshape(-1, 4)
        return Sites(coords, 2 * self.resolution, self.batch_size)

    def select(self, rows: Tensor) -> Sites:
        """The sites of a mask or of ascending rows."""
        return Sites(self.coords[rows], self.resolution, self.batch_size)

    def find(self, coords: Tensor) -> Tensor:
        """(M,) row of each (M, 4) cell, which must lie in the grid; N where it is no site."""
        return _look_up(self, _keys(coords, self.resolution)).long()


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """A row of numbers for each site.

    Attributes:
        feats: (N, C).
        sites: the N sites.
    """

    feats: Tensor
    sites: Sites

    @property
    def coords(self) -> Tensor:
        """(N, 4) int64 batch, x, y, z."""
        return self.sites.coords

    def replace(self, feats: Tensor) -> SparseTensor:
        """Other numbers on the same sites, whose tables are shared."""
        return SparseTensor(feats, self.sites)


def make_sites(
    coords: Tensor, *, resolution: int, batch_size: int | None = None
) -> tuple[Sites, Tensor]:
    """Check coordinates and put them in ascending order.

    Args:
        coords: (N, 4) whole numbers, batch first, in any order.
        resolution: R.
        batch_size: by default one more than the largest batch index.
    Returns:
        The sites, and (N,) the row of ``coords`` each came from.
    Raises:
        InputError: no row, a coordinate out of range, or a cell twice.
    """
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.is_floating_point():
        raise InputError(
            f"sparse coordinates must be (N, 4) whole numbers, not {tuple(coords.shape)} "
            f"{coords.dtype}"
        )
    if not len(coords):
        raise InputError("the sparse tensor is empty: it has no coordinates")
    coords = coords.long()
    low, high = int(coords[:, 1:].min()), int(coords[:, 1:].max())
    if low < 0 or high >= resolution:
        raise InputError(f"coordinates reach from {low} to {high}, outside 0 to {resolution - 1}")
    last = int(coords[:, 0].max())
    size = last + 1 if batch_size is None else batch_size
    if int(coords[:, 0].min()) < 0 or last >= size:
        raise InputError(f"batch indices must lie in 0 to {size - 1}")
    keys, order = _keys(coords, resolution).sort()
    if (keys[1:] == keys[:-1]).any():
        raise InputError("a cell stands twice in the coordinates of one sample")
    return Sites(coords[order], resolution, size), order


def _keys(coords: Tensor, resolution: int) -> Tensor:
    side = resolution + 2
    b, x, y, z = coords.unbind(1)
    return ((b * side + x + 1) * side + y + 1) * side + z + 1


def _offset_keys(resolution: int, device: torch.device) -> Tensor:
    """(27,) what to add to a key to come to each neighbour; the rim makes range checks needless."""
    side = resolution + 2
    return torch.tensor([(dx * side + dy) * side + dz for dx, dy, dz in OFFSETS], device=device)


def _neighbours(sites: Sites) -> Tensor:
    """Half of the offsets are looked up; the other half is the same relation read backwards."""
    num, device = len(sites), sites.coords.device
    table = torch.full((NUM_OFFSETS, num + 1), num, dtype=torch.int32, device=device)
    rows = torch.arange(num, dtype=torch.int32, device=device)
    table[NUM_OFFSETS // 2, :num] = rows
    steps = _offset_keys(sites.resolution, device)
    for t in range(NUM_OFFSETS // 2):
        found = _look_up(sites, sites.keys + steps[t])
        table[t, :num] = found
        # Whoever is found has this row at the opposite offset; misses write past the end.
        table[NUM_OFFSETS - 1 - t].index_copy_(0, found.long(), rows)
        table[NUM_OFFSETS - 1 - t, num] = num
    return table[:, :num].t().contiguous()


def _look_up(sites: Sites, keys: Tensor) -> Tensor:
    """(M,) int32 row of each key, N where there is none."""
    side = sites.resolution + 2
    volume = sites.batch_size * side**3
    if volume <= LARGEST_TABLE:
        table = sites.once("table", lambda: _dense_table(sites, volume))
        return table.index_select(0, keys)
    ordered, order = sites.once("sorted", lambda: sites.keys.sort())
    place = torch.searchsorted(ordered, keys).clamp_(max=len(sites) - 1)
    hit = ordered[place] == keys
    return torch.where(hit, order[place], len(sites)).int()


def _dense_table(sites: Sites, volume: int) -> Tensor:
    table = torch.full((volume,), len(sites), dtype=torch.int32, device=sites.coords.device)
    table[sites.keys] = torch.arange(len(sites), dtype=torch.int32, device=table.device)
    return table


def _parents(sites: Sites) -> tuple[Sites, Tensor]:
    halved = sites.coords.clone()
    halved[:, 1:] //= 2
    resolution = -(-sites.resolution // 2)
    unique, parent = _keys(halved, resolution).unique(sorted=True, return_inverse=True)
    coords = torch.zeros((len(unique), 4), dtype=torch.int64, device=halved.device)
    coords[parent] = halved  # all children of a parent write the same row
    return Sites(coords, resolution, sites.batch_size), parent
