"""What the VQ-VAE reads: sparse SDFs and published dicts to one SparseTensor.

In: ``SparseSdf`` objects, or a dict of ``sparse_sdf``, ``sparse_index``, ``batch_idx``. Out: a
SparseTensor of one channel, and the factor of the dict. Not covered: files (geometry.sdf_io).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cadwright.errors import InputError
from cadwright.geometry.mesh_to_sdf import SparseSdf
from cadwright.models.layers.sites import SparseTensor, make_sites


def sdfs_to_batch(sdfs: Sequence[SparseSdf], *, device: torch.device | str = "cpu") -> SparseTensor:
    """Sparse SDFs of one resolution as one batch, in their order.

    Args:
        sdfs: at least one.
        device: of the result.
    Returns:
        (N, 1) float32 SDF, GRID units of the sites.
    Raises:
        InputError: no SDF, or resolutions that differ.
    """
    if not sdfs:
        raise InputError("a batch needs at least one sparse SDF")
    sides = {sdf.resolution for sdf in sdfs}
    if len(sides) > 1:
        raise InputError(f"the sparse SDFs of a batch have different resolutions: {sorted(sides)}")
    index = np.concatenate([sdf.index for sdf in sdfs])
    batch = np.repeat(np.arange(len(sdfs)), [len(sdf.index) for sdf in sdfs])
    coords = torch.from_numpy(np.concatenate([batch[:, None], index], axis=1).astype(np.int64))
    values = torch.from_numpy(np.concatenate([sdf.values for sdf in sdfs]))
    return _ordered(values[:, None], coords.to(device), sides.pop(), len(sdfs))


def dict_to_batch(
    batch: Mapping[str, Any], *, resolution: int, device: torch.device | str = "cpu"
) -> tuple[SparseTensor, float]:
    """The published batch dict.

    Args:
        batch: ``sparse_sdf`` (N, 1) or (N,), ``sparse_index`` (N, 3), ``batch_idx`` (N,), and
            optionally ``factor``, by which positions are multiplied before they are encoded.
        resolution: R of the model.
        device: of the result.
    Returns:
        The tensor and the factor (1 where there is none).
    Raises:
        InputError: a key is missing, shapes do not fit, or values or coordinates are out of range.
    """
    missing = {"sparse_sdf", "sparse_index", "batch_idx"} - set(batch)
    if missing:
        raise InputError(f"the 3-D batch lacks '{min(missing)}'")
    values = torch.as_tensor(batch["sparse_sdf"]).float().reshape(-1, 1)
    index = torch.as_tensor(batch["sparse_index"])
    number = torch.as_tensor(batch["batch_idx"]).reshape(-1, 1)
    if index.ndim != 2 or index.shape[1] != 3 or not len(values) == len(index) == len(number):
        raise InputError(
            f"the 3-D batch's shapes do not fit: sparse_sdf {len(values)}, sparse_index "
            f"{tuple(index.shape)}, batch_idx {len(number)}"
        )
    coords = torch.cat([number.to(index), index], dim=1)
    factor = batch.get("factor")
    tensor = _ordered(values.to(device), coords.to(device), resolution, None)
    return tensor, 1.0 if factor is None else float(factor)


def _ordered(
    values: Tensor, coords: Tensor, resolution: int, batch_size: int | None
) -> SparseTensor:
    """Sites checked and in order, values checked and with them."""
    sites, order = make_sites(coords, resolution=resolution, batch_size=batch_size)
    if not bool((values.abs() <= 1.0).all()):  # NaN fails, too
        raise InputError("sparse SDF values must lie in [-1, 1]: divided by the band and clipped")
    return SparseTensor(values.to(coords.device)[order], sites)
