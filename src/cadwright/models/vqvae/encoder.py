"""The encoder: sparse SDF to latents on a coarser grid, by halving, then attention.

In: (N, 1) SDF on voxels. Out: (M, 2 D) mean and log variance on latent cells; the VQ-VAE reads
the mean, the rest is kept so that published VAE weights load. Names are the published ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cadwright.models.layers.sites import SparseTensor
from cadwright.models.layers.sparse_attention import SparseBlock, absolute_positions, layer_norm
from cadwright.models.layers.sparse_convolution import (
    SparseConvolution,
    SparseGroupNorm,
    SparseSiLU,
    pool,
)
from cadwright.models.vqvae.config import VqVaeConfig

NORM_EPS = 1e-5


class DownBlock(nn.Module):
    """Half the resolution: norm, SiLU, pool, convolution, norm, SiLU, convolution, plus a skip.

    Args:
        channels_in, channels_out: widths.
        config: groups and the kind of mean.
    """

    def __init__(self, channels_in: int, channels_out: int, config: VqVaeConfig) -> None:
        super().__init__()
        self.published_pool = config.published_pool
        self.act_layers = nn.Sequential(
            SparseGroupNorm(config.groups(channels_in), channels_in), SparseSiLU()
        )
        self.out_layers = nn.Sequential(
            SparseConvolution(channels_in, channels_out),
            SparseGroupNorm(config.groups(channels_out), channels_out),
            SparseSiLU(),
            SparseConvolution(channels_out, channels_out),
        )
        self.skip_connection = (
            SparseConvolution(channels_in, channels_out, size=1)
            if channels_in != channels_out
            else nn.Identity()
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, Cin) to (M, Cout) on the parents of the sites."""
        h = self.out_layers(pool(self.act_layers(x), published=self.published_pool))
        skip = self.skip_connection(pool(x, published=self.published_pool))
        return h.replace(h.feats + skip.feats)


def make_blocks(config: VqVaeConfig, num_blocks: int) -> nn.ModuleList:
    """A stack of transformer blocks."""
    return nn.ModuleList(
        SparseBlock(
            config.model_channels,
            num_heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            mode=config.attn_mode,
            window_size=config.window_size,
            block=block,
            use_rope=config.pe_mode == "rope",
            qk_rms_norm=config.qk_rms_norm,
        )
        for block in range(num_blocks)
    )


def add_positions(x: SparseTensor, config: VqVaeConfig, factor: float) -> SparseTensor:
    """Sines of the coordinates added, where the config has them; never in whole numbers."""
    if config.pe_mode != "ape":
        return x
    places = x.coords[:, 1:].float() * factor
    return x.replace(x.feats + absolute_positions(places, x.feats.shape[1]).to(x.feats.dtype))


def init_linears(module: nn.Module) -> None:
    """Xavier-uniform weights and no bias in all linear layers, as published."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)


class SparseSDFEncoder(nn.Module):
    """Voxels to latents.

    Args:
        config: of the VQ-VAE.
    """

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        self.input_layer1 = nn.Linear(1, widths[0])
        self.downsample = nn.ModuleList(
            DownBlock(low, high, config) for low, high in zip(widths, widths[1:], strict=False)
        )
        self.input_layer = nn.Linear(config.model_channels, config.model_channels)
        num_blocks = config.num_blocks_encoder or config.num_blocks
        self.blocks = make_blocks(config, num_blocks)
        # Not from zero, as a VAE's may start: all latents would fall on one codebook vector.
        self.out_layer = nn.Linear(config.model_channels, 2 * config.latent_channels)
        init_linears(self)

    def forward(self, x: SparseTensor, factor: float = 1.0) -> SparseTensor:
        """Means and log variances.

        Args:
            x: (N, 1) SDF on voxels.
            factor: multiplies positions, so that shapes of another resolution look alike.
        Returns:
            (M, 2 D) on latent cells.
        """
        h = x.replace(self.input_layer1(x.feats))
        for block in self.downsample:
            h = block(h)
        h = add_positions(h.replace(self.input_layer(h.feats)), self.config, factor)
        for block in self.blocks:
            h = block(h)
        return h.replace(self.out_layer(layer_norm(h.feats, NORM_EPS)))

    def means(self, x: SparseTensor, factor: float = 1.0) -> tuple[Tensor, SparseTensor]:
        """(M, D) latents as the quantizer reads them, and a tensor on their sites."""
        h = self(x, factor)
        mean = h.feats[:, : self.config.latent_channels]
        scaled = (mean - self.config.latents_shift) * self.config.latents_scale
        return scaled, h.replace(torch.zeros_like(scaled))
