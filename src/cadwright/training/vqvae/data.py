"""Parts of the generator as training samples of the VQ-VAE.

In: a seed and the number of a step. Out: input SDF, the whole field of truth, and the voxels a
surface needs. A batch is a pure function of seed and step, so a resumed run needs no state.
Not covered: SDF files of users' own parts (geometry.sdf_io).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cadwright.errors import InputError
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_sdf import SparseSdf, mesh_to_sdf
from cadwright.geometry.sdf_to_mesh import corners_of_crossed_cubes, sdf_to_dense
from cadwright.models.layers.sites import Sites, SparseTensor, make_sites
from cadwright.models.vqvae.config import VqVaeConfig
from cadwright.models.vqvae.inputs import sdfs_to_batch
from cadwright.synth.generate import draw_solid
from cadwright.types import Mesh

# Added to a run's seed for its held-out parts, as in the supervised training.
HELD_OUT_SEED_OFFSET = 1_000_003
TRIES = 100
POOL = 16  # batches that are kept at hand


@dataclass(frozen=True, eq=False)
class VqVaeBatch:
    """What a step reads.

    Attributes:
        x: (N, 1) SDF within the band.
        truth: (B, R, R, R) float32 SDF, 1 or -1 by sign beyond the band.
        surface: the voxels that marching cubes needs.
    """

    x: SparseTensor
    truth: Tensor
    surface: Sites

    def at(self, sites: Sites) -> Tensor:
        """(M, 1) truth at other voxels."""
        b, x, y, z = sites.coords.unbind(1)
        return self.truth[b, x, y, z][:, None]


def to_slab(batch: VqVaeBatch, config: VqVaeConfig, *, cells: int, seed: int) -> VqVaeBatch:
    """What a random slab of the latent grid holds of a batch; many small steps teach faster.

    Args:
        batch: whole parts, left as it is.
        config: of the model.
        cells: thickness, in latent cells.
        seed: of the axis and the place; a slab without surface is drawn again.
    """
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        axis, low = 1 + int(rng.integers(3)), int(rng.integers(config.resolution - cells + 1))
        rows = []
        for sites in (batch.x.sites, batch.surface):
            place = sites.coords[:, axis] >> config.num_levels
            rows.append((place >= low) & (place < low + cells))
        if bool(rows[0].any()) and bool(rows[1].any()):
            x = SparseTensor(batch.x.feats[rows[0]], batch.x.sites.select(rows[0]))
            return VqVaeBatch(x, batch.truth, batch.surface.select(rows[1]))
    return batch


def draw_part(seed: int, index: int) -> Mesh:
    """Solid number ``index`` of a stream, PROGRAM frame; the rare failed draw moves on by a prime.

    Raises:
        InputError: a hundred draws in turn failed.
    """
    for shift in range(TRIES):
        drawn = draw_solid(seed, index + 1_000_000_007 * shift)
        if drawn is not None:
            return manifold_to_mesh(drawn[1])
    raise InputError(f"the generator gives no solid for seed {seed}")


class PartStream:
    """Batches of the generator's solids by number of step.

    ``POOL`` parts are gone through ``reuse`` times before the next ones are drawn: a drawn part
    costs a third of a step.

    Args:
        config: the model's; resolution and band are read.
        seed: of the stream.
        batch_size: parts a step.
        reuse: how often a part is used.
        device: of the batches.
    """

    def __init__(
        self, config: VqVaeConfig, *, seed: int, batch_size: int, reuse: int,
        device: torch.device | str,
    ) -> None:  # fmt: skip
        self.config, self.seed, self.batch_size = config, seed, batch_size
        self.reuse, self.device = reuse, device
        self._made: dict[int, VqVaeBatch] = {}

    def __call__(self, step: int) -> VqVaeBatch:
        """The batch of a 0-based step."""
        round_, place = divmod(step, POOL * self.reuse)
        number = round_ * POOL + place % POOL
        if number not in self._made:
            self._made = {n: b for n, b in self._made.items() if n >= round_ * POOL}
            first = number * self.batch_size
            sdfs = [
                part_to_sdf(draw_part(self.seed, index), self.config)
                for index in range(first, first + self.batch_size)
            ]
            self._made[number] = sdfs_to_training_batch(sdfs, device=self.device)
        return self._made[number]


def part_to_sdf(mesh: Mesh, config: VqVaeConfig) -> SparseSdf:
    """A mesh of any frame as the model's input."""
    return mesh_to_sdf(
        mesh, resolution=config.voxel_resolution, threshold_factor=config.threshold_factor
    )


def sdfs_to_training_batch(sdfs: list[SparseSdf], *, device: torch.device | str) -> VqVaeBatch:
    """Input, truth and surface voxels of a few SDFs of one resolution."""
    dense = np.stack([sdf_to_dense(sdf) for sdf in sdfs])
    corners = np.stack([corners_of_crossed_cubes(field) for field in dense])
    coords = torch.from_numpy(np.argwhere(corners)).to(device)
    surface, _ = make_sites(coords, resolution=sdfs[0].resolution, batch_size=len(sdfs))
    return VqVaeBatch(
        sdfs_to_batch(sdfs, device=device), torch.from_numpy(dense).to(device), surface
    )
