"""The decoder: codebook vectors to a sparse SDF, by attention, then subdivision.

In: (N, D) vectors on latent cells. Out: (M, 1) values in (-1, 1) on voxels: all of each cell's
voxels, or, where the config says ``prune``, those whose cells the decoder itself kept. Names are
the published ones; ``prune`` layers are this project's (after TRELLIS.2's child masks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.models.layers.sites import Sites, SparseTensor
from cadwright.models.layers.sparse_convolution import (
    SparseConvolution,
    SparseSiLU,
    subdivide,
)
from cadwright.models.vqvae.config import VqVaeConfig
from cadwright.models.vqvae.encoder import add_positions, init_linears, make_blocks

KEEP_LOGIT = -1.0  # a voxel too many costs time, one too few a hole
BOX_PADDING = 4  # latent cells around a box; the convolutions reach fewer than three


@dataclass(frozen=True, eq=False)
class Decoded:
    """What the decoder answers.

    Attributes:
        sdf: (M, 1) on voxels.
        prune_loss: cross entropy of the kept children; 0 without truth, or where nothing prunes.
    """

    sdf: SparseTensor
    prune_loss: Tensor


class UpBlock(nn.Module):
    """Twice the resolution: convolution and SiLU, subdivision, convolution and SiLU.

    Args:
        channels_in, channels_out: widths.
        prune: predict which children are kept.
    """

    def __init__(self, channels_in: int, channels_out: int, *, prune: bool) -> None:
        super().__init__()
        self.act_layers = nn.Sequential(SparseConvolution(channels_in, channels_out), SparseSiLU())
        self.out_layers = nn.Sequential(SparseConvolution(channels_out, channels_out), SparseSiLU())
        self.prune = nn.Linear(channels_out, 8) if prune else None

    def forward(self, x: SparseTensor, truth: Sites | None = None) -> tuple[SparseTensor, Tensor]:
        """(N, Cin) to (M, Cout) and the loss of the pruning.

        Args:
            x: on cells.
            truth: cells of the finer grid that must be kept, beside those the layer keeps.
        """
        h = self.act_layers(x)
        loss = h.feats.new_zeros(())
        if self.prune is None:
            convolution: Any = self.out_layers[0]
            return self.out_layers[1](convolution.subdivided(h)), loss
        finer = subdivide(h)
        logits = self.prune(h.feats).flatten()
        keep = logits.detach() > KEEP_LOGIT
        if truth is not None:
            wanted = truth.find(finer.coords) < len(truth)
            loss = functional.binary_cross_entropy_with_logits(logits, wanted.to(logits))
            # What is kept by mistake must be trained too: it will be kept in use.
            keep |= wanted
        finer = SparseTensor(finer.feats[keep], finer.sites.select(keep))
        return self.out_layers(finer), loss


class SparseSDFDecoder(nn.Module):
    """Latents to voxels.

    Args:
        config: of the VQ-VAE.
    """

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        self.config = config
        self.input_layer = nn.Linear(config.latent_channels, config.model_channels)
        num_blocks = config.num_blocks_decoder or config.num_blocks
        self.blocks = make_blocks(config, num_blocks)
        widths = config.channels[::-1]
        # One step narrower than the encoder's: C -> C/4 -> C/8 -> C/16.
        self.upsample = nn.ModuleList(
            UpBlock(high, low, prune=config.prune)
            for high, low in zip(widths, widths[1:], strict=False)
        )
        self.out_layer = nn.Linear(widths[-1], 1)
        init_linears(self)
        nn.init.zeros_(self.out_layer.weight)

    def forward(
        self, codes: SparseTensor, factor: float = 1.0, truth: Sites | None = None
    ) -> Decoded:
        """Decode.

        Args:
            codes: (N, D) codebook vectors on latent cells.
            factor: as for the encoder.
            truth: voxels that must be kept; for training with pruning.
        """
        h = codes.replace(self.input_layer(codes.feats / self.config.latents_scale
                                           + self.config.latents_shift))  # fmt: skip
        h = add_positions(h, self.config, factor)
        for block in self.blocks:
            h = block(h)
        if self.config.chunk_size > 1 and not self.training:
            return Decoded(self._in_boxes(h), h.feats.new_zeros(()))
        return self._grow(h, truth)

    def _grow(self, h: SparseTensor, truth: Sites | None) -> Decoded:
        """The convolutional part."""
        wanted = _ancestors(truth, len(self.upsample))
        total = h.feats.new_zeros(())
        for block, level in zip(self.upsample, wanted, strict=True):
            h, loss = block(h, level)
            total = total + loss
        return Decoded(h.replace(torch.tanh(self.out_layer(h.feats))), total)

    def _in_boxes(self, h: SparseTensor) -> SparseTensor:
        """The same numbers with less memory: one box of the latent grid after the other."""
        side = -(-h.sites.resolution // self.config.chunk_size)
        box = h.coords[:, 1:] // side
        parts = []
        for corner in box.unique(dim=0):
            low = corner * side
            near = (h.coords[:, 1:] >= low - BOX_PADDING) & (
                h.coords[:, 1:] < low + side + BOX_PADDING
            )
            rows = near.all(1)
            grown = self._grow(SparseTensor(h.feats[rows], h.sites.select(rows)), None).sdf
            cell = grown.coords[:, 1:] >> self.config.num_levels
            own = ((cell >= low) & (cell < low + side)).all(1)
            parts.append(SparseTensor(grown.feats[own], grown.sites.select(own)))
        coords = torch.cat([part.coords for part in parts])
        order = coords[:, 0].argsort(stable=True)  # rows of one sample stand together
        sites = Sites(
            coords[order], h.sites.resolution << self.config.num_levels, h.sites.batch_size
        )
        return SparseTensor(torch.cat([part.feats for part in parts])[order], sites)


def _ancestors(truth: Sites | None, levels: int) -> list[Sites | None]:
    """The cells that must be kept after each subdivision, coarse to fine."""
    found: list[Sites | None] = [truth]
    for _ in range(levels - 1):
        finest = found[0]
        found.insert(0, None if finest is None else finest.parents[0])
    return found
