"""A part and a question to a sentence.

In: an aligned model, and meshes, SDFs or codes. Out: what the model answers. Decoding is greedy,
so the same part and question always give the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cadwright.errors import InputError
from cadwright.models.align3d.aligned import Aligned
from cadwright.models.align3d.conversation import PROMPT, question_to_ids
from cadwright.models.align3d.sources import Shape, mesh_to_vae_sdf
from cadwright.types import Mesh

MAX_NEW_TOKENS = 64


def describe_mesh(
    aligned: Aligned, mesh: Mesh, *, question: str = PROMPT, max_new_tokens: int = MAX_NEW_TOKENS
) -> str:
    """What the model answers about a mesh.

    Args:
        aligned: any.
        mesh: any frame, closed or open.
        question: in words that the language model knows.
        max_new_tokens: longest answer.
    Raises:
        GeometryError: the mesh has no extent, or no surface within the band.
        InputError: the question is empty.
    """
    vae: Any = aligned.branch.vae
    shape = Shape("part", (), mesh_to_vae_sdf(mesh, vae.config))
    return answer(aligned, [shape], [question], max_new_tokens=max_new_tokens)[0]


@torch.no_grad()
def answer(
    aligned: Aligned,
    shapes: Sequence[Shape],
    questions: Sequence[str],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[str]:
    """Answers of a batch, one question a shape.

    Args:
        aligned: any.
        shapes: all with SDFs, or all with codebook vectors.
        questions: as many.
        max_new_tokens: longest answer.
    Raises:
        InputError: a question is empty, the shapes are of both forms, or nothing is asked.
    """
    if not shapes or len(shapes) != len(questions):
        raise InputError(f"{len(shapes)} shapes and {len(questions)} questions do not fit")
    if not all(question.strip() for question in questions):
        raise InputError("the question is empty")
    device, tokenizer = aligned.branch.device, aligned.tokenizer
    rows = [torch.tensor(question_to_ids(tokenizer, question)) for question in questions]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad(rows, batch_first=True, padding_value=tokenizer.pad_token_id or 0)
    mask = pad([torch.ones_like(row) for row in rows], batch_first=True)
    made = aligned.branch.generate(
        ids.to(device), mask.to(device), eos_id=tokenizer.eos_token_id,
        max_new_tokens=max_new_tokens, **_to_inputs(shapes, device),
    )  # fmt: skip
    return [tokenizer.decode(new, skip_special_tokens=True).strip() for new in made]


def _to_inputs(shapes: Sequence[Shape], device: torch.device) -> dict[str, Any]:
    """Form A or B of a batch without texts."""
    feats = [shape.feats for shape in shapes if shape.feats is not None]
    coords = [shape.coords for shape in shapes if shape.coords is not None]
    sdfs = [shape.sdf for shape in shapes if shape.sdf is not None]
    if len(feats) == len(coords) == len(shapes):
        lengths = torch.tensor([len(rows) for rows in feats])
        pad = torch.nn.utils.rnn.pad_sequence
        mask: Tensor = torch.arange(int(lengths.max())) < lengths[:, None]
        return {
            "feats_3d": pad(feats, batch_first=True).to(device),
            "coords_3d": pad(coords, batch_first=True).to(device),
            "mask_3d": mask.to(device),
        }
    if len(sdfs) != len(shapes):
        raise InputError("the shapes of a batch are either all SDFs or all codebook vectors")
    numbers = [torch.full((len(sdf.values),), k) for k, sdf in enumerate(sdfs)]
    return {
        "inputs_3d": {
            "sparse_sdf": torch.cat([torch.from_numpy(sdf.values) for sdf in sdfs]),
            "sparse_index": torch.cat([torch.from_numpy(sdf.index) for sdf in sdfs]),
            "batch_idx": torch.cat(numbers),
        }
    }
