"""Projector3D: codebook vectors to embeddings of a language model, with or without positions.

In: (..., D) vectors and, with positions, (..., 4) coordinates on the latent grid. Out: (..., H).
State-dict names are the published ones: ``proj`` or ``proj.{0,2,..}``, and ``ln``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cadwright.errors import InputError

BASE = 10_000.0


class Projector3D(nn.Module):
    """A linear layer, or several with GELU between them.

    Args:
        latent_dim: D, width of the codebook.
        hidden: H, width of the language model.
        num_layers: 1 is a single linear layer.
        use_3d_pos: add sines and cosines of x, y, z.
        final_norm: end in a layer norm, as the later published version does.
    Raises:
        InputError: a size is less than 1.
    """

    def __init__(
        self,
        latent_dim: int,
        hidden: int,
        num_layers: int = 1,
        *,
        use_3d_pos: bool = False,
        final_norm: bool = False,
    ) -> None:
        super().__init__()
        if min(latent_dim, hidden, num_layers) < 1:
            raise InputError("a projector needs a width and at least one layer")
        self.latent_dim, self.hidden, self.use_3d_pos = latent_dim, hidden, use_3d_pos
        layers: list[nn.Module] = [nn.Linear(latent_dim, hidden)]
        for _ in range(num_layers - 1):
            layers += [nn.GELU(), nn.Linear(hidden, hidden)]
        self.proj = layers[0] if num_layers == 1 else nn.Sequential(*layers)
        self.ln = nn.LayerNorm(hidden) if final_norm else None

    def forward(self, feats: Tensor, coords: Tensor | None = None) -> Tensor:
        """Project.

        Args:
            feats: (..., D).
            coords: (..., 4) whole numbers; only read with positions.
        Raises:
            InputError: the last axis is not D, or coordinates are missing.
        """
        if feats.shape[-1] != self.latent_dim:
            raise InputError(
                f"the 3-D vectors have width {feats.shape[-1]}, the projector reads "
                f"latent_dim {self.latent_dim}"
            )
        embeds: Tensor = self.proj(feats.to(next(self.parameters()).dtype))
        if self.use_3d_pos:
            if coords is None:
                raise InputError("a projector with 3-D positions needs coords_3d")
            embeds = embeds + coords_to_sines(coords[..., 1:], self.hidden).to(embeds.dtype)
        return embeds if self.ln is None else self.ln(embeds)


def coords_to_sines(xyz: Tensor, hidden: int) -> Tensor:
    """(..., 3) whole coordinates to (..., hidden) interleaved sines and cosines, float32.

    The axes get d, d and hidden - 2 d channels, where d is the even part of hidden / 3.
    """
    d = hidden // 3 // 2 * 2
    parts = []
    # Integers here would cut every sine to 0 or 1: the published defect.
    for axis, width in enumerate((d, d, hidden - 2 * d)):
        place = torch.arange((width + 1) // 2, device=xyz.device, dtype=torch.float32)
        rate = BASE ** (-2.0 * place / max(width, 1))
        phase = xyz[..., axis, None].float() * rate
        parts.append(torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(-2)[..., :width])
    return torch.cat(parts, dim=-1)
