"""The sparse-SDF VQ-VAE: a shape to codebook vectors with coordinates, and back.

The interface, all of it (the alignment builds on nothing else)::

    vae = load_vqvae(config_path, checkpoint_path)        # or embedded_vqvae()
    sdf = mesh_to_sdf(mesh, resolution=vae.config.voxel_resolution,
                      threshold_factor=vae.config.threshold_factor)
    batch = sdfs_to_batch([sdf, ...])          # a SparseTensor; or the published dict
    code = vae.Encode(batch)                   # batch: SparseTensor | {"sparse_sdf", ...}
    code.feats      # (N, C) float32 codebook vectors, C = vae.config.latent_dim
    code.coords     # (N, 4) int64 batch, x, y, z, ascending; x, y, z < vae.config.resolution
    code.indices    # (N,) int64 rows of vae.vq.embeddings.weight
    out = vae.Decode(code)                     # or Decode(indices, coords): a SparseTensor of SDF
    meshes = vae.decode_mesh(code)             # one mesh per sample, GRID units of mesh_to_sdf

Encode takes rows in any order and always answers in ascending order of (batch, x, y, z). It
refuses weights that are not float32, because rounding them changes codes. Importing this package
alone does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cadwright.models.vqvae.checkpoint import embedded_vqvae, load_vqvae
    from cadwright.models.vqvae.config import VqVaeConfig
    from cadwright.models.vqvae.inputs import sdfs_to_batch
    from cadwright.models.vqvae.model import Code, SparseSDFVQVAE

__all__ = [
    "Code",
    "SparseSDFVQVAE",
    "VqVaeConfig",
    "embedded_vqvae",
    "load_vqvae",
    "sdfs_to_batch",
]

_MODULES = {
    "Code": "model",
    "SparseSDFVQVAE": "model",
    "VqVaeConfig": "config",
    "embedded_vqvae": "checkpoint",
    "load_vqvae": "checkpoint",
    "sdfs_to_batch": "inputs",
}


def __getattr__(name: str) -> Any:
    """Import a name at first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
