"""The quantizer: latents to rows of a codebook that learns by running means or by gradients.

In: (N, D) latents. Out: codebook vectors (N, D) with a straight-through gradient, (N,) integer
indices, losses and how the codebook is used. Names in the state dict are the published ones. The
k-means that replaces a codebook that is badly used is in ``kmeans``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.models.vqvae.config import VqVaeConfig
from cadwright.models.vqvae.kmeans import Reservoir, kmeans

CHUNK = 1 << 22  # distances measured at a time


@dataclass(frozen=True, eq=False)
class Quantized:
    """What the quantizer answers.

    Attributes:
        feats: (N, D) codebook vectors; gradients pass on to the latents as they are.
        indices: (N,) int64.
        commitment: mean squared distance of latents to their vectors; moves latents only.
        codebook: the same number; moves the codebook only, None where running means do.
    """

    feats: Tensor
    indices: Tensor
    commitment: Tensor
    codebook: Tensor | None


class SparseVectorQuantizer(nn.Module):
    """A codebook of K vectors of D numbers.

    Args:
        config: num_embeddings K, latent_channels D, use_ema_update, vq_decay, vq_epsilon,
            use_kmeans_reinit, kmeans_interval and reservoir_size are read.
    """

    ema_cluster_size: Tensor
    ema_w: Tensor
    _ema_initialized: Tensor

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        self.config = config
        num, width = config.num_embeddings, config.latent_channels
        self.embeddings = nn.Embedding(num, width)
        nn.init.normal_(self.embeddings.weight)
        self.embeddings.weight.requires_grad_(not config.use_ema_update)
        if config.use_ema_update:
            self.register_buffer("ema_cluster_size", torch.zeros(num))
            self.register_buffer("ema_w", torch.zeros(num, width))
            self.register_buffer("_ema_initialized", torch.tensor(False))
        self.reservoir = Reservoir(config.reservoir_size if config.use_kmeans_reinit else 0)

    def nearest(self, latents: Tensor) -> Tensor:
        """(N,) int64 row of the codebook nearest to each latent (N, D), in float32."""
        codes = self.embeddings.weight.float()
        half_square = codes.square().sum(1) / 2
        rows = max(1, CHUNK // len(codes))
        parts = [
            torch.addmm(half_square, part, codes.t(), alpha=-1).argmin(1)
            for part in latents.float().split(rows)
        ]
        return torch.cat(parts)

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize; while training, running means and the reservoir take the latents in."""
        indices = self.nearest(latents.detach())
        if self.training:
            self.reservoir.add(latents.detach())
            if self.config.use_ema_update:
                self._follow(latents.detach(), indices)
        codes = self.embeddings(indices)
        commitment = functional.mse_loss(latents, codes.detach())
        codebook = (
            None if self.config.use_ema_update else functional.mse_loss(codes, latents.detach())
        )
        return Quantized(latents + (codes - latents).detach(), indices, commitment, codebook)

    @torch.no_grad()
    def _follow(self, latents: Tensor, indices: Tensor) -> None:
        """Running means, float32; a vector that was never used keeps its value."""
        num = self.config.num_embeddings
        counts = torch.bincount(indices, minlength=num).float()
        sums = torch.zeros_like(self.ema_w).index_add_(0, indices, latents.float())
        if self._ema_initialized:
            rest = 1 - self.config.vq_decay
            self.ema_cluster_size.lerp_(counts, rest)
            self.ema_w.lerp_(sums, rest)
        else:
            self.ema_cluster_size.copy_(counts)
            self.ema_w.copy_(sums)
            self._ema_initialized.fill_(True)
        total, eps = self.ema_cluster_size.sum(), self.config.vq_epsilon
        smooth = (self.ema_cluster_size + eps) / (total + num * eps) * total
        used = self.ema_cluster_size > eps
        means = self.ema_w / smooth[:, None]
        self.embeddings.weight.copy_(torch.where(used[:, None], means, self.embeddings.weight))

    @torch.no_grad()
    def reinitialise(self, *, seed: int) -> bool:
        """Replace the whole codebook by k-means of the reservoir, whose rows are then dropped.

        Returns:
            False, and nothing changed, if the reservoir holds fewer rows than the codebook.
        """
        rows = self.reservoir.rows()
        if len(rows) < self.config.num_embeddings:
            return False
        centres, counts = kmeans(rows, self.config.num_embeddings, seed=seed)
        self.embeddings.weight.copy_(centres.to(self.embeddings.weight))
        if self.config.use_ema_update:
            # As after many steps of one batch's size, so that the centres do not jump at once.
            self.ema_cluster_size.copy_(counts.clamp(min=1))
            self.ema_w.copy_(centres * counts.clamp(min=1)[:, None])
            self._ema_initialized.fill_(True)
        self.reservoir.clear()
        return True


@dataclass(frozen=True, slots=True)
class CodebookUse:
    """How evenly a codebook is used.

    Attributes:
        perplexity: exp of the entropy; K when all rows are used alike, 1 when one is.
        num_used: rows used at least once.
        share_used: of all rows.
    """

    perplexity: float
    num_used: int
    share_used: float


def codebook_use(counts: Tensor) -> CodebookUse:
    """Statistics of (K,) how often each row was used.

    Args:
        counts: not all 0.
    """
    shares = counts.double() / counts.sum()
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    used = int((counts > 0).sum())
    return CodebookUse(float(entropy.exp()), used, used / len(counts))
