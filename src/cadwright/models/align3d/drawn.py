"""What the frozen decoder draws in each latent cell: windows of its samples, counted, and normals.

In: codebook vectors with cells, and their VAE. Out: (N, ``DRAWN``) whole numbers a cell, which only
depend on the codes: of each 2x2x2 window of the decoded SDF which of the 22 sets of corners is
inside, at three levels, and how the surface stands. Their weighted sum over a shape (``EULER``) is
its Euler number: what a reader of codes would have to learn to count holes is there to be read.
Shape suffixes: N cells, B batch, S samples along the grid.
"""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cadwright.models.layers.sites import SparseTensor, make_sites

LEVELS = (-0.4, 0.0, 0.4)  # of the SDF in bands; a gap that closes at another level is no hole
SMALLEST = 20  # samples of a piece that is no speck, and at least this share of the largest
SPECK = 0.01
NEAR = 0.9  # of the band, within which a sample has a normal
NORMAL_SCALE = 100.0  # normals are stored as whole numbers
PAIRS = ((0, 1), (0, 2), (1, 2))
SYMMETRIES = tuple(
    (axes, flips) for axes, flips in product(permutations(range(3)), product((0, 1), repeat=3))
)
"""All 48 of a cube, mirrored ones too, the identity first: kinds and counts stay the same."""


def _window_classes() -> NDArray[np.int64]:
    """(256,) number of each set of corners of a cube, turned and mirrored ones the same."""
    corners = np.array(list(product((0, 1), repeat=3)))
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    places = [
        np.where(flips, 1 - corners[:, list(axes)], corners[:, list(axes)]) @ np.array([4, 2, 1])
        for axes, flips in SYMMETRIES
    ]
    smallest = np.min([(bits << place).sum(axis=1) for place in places], axis=0)
    found: NDArray[np.int64] = np.unique(smallest, return_inverse=True)[1].reshape(-1)
    return found


def _euler_shares(classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(classes,) what a window adds to corners - edges + faces - cubes of closed unit cubes."""
    cube = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool).reshape(256, 2, 2, 2)
    shares = np.zeros(256)
    for axes in product((False, True), repeat=3):  # along which a cell about the middle reaches
        joined = tuple(axis + 1 for axis, reaches in enumerate(axes) if not reaches)
        hit = cube.any(axis=joined) if joined else cube
        dimensions = sum(axes)
        shares += (-0.5) ** dimensions * hit.reshape(256, -1).sum(axis=1)
    table = np.zeros(int(classes.max()) + 1, dtype=np.float32)
    table[classes] = shares
    return table


CLASSES = _window_classes()
NUM_CLASSES = int(CLASSES.max()) + 1
EULER = _euler_shares(CLASSES)
COUNTED = len(LEVELS) * NUM_CLASSES
DRAWN = COUNTED + 3 + 3 + 3 + 1
"""Counts of each level; mean normal, its squares, its products; samples near the surface."""


@torch.no_grad()
def draw_cells(vae: Any, feats: Tensor, coords: Tensor, batch_size: int) -> Tensor:
    """What the decoder draws.

    Args:
        vae: whose codebook the vectors are of; not changed.
        feats: (N, D) codebook vectors of all samples, in any order.
        coords: (N, 4) their cells, batch first.
        batch_size: B.
    Returns:
        (N, ``DRAWN``) whole numbers in -127 .. 127, float32, in the order of the rows.
    Raises:
        InputError: cells outside of the grid, or twice.
    """
    config = vae.config
    sites, order = make_sites(coords, resolution=config.resolution, batch_size=batch_size)
    with torch.autocast(coords.device.type, enabled=False):
        sdf = vae.decoder(SparseTensor(feats[order].float(), sites)).sdf
    values, places = sdf.feats[:, 0].cpu().numpy(), sdf.coords.cpu().numpy()
    cells = sites.coords.cpu().numpy()
    side = config.voxel_resolution // config.resolution
    rows = np.zeros((len(cells), DRAWN), dtype=np.float32)
    for number in range(batch_size):
        own, drawn = cells[:, 0] == number, places[:, 0] == number
        if own.any():
            grid = _to_grid(values[drawn], places[drawn, 1:], cells[own, 1:], config)
            rows[own] = grid_to_rows(grid, cells[own, 1:], side)
    found = torch.empty((len(rows), DRAWN), device=feats.device)
    found[order] = torch.from_numpy(rows).to(feats.device)
    return found


def _to_grid(
    values: NDArray[Any], places: NDArray[Any], cells: NDArray[Any], config: Any
) -> NDArray[np.float32]:
    """(S, S, S) SDF; between the cells 1 or -1, the side that the samples next to it are on.

    No surface runs through cells that are not there, so those that touch are on one side.
    """
    size, side = config.voxel_resolution, config.voxel_resolution // config.resolution
    occupied = np.zeros((config.resolution,) * 3, dtype=bool)
    occupied[tuple(cells.T)] = True
    grid = np.zeros((size,) * 3, dtype=np.float32)
    grid[tuple(places.T)] = values
    parts, num = ndimage.label(~occupied)
    fine = parts.repeat(side, 0).repeat(side, 1).repeat(side, 2)
    votes = np.zeros(num + 1)
    for axis in range(3):
        ends = np.arange(side, size, side)
        for here, there in ((ends, ends - 1), (ends - 1, ends)):  # of cells, and next to them
            part, value = fine.take(here, axis), grid.take(there, axis)
            votes += np.bincount(part.ravel(), np.sign(value).ravel(), minlength=num + 1)
    far = fine > 0
    grid[far] = np.where(votes < 0, -1.0, 1.0)[fine[far]]
    return grid


def grid_to_rows(grid: NDArray[np.float32], cells: NDArray[Any], side: int) -> NDArray[np.float32]:
    """(N, ``DRAWN``) rows of cells.

    Args:
        grid: (S, S, S) SDF in bands, negative inside.
        cells: (N, 3).
        side: samples that a cell is wide.
    """
    num = len(cells)
    row = np.full((grid.shape[0] // side,) * 3, num)
    row[tuple(cells.T)] = np.arange(num)
    counted = [
        _count(_without_specks(grid < level) if level == 0 else grid < level, row, num)
        for level in LEVELS
    ]
    rows = np.concatenate([*counted, _normals(grid, row, num)], axis=1)
    clipped: NDArray[np.float32] = rows.clip(-127, 127).round()
    return clipped


def _without_specks(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pieces too small to be meant are left out; what the grid's corner cannot reach is filled."""
    pieces, num = ndimage.label(inside, np.ones((3, 3, 3)))
    if num > 1:
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        inside = (sizes >= max(SMALLEST, SPECK * sizes.max()))[pieces]
    empty, num = ndimage.label(~inside)
    filled: NDArray[np.bool_] = empty != empty[0, 0, 0] if num > 1 else inside
    return filled


def _count(inside: NDArray[np.bool_], row: NDArray[Any], num: int) -> NDArray[np.float32]:
    """(N, classes) mixed windows of each cell; one without a cell counts for one it reaches."""
    bits: NDArray[Any] = np.zeros((len(inside) + 1,) * 3, dtype=np.uint8)
    bits[:-1, :-1, :-1] = inside
    bits = bits[..., :-1] | bits[..., 1:] << 1
    bits = bits[:, :-1] | bits[:, 1:] << 2
    bits = bits[:-1] | bits[1:] << 4
    places = np.stack(np.nonzero((bits != 0) & (bits != 255)), axis=1)
    side, last = len(inside) // len(row), len(inside) - 1
    owner = row[tuple((places // side).T)]
    lost = np.flatnonzero(owner == num)
    for step in sorted(product((0, 1), repeat=3), key=sum)[1:]:
        reached = row[tuple((np.minimum(places[lost] + step, last) // side).T)]
        owner[lost] = np.where(owner[lost] == num, reached, owner[lost])
    keys = owner * NUM_CLASSES + CLASSES[bits[tuple(places.T)]]
    counts = np.bincount(keys, minlength=(num + 1) * NUM_CLASSES)[: num * NUM_CLASSES]
    return counts.reshape(num, NUM_CLASSES).astype(np.float32)


def _normals(grid: NDArray[np.float32], row: NDArray[Any], num: int) -> NDArray[np.float32]:
    """(N, 10) means of normals, of their squares and products, and how many there are."""
    inner = grid[1:-1, 1:-1, 1:-1]
    places = np.stack(np.nonzero(np.abs(inner) < NEAR), axis=1) + 1
    steps = np.eye(3, dtype=np.int64)
    normals = np.stack(
        [grid[tuple((places + s).T)] - grid[tuple((places - s).T)] for s in steps], axis=1
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-6
    products = np.stack([normals[:, i] * normals[:, j] for i, j in PAIRS], axis=1)
    owner = row[tuple((places // (len(grid) // len(row))).T)]
    near = np.bincount(owner, minlength=num + 1)[:num]
    sums = [
        np.bincount(owner, column, minlength=num + 1)[:num]
        for column in np.concatenate([normals, normals**2, products], axis=1).T
    ]
    means = NORMAL_SCALE * np.stack(sums, axis=1) / np.maximum(near, 1)[:, None]
    return np.concatenate([means, near[:, None]], axis=1).astype(np.float32)


def turn_drawn(
    rows: Tensor, coords: Tensor, symmetry: int, *, resolution: int
) -> tuple[Tensor, Tensor]:
    """What would be drawn of the same part in another position, and its cells.

    Args:
        rows: (N, ``DRAWN``).
        coords: (N, 4).
        symmetry: number in ``SYMMETRIES``.
        resolution: of the latent grid.
    """
    axes, flips = SYMMETRIES[symmetry]
    order, signs = list(axes), torch.tensor([-1.0 if flip else 1.0 for flip in flips])
    signs = signs.to(rows)
    cells = coords[:, 1:][:, order]
    flipped = torch.tensor([bool(flip) for flip in flips], device=cells.device)
    cells = torch.where(flipped, resolution - 1 - cells, cells)
    first = COUNTED
    normals, squares, products = (rows[:, first + k : first + k + 3] for k in (0, 3, 6))
    pairs = [tuple(sorted((axes[i], axes[j]))) for i, j in PAIRS]
    both = torch.stack([signs[i] * signs[j] for i, j in PAIRS])
    turned = torch.cat(
        [
            rows[:, :first], normals[:, order] * signs, squares[:, order],
            products[:, [PAIRS.index((i, j)) for i, j in pairs]] * both, rows[:, first + 9 :],
        ],
        dim=1,
    )  # fmt: skip
    return turned, torch.cat([coords[:, :1], cells], dim=1)
