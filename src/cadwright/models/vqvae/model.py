"""SparseSDFVQVAE: a sparse SDF to integer codes with coordinates, and codes to an SDF or a mesh.

In: a SparseTensor of one channel, or the published dict. Out: ``Code``, SDFs, meshes. Codes are
computed in float32 on whatever device, since rounding changes them: other weights are refused.
Not covered: files (checkpoint), meshes to SDF (geometry.mesh_to_sdf), training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cadwright.errors import CheckpointError, InputError
from cadwright.geometry.sdf_to_mesh import samples_to_mesh
from cadwright.models.layers.sites import Sites, SparseTensor, make_sites
from cadwright.models.vqvae.config import VqVaeConfig
from cadwright.models.vqvae.decoder import Decoded, SparseSDFDecoder
from cadwright.models.vqvae.encoder import SparseSDFEncoder
from cadwright.models.vqvae.inputs import dict_to_batch
from cadwright.models.vqvae.quantizer import Quantized, SparseVectorQuantizer
from cadwright.types import Mesh


class Code(NamedTuple):
    """A batch of shapes as codes, rows in ascending order of (batch, x, y, z).

    Attributes:
        feats: (N, D) float32 codebook vectors, ``vae.vq.embeddings.weight[indices]``.
        coords: (N, 4) int64 batch, x, y, z on the latent grid.
        indices: (N,) int64 rows of the codebook.
    """

    feats: Tensor
    coords: Tensor
    indices: Tensor


class Reconstructed(NamedTuple):
    """What a training step reads.

    Attributes:
        decoded: SDF on voxels, and the loss of the pruning.
        quantized: vectors, indices and losses; None where the quantizer was left out.
    """

    decoded: Decoded
    quantized: Quantized | None


Input = SparseTensor | Mapping[str, Any]


class SparseSDFVQVAE(nn.Module):
    """The sparse-SDF VQ-VAE.

    Args:
        config: its shape.
    """

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SparseSDFEncoder(config)
        self.decoder = SparseSDFDecoder(config)
        self.vq = SparseVectorQuantizer(config)

    @property
    def device(self) -> torch.device:
        """Where the codebook is."""
        return self.vq.embeddings.weight.device

    @torch.no_grad()
    def Encode(self, batch: Input) -> Code:  # noqa: N802 - the published name
        """Shapes to codes.

        Args:
            batch: (N, 1) SDF on voxels of R = ``config.voxel_resolution``, or a dict of
                ``sparse_sdf``, ``sparse_index``, ``batch_idx`` and optionally ``factor``.
        Returns:
            Codes of the occupied latent cells; the same whatever the order of the rows, and the
            same for a sample alone and in a batch but for ties broken by rounding.
        Raises:
            InputError: an empty band, or coordinates or values out of range.
            CheckpointError: the weights are not float32.
        """
        x, factor = self.to_tensor(batch)
        with torch.autocast(self.device.type, enabled=False):
            latents, h = self.encoder.means(x, factor)
            indices = self.vq.nearest(latents)
        return Code(self.vq.embeddings.weight[indices].detach(), h.coords, indices)

    @torch.no_grad()
    def Decode(  # noqa: N802 - the published name
        self, code: Code | Tensor, coords: Tensor | None = None, *, factor: float = 1.0
    ) -> SparseTensor:
        """Codes to SDF.

        Args:
            code: what ``Encode`` gave, or (N,) integer indices with their coordinates.
            coords: (N, 4) batch, x, y, z, in any order; only with indices.
            factor: the one given to ``Encode``.
        Returns:
            (M, 1) values in (-1, 1) on voxels, on the grid of ``config.voxel_resolution``.
        Raises:
            InputError: indices are no whole numbers or out of range, or coordinates are.
            CheckpointError: the weights are not float32.
        """
        indices, coords = (code.indices, code.coords) if isinstance(code, Code) else (code, coords)
        if coords is None or coords.shape[:1] != indices.shape[:1]:
            raise InputError("codes are decoded with one coordinate each")
        self._check_indices(indices)
        self._check_float32()
        coords = coords.to(self.device)
        sites, order = make_sites(coords, resolution=self.config.resolution)
        feats = self.vq.embeddings.weight[indices.to(self.device).reshape(-1)[order]]
        with torch.autocast(self.device.type, enabled=False):
            return self.decoder(SparseTensor(feats, sites), factor).sdf

    def decode_mesh(
        self, code: Code | Tensor, coords: Tensor | None = None, *, level: float | None = None
    ) -> list[Mesh]:
        """Codes to one mesh per sample.

        Args:
            code: as for ``Decode``.
            coords: as for ``Decode``.
            level: value of the surface, ``config.level`` by default.
        Returns:
            Meshes in the GRID units of ``geometry.mesh_to_sdf``; its ``placement.inverse()``
            leads back to the user's frame.
        Raises:
            InputError: as for ``Decode``.
            GeometryError: a sample's SDF has no surface.
        """
        return sdf_to_meshes(
            self.Decode(code, coords), level=self.config.level if level is None else level
        )

    def forward(
        self, x: SparseTensor, *, quantize: bool = True, truth: Sites | None = None
    ) -> Reconstructed:
        """Encode, quantize and decode, for training.

        Args:
            x: (N, 1) SDF on voxels.
            quantize: False hands the latents on as they are.
            truth: voxels that the pruning must keep; without them it decides by itself.
        """
        latents, h = self.encoder.means(x)
        quantized = self.vq(latents) if quantize else None
        feats = latents if quantized is None else quantized.feats
        return Reconstructed(self.decoder(h.replace(feats), truth=truth), quantized)

    def to_tensor(self, batch: Input) -> tuple[SparseTensor, float]:
        """A batch on this model's device and grid, and its factor; see ``Encode`` for errors."""
        self._check_float32()
        side = self.config.voxel_resolution
        if not isinstance(batch, SparseTensor):
            return dict_to_batch(batch, resolution=side, device=self.device)
        if batch.sites.resolution != side:
            raise InputError(
                f"the sparse SDF has resolution {batch.sites.resolution}, the VAE {side}"
            )
        if batch.feats.device == self.device:
            return batch, 1.0
        coords = batch.coords.to(self.device)
        sites, order = make_sites(coords, resolution=side, batch_size=batch.sites.batch_size)
        return SparseTensor(batch.feats.to(self.device)[order], sites), 1.0

    def _check_float32(self) -> None:
        weight = self.vq.embeddings.weight
        wrong = {str(p.dtype) for p in self.parameters() if p.dtype != torch.float32}
        if wrong or weight.dtype != torch.float32:
            raise CheckpointError(
                f"the VAE's weights are {min(wrong)}, but codes are only right in float32: "
                "convert the language model alone"
            )

    def _check_indices(self, indices: Tensor) -> None:
        if indices.is_floating_point():
            raise InputError(f"code indices must be whole numbers, not {indices.dtype}")
        if not indices.numel():
            raise InputError("there are no codes to decode")
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= self.config.num_embeddings:
            raise InputError(
                f"code indices reach from {low} to {high}, the codebook has "
                f"{self.config.num_embeddings} rows"
            )


def sdf_to_meshes(sdf: SparseTensor, *, level: float) -> list[Mesh]:
    """Decoded SDFs (what ``Decode`` gives; published: ``sparse2mesh``) to one mesh per sample.

    Args:
        sdf: (N, 1).
        level: value of the surface.
    Returns:
        Meshes in GRID units, in the order of the batch.
    Raises:
        GeometryError: a sample has no surface at that level.
    """
    meshes = []
    for number in range(sdf.sites.batch_size):
        rows = sdf.sites.batch == number
        values = sdf.feats[rows, 0].detach().float().cpu().numpy()
        index = sdf.coords[rows, 1:].cpu().numpy()
        meshes.append(samples_to_mesh(values, index, resolution=sdf.sites.resolution, level=level))
    return meshes
