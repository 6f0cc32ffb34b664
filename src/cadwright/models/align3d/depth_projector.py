"""DepthProjector3D: depth maps of a decoded shape to embeddings, patch by patch, and a summary.

In: rows of ``depth_maps`` of a batch with their places. Out: embeddings of patches of the three
pictures, and for each shape a few summary embeddings. One small convolutional network looks along
all three axes; what it sees is joined by means and maxima, as multi-view networks do (Su et al.,
2015, arXiv 1505.00880), and the Euler number is summed up beside it. Not in the published work,
whose projector reads one codebook vector at a time (``projector``).
Shape suffixes: B batch, R pixels along a picture, C channels, P patches along it, H width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import InputError
from cadwright.models.align3d.depth_maps import (
    CHANNELS,
    DEPTH,
    EULER_STEP,
    FIRST_EULER,
    LEVELS,
    MIDDLE,
    rows_to_maps,
)
from cadwright.models.align3d.hints import TOLD
from cadwright.models.align3d.projector import coords_to_sines

NUM_SUMMARY = 8
WIDTHS = (16, 32, 64, 96)  # channels, each on half the resolution of the one before
SHRINK = 2 ** len(WIDTHS)  # pixels a side that share a token
WIDE, DROPOUT = 256, 0.2
TYPICAL_SHARE = 2.0  # of a pixel in the Euler channels, eighths
LARGEST_EULER = 8  # beyond it, a decoded shape is noise
COUNTS = len(LEVELS) * (2 * LARGEST_EULER + 1)
"""Numbers that tell the Euler number at all levels, one for each that it can be."""


class Projected(NamedTuple):
    """A batch of shapes for a language model.

    Attributes:
        tokens: (M, H) patches of all pictures.
        coords: (M, 4) int64 theirs: sample, axis that is looked along, place.
        summary: (B, S, H).
        told: (B, 3, ``TOLD``) what is made out along each axis (``hints``), for a warm-up.
    """

    tokens: Tensor
    coords: Tensor
    summary: Tensor
    told: Tensor


class DepthProjector3D(nn.Module):
    """A convolutional network over the three pictures of a shape.

    Args:
        latent_dim: D, width of the codebook whose vectors are decoded before (``depth_maps``).
        hidden: H, width of the language model.
        size: R, samples along the VAE's grid.
    Raises:
        InputError: a size that makes none.
    """

    def __init__(self, latent_dim: int, hidden: int, *, size: int) -> None:
        super().__init__()
        if min(latent_dim, hidden) < 1 or size < SHRINK or size % SHRINK:
            raise InputError(f"depth maps need a grid of a multiple of {SHRINK}, not {size}")
        self.latent_dim, self.hidden, self.size = latent_dim, hidden, size
        first, last = WIDTHS[0], WIDTHS[-1]
        layers = _convolution(len(CHANNELS), first, kernel=5, stride=2)
        for a, b in zip(WIDTHS[:-1], WIDTHS[1:], strict=True):
            layers += [*_convolution(a, b), nn.MaxPool2d(2)]
        layers += _convolution(last, last)
        see: Any = nn.Sequential(*layers)
        self.see: nn.Module = see.to(memory_format=torch.channels_last)  # 1.3 times faster
        self.join = nn.Sequential(
            nn.Linear(4 * last, WIDE, bias=False), nn.BatchNorm1d(WIDE), nn.ReLU()
        )
        self.tell = nn.Linear(WIDE, TOLD)
        self.drop = nn.Dropout(DROPOUT)
        self.sum_up = nn.Sequential(
            nn.Linear(2 * WIDE + COUNTS, WIDE), nn.ReLU(),
            nn.Dropout(DROPOUT), nn.Linear(WIDE, NUM_SUMMARY * hidden),
        )  # fmt: skip
        self.count = nn.Linear(COUNTS, NUM_SUMMARY * hidden, bias=False)
        self.leave = nn.Linear(last, hidden)

    def forward(self, feats: Tensor, coords: Tensor, batch_size: int) -> Projected:
        """Project.

        Args:
            feats: (N, ``DEPTH``) rows of ``draw_depth_maps`` of all samples, in any order.
            coords: (N, 4) where they are.
            batch_size: B.
        Raises:
            InputError: another width, or places outside of the pictures.
        """
        maps = self._to_maps(feats, coords, batch_size)
        pictures = _scale(maps).flatten(0, 1)
        seen = self.see(pictures.contiguous(memory_format=torch.channels_last))
        flat = torch.cat([seen.mean(dim=(2, 3)), seen.amax(dim=(2, 3))], dim=1)
        each = flat.view(batch_size, 3, -1)
        others = each.mean(dim=1, keepdim=True).expand_as(each)
        joined = self.join(torch.cat([each, others], dim=2).flatten(0, 1))
        joined = joined.view(batch_size, 3, WIDE)
        looks = self.drop(torch.cat([joined.mean(dim=1), joined.amax(dim=1)], dim=1))
        counts = _euler(maps)  # exact, so nothing of it is dropped
        summary = self.sum_up(torch.cat([looks, counts], dim=1)) + self.count(counts)
        summary = summary.view(batch_size, NUM_SUMMARY, self.hidden)
        return Projected(*self._to_tokens(seen, batch_size), summary, self.tell(joined))

    def _to_maps(self, feats: Tensor, coords: Tensor, batch_size: int) -> Tensor:
        """(B, 3, C, R, R)."""
        if feats.shape[-1] != DEPTH:
            raise InputError(
                f"the 3-D rows have width {feats.shape[-1]}, a projector of depth maps reads "
                f"{DEPTH}"
            )
        made: Tensor = rows_to_maps(feats.to(self.leave.weight), coords, batch_size, self.size)
        return made

    def _to_tokens(self, seen: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
        """(M, H) and (M, 4) of (3 B, C, P, P), with sines of where they are."""
        across = seen.shape[-1]
        steps = [torch.arange(n, device=seen.device) for n in (batch_size, 3, across, across)]
        coords = torch.cartesian_prod(*steps)
        tokens = self.leave(seen.permute(0, 2, 3, 1).reshape(-1, seen.shape[1]))
        return tokens + coords_to_sines(coords[:, 1:], self.hidden).to(tokens.dtype), coords


def _convolution(before: int, after: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    made = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return [made, nn.BatchNorm2d(after), nn.ReLU()]


def _scale(maps: Tensor) -> Tensor:
    """All channels within some -1 .. 1."""
    plain, shares = maps[:, :, :FIRST_EULER], maps[:, :, FIRST_EULER:]
    return torch.cat([plain / 127.5 - 1, (shares - MIDDLE) / TYPICAL_SHARE], dim=2)


def _euler(maps: Tensor) -> Tensor:
    """(B, ``COUNTS``) 0 or 1: the Euler number with the surface at each of ``LEVELS``, one-hot.

    Args:
        maps: (B, 3, C, R, R); all three pictures say the same.
    """
    shares = maps[:, 0, FIRST_EULER : FIRST_EULER + len(LEVELS)].float() - MIDDLE
    numbers = (shares.sum(dim=(2, 3)) / EULER_STEP).round().long()
    numbers = numbers.clamp(-LARGEST_EULER, LARGEST_EULER) + LARGEST_EULER
    told = functional.one_hot(numbers, 2 * LARGEST_EULER + 1)
    return told.flatten(1).to(maps.dtype)
