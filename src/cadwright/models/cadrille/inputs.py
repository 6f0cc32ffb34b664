"""What goes into one call of Cadrille, checked: token ids, rows with points, rows with a picture.

In: the tensors of ``Cadrille.forward`` under their published names. Out: where the points go,
and the patches and grids of the pictures that are there. Not covered: embedding them.
Shape suffixes: B batch, T tokens of this call, P points, N patches, R rows with a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cadwright.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The pictures of a batch.

    Attributes:
        patches: (all patches of all pictures, values of a patch), row by row.
        grids_B3: (B, 3) frames, rows and columns of patches; zeros in rows without a picture.
    """

    patches: Tensor
    grids_B3: Tensor

    @property
    def grids_R3(self) -> Tensor:
        """(R, 3), the grids of the rows that have a picture."""
        return self.grids_B3[self.grids_B3.prod(dim=-1) > 0]


def find_pictures(
    is_img: Tensor | None, patches_BN: Tensor | None, grids_B3: Tensor | None, *, config: Any
) -> Pictures | None:
    """Pick the patches that belong to a picture out of the padded ones; None if there are none.

    Raises:
        InputError: patches or grids are missing, or not of the shape the model reads.
    """
    if grids_B3 is None or patches_BN is None:
        if is_img is not None and bool(is_img.any()):
            raise InputError(
                "is_img marks rows with a picture, but pixel_values_videos or video_grid_thw is "
                "missing"
            )
        return None
    grids_B3 = mask_grids(grids_B3, is_img)
    counts_B = grids_B3.prod(dim=-1)
    most = int(counts_B.max()) if len(counts_B) else 0
    if most == 0:
        return None
    vision = config.vision_config
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    shape = tuple(patches_BN.shape)
    if len(shape) != 3 or shape[::2] != (len(counts_B), width) or shape[1] < most:
        raise InputError(
            f"pixel_values_videos must be ({len(counts_B)}, {most} or more patches, {width}), but "
            f"is {shape}; patches for another checkpoint do not fit"
        )
    used_BN = torch.arange(shape[1], device=patches_BN.device) < counts_B.unsqueeze(-1)
    return Pictures(patches_BN[used_BN], grids_B3)


def mask_grids(grids_B3: Tensor, is_img: Tensor | None) -> Tensor:
    """(B, 3) grids, zeros in rows that ``is_img`` says have no picture."""
    return grids_B3 if is_img is None else grids_B3 * (is_img != 0).to(grids_B3).unsqueeze(-1)


def check_ids(input_ids: Tensor, grids_B3: Tensor | None, *, config: Any) -> None:
    """Refuse ids that the model does not know, and picture tokens that do not fit the grids.

    Raises:
        InputError: naming the id, or the rows.
    """
    size, largest = config.text_config.vocab_size, int(input_ids.max())
    if largest >= size:
        raise InputError(
            f"the batch holds token id {largest}, but the model has {size} tokens: it was made "
            "with the processor of another checkpoint"
        )
    counts_B = (input_ids == config.video_token_id).sum(dim=1)
    wanted_B = torch.zeros_like(counts_B)
    if grids_B3 is not None:
        wanted_B = grids_B3.prod(dim=-1).to(counts_B) // config.vision_config.spatial_merge_size**2
    if (counts_B != wanted_B).any():
        raise InputError(
            f"the pictures of the sequences need {wanted_B.tolist()} picture tokens (id "
            f"{config.video_token_id}), but there are {counts_B.tolist()}"
        )


def check_length(num_tokens: int, *, config: Any) -> None:
    """Refuse a text longer than the model's context."""
    limit = config.text_config.max_position_embeddings
    if num_tokens > limit:
        raise InputError(f"the text has {num_tokens} tokens, but the model's context is {limit}")


def mark_points(
    mask: Any, num_tokens: int, point_clouds: Tensor | None, is_pc: Tensor | None
) -> Tensor | None:
    """Where points go: the first P positions that are not padding, in rows that have points.

    Args:
        mask: (B, T) attention mask, 0 at padding; None for no padding.
        num_tokens: T.
        point_clouds: (B, P, 3) or None.
        is_pc: (B,) which rows have points; None for all.

    Returns:
        (B, T) bool, or None without points.

    Raises:
        InputError: rows are marked but there are no points, or too few rows of them.
    """
    if point_clouds is None:
        if is_pc is not None and bool(is_pc.any()):
            raise InputError("is_pc marks rows with points, but point_clouds is missing")
        return None
    num_rows, num_points = point_clouds.shape[:2]
    columns = torch.arange(num_tokens, device=point_clouds.device).expand(num_rows, -1)
    marked = columns < num_points
    if mask is not None:
        if mask.ndim != 2 or mask.shape != columns.shape:
            raise InputError(
                f"points for {num_rows} sequences of {num_tokens} tokens need a mask of that "
                f"shape, or a point_mask, not a mask {tuple(mask.shape)}"
            )
        valid = mask != 0
        first = valid.int().argmax(dim=1, keepdim=True)
        marked = valid & (columns >= first) & (columns < first + num_points)
    return marked if is_pc is None else marked & (is_pc != 0).unsqueeze(-1)
