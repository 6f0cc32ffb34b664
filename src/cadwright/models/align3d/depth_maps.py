"""Depth maps: what the frozen decoder makes of codes, looked at along each axis.

In: codebook vectors with cells, and their VAE. Out: for each of the three axes a picture of
``CHANNELS`` numbers a pixel, as rows of small patches, so that empty ones take no room. They
depend on the codes alone. ``euler`` channels spread the Euler number of the decoded shape over its
picture, so that whoever sums them up can count holes.
Shape suffixes: B batch, R samples along the grid, C channels, N patches, P patches along a picture.
"""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from cadwright.errors import InputError
from cadwright.models.layers.sites import SparseTensor, make_sites

CHANNELS = ("least", "near", "far", "inside", "runs", "gap", "euler-", "euler", "euler+")
"""Along a ray: the smallest SDF; samples before and after the shape; samples inside; pieces; the
largest SDF between its ends; and the Euler number's share, with the surface at ``LEVELS``."""
LEVELS = (-0.4, 0.0, 0.4)  # of the SDF in bands; a gap that closes at another level is no hole
FIRST_EULER = CHANNELS.index("euler-")
EULER_STEP = 8.0  # an Euler number of 1 in units of its channels
MIDDLE = 128.0  # what these channels call 0
EMPTY = (255.0, 255.0, 255.0, 0.0, 0.0, 0.0, MIDDLE, MIDDLE, MIDDLE)
"""A pixel that no part of the shape is behind."""
MOST_RUNS = 8
PATCH = 4  # pixels a side
DEPTH = len(CHANNELS) * PATCH * PATCH
"""Numbers of a row."""
SMALLEST = 20  # samples of a piece that is no speck, and at least this share of the largest
SPECK = 0.01
Symmetry = tuple[tuple[int, ...], tuple[bool, ...]]
"""Axes in their new order, then whether each is flipped."""
SYMMETRIES: tuple[Symmetry, ...] = tuple(
    (axes, flips)
    for axes, flips in product(permutations(range(3)), product((False, True), repeat=3))
)
"""All 48 of a cube, mirrored ones too, the identity first: kinds and counts stay the same."""


def _euler_shares() -> NDArray[np.int64]:
    """(256,) what a window of 2x2x2 samples adds to corners - edges + faces - cubes, in eighths."""
    cube = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool).reshape(256, 2, 2, 2)
    shares = np.zeros(256)
    for axes in product((False, True), repeat=3):  # along which a cell about the middle reaches
        joined = tuple(axis + 1 for axis, reaches in enumerate(axes) if not reaches)
        hit = cube.any(axis=joined) if joined else cube
        shares += (-0.5) ** sum(axes) * hit.reshape(256, -1).sum(axis=1)
    return np.round(EULER_STEP * shares).astype(np.int64)


EULER = _euler_shares()


@torch.no_grad()
def draw_depth_maps(
    vae: Any, feats: Tensor, coords: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Depth maps of what the decoder makes of codes.

    Args:
        vae: whose codebook the vectors are of; not changed.
        feats: (M, D) codebook vectors of all samples, in any order.
        coords: (M, 4) their cells, batch first.
        batch_size: B.
    Returns:
        (N, ``DEPTH``) whole numbers 0 .. 255 as float32, and (N, 4) int64 where the patches are:
        sample, axis that is looked along, and place in that picture.
    Raises:
        InputError: cells outside of the grid, or twice.
    """
    config = vae.config
    sites, order = make_sites(coords, resolution=config.resolution, batch_size=batch_size)
    with torch.autocast(coords.device.type, enabled=False):
        sdf = vae.decoder(SparseTensor(feats[order].float(), sites)).sdf
    values, places = sdf.feats[:, 0].cpu().numpy(), sdf.coords.cpu().numpy()
    cells = sites.coords.cpu().numpy()
    rows, where = [], []
    for number in range(batch_size):
        own, drawn = cells[:, 0] == number, places[:, 0] == number
        if own.any():
            grid = _to_grid(values[drawn], places[drawn, 1:], cells[own, 1:], config)
            made, at = maps_to_rows(grid_to_maps(grid))
            rows.append(made)
            where.append(np.insert(at, 0, number, axis=1))
    if not rows:
        return feats.new_zeros((0, DEPTH)), coords.new_zeros((0, 4))
    found = torch.from_numpy(np.concatenate(rows)).to(feats.device, torch.float32)
    return found, torch.from_numpy(np.concatenate(where)).to(coords.device)


def _to_grid(
    values: NDArray[Any], places: NDArray[Any], cells: NDArray[Any], config: Any
) -> NDArray[np.float32]:
    """(R, R, R) SDF; between the cells 1 or -1, the side that the samples next to it are on.

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


def grid_to_maps(grid: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(3, C, R, R) pictures along each axis; their own axes are the other two, in order.

    Args:
        grid: (R, R, R) SDF in bands, negative inside.
    """
    inside = _without_specks(grid < 0)
    levels = [inside if level == 0 else grid < level for level in LEVELS]
    windows = [euler_shares(level) for level in levels]
    maps = []
    for axis in range(3):
        shares = [MIDDLE + window.sum(axis=axis) for window in windows]
        along = _look(np.moveaxis(inside, axis, 0), np.moveaxis(grid, axis, 0))
        maps.append(np.stack([*along, *shares]))
    made: NDArray[np.uint8] = np.stack(maps).clip(0, 255).round().astype(np.uint8)
    return made


def _look(inside: NDArray[np.bool_], grid: NDArray[np.float32]) -> list[NDArray[Any]]:
    """Channels of one picture but for the Euler shares; both are looked at along the first axis."""
    size = len(inside)
    is_hit = inside.any(axis=0)
    near = np.where(is_hit, inside.argmax(axis=0), size)
    far = np.where(is_hit, inside[::-1].argmax(axis=0), size)
    runs = (inside[1:] & ~inside[:-1]).sum(axis=0) + inside[0]
    step = np.arange(size)[:, None, None]
    between = (step > near) & (step < size - 1 - far)
    gap = np.where(between, grid, -1.0).max(axis=0)
    return [
        127.5 * (grid.min(axis=0).clip(-1, 1) + 1), 255 / size * near, 255 / size * far,
        255 / size * inside.sum(axis=0), 255 / MOST_RUNS * runs, 127.5 * (gap.clip(-1, 1) + 1),
    ]  # fmt: skip


def euler_shares(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(R, R, R) eighths; their sum is 8 times corners - edges + faces - cubes of closed unit cubes.

    Args:
        inside: (R, R, R), nothing at the low ends.
    """
    shares: NDArray[np.int64] = EULER[_windows(inside)]
    return shares


def _windows(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(R, R, R) which corners of the window that begins at a sample are inside, as bits."""
    bits: NDArray[Any] = np.zeros((len(inside) + 1,) * 3, dtype=np.uint8)
    bits[:-1, :-1, :-1] = inside
    bits = bits[..., :-1] | bits[..., 1:] << 1
    bits = bits[:, :-1] | bits[:, 1:] << 2
    joined: NDArray[np.uint8] = bits[:-1] | bits[1:] << 4
    return joined


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


def maps_to_rows(maps: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, ``DEPTH``) patches that are not empty, and (N, 3) their axes and places."""
    num, size = maps.shape[1], maps.shape[2] // PATCH
    patches = maps.reshape(3, num, size, PATCH, size, PATCH).transpose(0, 2, 4, 1, 3, 5)
    nothing = np.array(EMPTY, dtype=np.uint8)[:, None, None]
    is_full = (patches != nothing).any(axis=(3, 4, 5))
    return patches[is_full].reshape(-1, num * PATCH * PATCH), np.argwhere(is_full)


def rows_to_maps(rows: Tensor, coords: Tensor, batch_size: int, size: int) -> Tensor:
    """(B, 3, C, R, R) pictures; a patch that is not there is empty.

    Args:
        rows: (N, ``DEPTH``).
        coords: (N, 4).
        batch_size: B.
        size: R.
    Raises:
        InputError: places outside of the pictures.
    """
    across = size // PATCH
    ends = coords.new_tensor([batch_size, 3, across, across])
    if bool(((coords < 0) | (coords >= ends)).any()):
        raise InputError(f"the patches must lie in 3 pictures of {across} x {across}")
    patch = rows.new_tensor(EMPTY)[:, None, None].expand(-1, PATCH, PATCH)
    patches = patch.expand(batch_size, 3, across, across, *patch.shape).clone()
    patches[tuple(coords.T)] = rows.view(-1, *patch.shape)
    return patches.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch_size, 3, len(CHANNELS), size, size)


def turn_rows(rows: Tensor, coords: Tensor, symmetry: int, *, size: int) -> tuple[Tensor, Tensor]:
    """What would be seen of the same part in another position.

    Args:
        rows: (N, ``DEPTH``).
        coords: (N, 4).
        symmetry: number in ``SYMMETRIES``.
        size: R.
    """
    axes, flips = SYMMETRIES[symmetry]
    patches = rows.view(-1, len(CHANNELS), PATCH, PATCH)
    made, where = [], []
    for axis in range(3):
        own = coords[:, 1] == axes[axis]
        others = [k for k in range(3) if k != axis]
        picture, places = patches[own], coords[own].clone()
        places[:, 1] = axis
        if axes[others[0]] > axes[others[1]]:
            picture, places = picture.transpose(2, 3), places[:, [0, 1, 3, 2]]
        for k, other in enumerate(others):
            if flips[other]:
                picture = picture.flip(2 + k)
                places[:, 2 + k] = size // PATCH - 1 - places[:, 2 + k]
        if flips[axis]:  # near and far change places
            picture = picture[:, [0, 2, 1, *range(3, len(CHANNELS))]]
        made.append(picture.reshape(-1, DEPTH))
        where.append(places)
    return torch.cat(made), torch.cat(where)
