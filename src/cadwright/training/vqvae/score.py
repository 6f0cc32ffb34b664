"""How well a VQ-VAE brings parts back: F-score, sign errors, codebook use, tokens a part.

In: a model and held-out parts of the generator. Out: a score. The F-score is that of the surface
within 1/64 of the longest side (UNIT frame), of codes only: mesh, SDF, integers, SDF, mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cadwright.errors import GeometryError
from cadwright.geometry.f_score import f_score
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.models.vqvae.inputs import sdfs_to_batch
from cadwright.models.vqvae.model import SparseSDFVQVAE
from cadwright.models.vqvae.quantizer import CodebookUse, codebook_use
from cadwright.training.vqvae.data import draw_part, part_to_sdf
from cadwright.types import Mesh

THRESHOLD = 1.0 / 64  # UNIT frame


@dataclass(frozen=True, slots=True)
class VqVaeScore:
    """Over held-out parts.

    Attributes:
        f_scores: of each part; 0 where no surface came back.
        tokens: codes of each part.
        codes: how often each row of the codebook was used.
    """

    f_scores: list[float]
    tokens: list[int]
    codes: CodebookUse

    def to_record(self) -> dict[str, Any]:
        """Plain numbers for a log."""
        return {
            "f_score_mean": float(np.mean(self.f_scores)),
            "f_score_median": float(np.median(self.f_scores)),
            "f_score_min": float(np.min(self.f_scores)),
            "parts": len(self.f_scores),
            "tokens_mean": float(np.mean(self.tokens)),
            "tokens_max": int(np.max(self.tokens)),
            "eval_perplexity": self.codes.perplexity,
            "eval_num_used": self.codes.num_used,
        }


def score_parts(model: SparseSDFVQVAE, *, seed: int, num: int, first: int = 0) -> VqVaeScore:
    """Encode and decode parts ``first`` to ``first + num`` of a stream.

    Args:
        model: left in evaluation mode.
        seed: of the stream; a held-out one.
        num: parts.
        first: number of the first part.
    """
    model.eval()
    scores, tokens = [], []
    counts = torch.zeros(model.config.num_embeddings, dtype=torch.int64)
    for index in range(first, first + num):
        mesh = draw_part(seed, index)
        value, indices = score_part(model, mesh, seed=index)
        scores.append(value)
        tokens.append(len(indices))
        counts += torch.bincount(indices.cpu(), minlength=len(counts))
    return VqVaeScore(scores, tokens, codebook_use(counts))


def score_part(model: SparseSDFVQVAE, mesh: Mesh, *, seed: int) -> tuple[float, torch.Tensor]:
    """F-score of one part, and its codes.

    Args:
        model: in evaluation mode.
        mesh: any frame.
        seed: of the samples of the F-score.
    """
    sdf = part_to_sdf(mesh, model.config)
    code = model.Encode(sdfs_to_batch([sdf]))
    try:
        grid = model.decode_mesh(code)[0]
    except GeometryError:
        return 0.0, code.indices
    to_unit = placement_to_unit(mesh.bounds)
    back = Mesh(sdf.placement.inverse().apply(grid.vertices), grid.faces)
    pair = (normalise(mesh, to_unit), normalise(back, to_unit))
    return f_score(*pair, threshold=THRESHOLD, seed=seed).value, code.indices
