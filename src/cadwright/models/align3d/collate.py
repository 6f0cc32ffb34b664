"""Samples of either data form to a batch.

In: dicts with ``input_ids``, ``attention_mask``, ``labels`` and either ``feats_3d`` with
``coords_3d`` (form A) or ``inputs_3d`` (form B). Out: one dict of tensors. Form A carries
``mask_3d``, so that padding never becomes a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cadwright.errors import InputError
from cadwright.models.align3d.sequence import check_cells

IGNORE = -100
Item = Mapping[str, Any]


def collate_3d_text(
    batch: Sequence[Item], *, latent_dim: int | None = None, pad_id: int = 0
) -> dict[str, Any]:
    """Pad text on the right, and in form A the 3-D rows too.

    Args:
        batch: samples of one form.
        latent_dim: width that ``feats_3d`` must have; not checked if left out.
        pad_id: token id of text padding.
    Returns:
        ``input_ids``, ``attention_mask``, ``labels`` (B, L); and ``feats_3d`` (B, N, D),
        ``coords_3d`` (B, N, 4), ``mask_3d`` (B, N), or ``inputs_3d`` with ``batch_idx`` 0 .. B-1.
    Raises:
        InputError: an empty batch, mixed forms, shapes that do not fit, an empty shape, or a
            sample of which no answer is left.
    """
    if not batch:
        raise InputError("a batch needs at least one sample")
    made: dict[str, Any] = _collate_text(batch, pad_id)
    raw = [item.get("inputs_3d") is not None for item in batch]
    if all(raw):
        return made | {"inputs_3d": _collate_raw([item["inputs_3d"] for item in batch])}
    if any(raw):
        raise InputError("a batch holds either inputs_3d or feats_3d and coords_3d, not both")
    return made | _collate_cells(batch, latent_dim)


def _collate_text(batch: Sequence[Item], pad_id: int) -> dict[str, Tensor]:
    rows: dict[str, list[Tensor]] = {"input_ids": [], "attention_mask": [], "labels": []}
    for number, item in enumerate(batch):
        for name in rows:
            if name not in item:
                raise InputError(f"sample {number} of the batch lacks '{name}'")
        ids, mask, labels = (torch.as_tensor(item[name]).long() for name in rows)
        if not ids.shape == mask.shape == labels.shape or ids.ndim != 1:
            raise InputError(f"input_ids, attention_mask and labels of sample {number} differ")
        # By the mask and not by the pad id, which may be the token that ends an answer.
        labels = labels.masked_fill(mask == 0, IGNORE)
        if not (labels[1:] != IGNORE).any():
            raise InputError(f"sample {number} of the batch has no answer left to learn from")
        for name, value in zip(rows, (ids, mask, labels), strict=True):
            rows[name].append(value)
    fill = {"input_ids": pad_id, "attention_mask": 0, "labels": IGNORE}
    return {
        name: torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=fill[name])
        for name, values in rows.items()
    }


def _collate_cells(batch: Sequence[Item], latent_dim: int | None) -> dict[str, Tensor]:
    feats: list[Tensor] = []
    coords: list[Tensor] = []
    for number, item in enumerate(batch):
        if "feats_3d" not in item or "coords_3d" not in item:
            raise InputError(f"sample {number} of the batch lacks feats_3d or coords_3d")
        rows, cells = torch.as_tensor(item["feats_3d"]).float(), torch.as_tensor(item["coords_3d"])
        check_cells(rows, cells)
        if not len(rows):
            raise InputError(f"sample {number} of the batch has an empty shape")
        if latent_dim is not None and rows.shape[1] != latent_dim:
            raise InputError(
                f"feats_3d of sample {number} has width {rows.shape[1]}, latent_dim is {latent_dim}"
            )
        cells = cells.long().clone()
        cells[:, 0] = number
        feats.append(rows)
        coords.append(cells)
    counts = torch.tensor([len(rows) for rows in feats])
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "feats_3d": pad(feats, batch_first=True),
        "coords_3d": pad(coords, batch_first=True),
        "mask_3d": torch.arange(int(counts.max())) < counts[:, None],
    }


def _collate_raw(shapes: Sequence[Item]) -> dict[str, Any]:
    values, index, number = [], [], []
    factors = {shape.get("factor") for shape in shapes}
    if len(factors) > 1:
        raise InputError(
            f"the shapes of a batch have different factors: {sorted(map(str, factors))}"
        )
    for sample, shape in enumerate(shapes):
        missing = {"sparse_sdf", "sparse_index"} - set(shape)
        if missing:
            raise InputError(f"inputs_3d of sample {sample} lacks '{min(missing)}'")
        values.append(torch.as_tensor(shape["sparse_sdf"]).float().reshape(-1, 1))
        index.append(torch.as_tensor(shape["sparse_index"]))
        if not len(values[-1]):
            raise InputError(f"inputs_3d of sample {sample} is empty: its band holds no voxel")
        number.append(torch.full((len(values[-1]),), sample))
    made = {
        "sparse_sdf": torch.cat(values),
        "sparse_index": torch.cat(index),
        "batch_idx": torch.cat(number),
    }
    factor = factors.pop()
    return made if factor is None else made | {"factor": factor}
