"""Points to embeddings: raw xyz, sines and cosines of octaves of it, one linear layer.

In: (..., 3) coordinates in the MODEL frame. Out: (..., D) embeddings, one per point.
Not covered: sampling the points, and putting the embeddings into a sequence (see splice).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def points_to_fourier(points: Tensor, *, num_frequencies: int) -> Tensor:
    """Expand coordinates into Fourier features, in float32.

    The columns are ``x y z``, then the sines, then the cosines; within each of the two
    blocks the coordinate varies slowest: ``x*1, x*2, x*4, ..., y*1, ...``. This is the
    order the published CAD-Recode and cadrille weights expect (CAD-Recode, arXiv
    2412.14042, section 4.1: 8 octaves 2^0..2^7, no factor pi).

    Args:
        points: (..., 3) coordinates, MODEL frame; any floating dtype.
        num_frequencies: F, the number of octaves.

    Returns:
        (..., 3 + 6 F) float32.
    """
    points = points.float()
    # Made here and not kept as a buffer: a non-persistent buffer of a module created on the
    # meta device holds garbage after loading. The shift of integers keeps the powers exact.
    octaves = torch.arange(num_frequencies, device=points.device)
    frequencies = torch.bitwise_left_shift(torch.ones_like(octaves), octaves).to(points.dtype)
    angles = (points.unsqueeze(-1) * frequencies).flatten(start_dim=-2)
    return torch.cat((points, angles.sin(), angles.cos()), dim=-1)


class FourierPointEncoder(nn.Module):
    """Fourier features of each point, then one linear layer named ``projection``.

    Args:
        hidden_size: D, the width of the embeddings.
        num_frequencies: octaves 2^0 .. 2^(F-1).
    """

    def __init__(self, hidden_size: int, num_frequencies: int = 8) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.projection = nn.Linear(3 + 6 * num_frequencies, hidden_size)

    def forward(self, points: Tensor) -> Tensor:
        """Embed each point.

        Args:
            points: (..., 3) coordinates, MODEL frame.

        Returns:
            (..., D) in the dtype of ``projection``; the sines are always float32, because
            bfloat16 cannot hold an angle of 128 to a useful fraction of a turn.
        """
        # Autocast would round the features to bfloat16 again.
        with torch.autocast(points.device.type, enabled=False):
            features = points_to_fourier(points, num_frequencies=self.num_frequencies)
            embeds: Tensor = self.projection(features.to(self.projection.weight.dtype))
        return embeds
