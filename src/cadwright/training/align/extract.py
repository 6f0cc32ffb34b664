"""Shapes through a frozen VAE once, so that a training need not do it in every epoch.

In: a source of shapes and a VAE. Out: a folder that ``models.align3d.latents`` reads. A run that
stopped goes on at the shard where it was. Not covered: several processes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.errors import CadwrightError, InputError
from cadwright.models.align3d.checkpoint import vae_to_fingerprints
from cadwright.models.align3d.depth_maps import draw_depth_maps
from cadwright.models.align3d.latents import (
    SHARD,
    DepthRows,
    open_latents,
    texts_name,
    write_shard,
)
from cadwright.models.align3d.sources import GeneratedShapes, ListedShapes, Shape
from cadwright.models.vqvae.inputs import sdfs_to_batch
from cadwright.models.vqvae.model import Code, SparseSDFVQVAE

BATCH = 8  # shapes encoded at a time


def extract_latents(
    source: GeneratedShapes | ListedShapes,
    vae: SparseSDFVQVAE,
    folder: str | Path,
    *,
    depth: bool = False,
    say: Callable[[str], None] = lambda line: None,
    fail: Callable[[str, CadwrightError], None] | None = None,
) -> int:
    """Encode all shapes of a source.

    Args:
        source: its shapes have SDFs.
        vae: in evaluation mode.
        folder: made where it is missing; shards that are there are kept.
        depth: also store depth maps of what is decoded, for a projector that reads them.
        say: gets a line for each shard.
        fail: gets number and error of a shape that cannot be used, which is then left out;
            without it the error is raised.
    Returns:
        Shapes that were left out in this call.
    Raises:
        InputError: the folder holds another extraction, or a shape cannot be used.
    """
    folder, left_out = Path(folder), 0
    info: dict[str, Any] = {
        "num": len(source), "source": source.description, "latent_dim": vae.config.latent_dim,
        "num_embeddings": vae.config.num_embeddings, "resolution": vae.config.resolution,
        **vae_to_fingerprints(vae, depth=depth),
    }  # fmt: skip
    if depth:
        info["depth"] = vae.config.voxel_resolution
    open_latents(folder, info, vae.vq.embeddings.weight)
    for number in range(-(-len(source) // SHARD)):
        if (folder / texts_name(number)).is_file():
            continue
        last = min((number + 1) * SHARD, len(source))
        shapes = []
        for index in range(number * SHARD, last):
            try:
                shapes.append(_with_sdf(source[index]))
            except CadwrightError as error:
                if fail is None:
                    raise
                fail(str(index), error)
                left_out += 1
        codes = [code for k in range(0, len(shapes), BATCH)
                 for code in encode_shapes(shapes[k : k + BATCH], vae)]  # fmt: skip
        write_shard(
            folder, number, codes, [s.name for s in shapes], [s.pairs for s in shapes],
            _hints(shapes), [_draw(code, vae) for code in codes] if depth else None,
        )  # fmt: skip
        say(f"{last} of {len(source)} shapes")
    return left_out


def _hints(shapes: list[Shape]) -> list[NDArray[np.int8]] | None:
    """Those of each shape, if the source knows them of all."""
    found = [shape.hints for shape in shapes if shape.hints is not None]
    return found if found and len(found) == len(shapes) else None


def _draw(code: Code, vae: SparseSDFVQVAE) -> DepthRows:
    rows, coords = draw_depth_maps(vae, code.feats, code.coords, 1)
    places = coords[:, 1:].cpu().numpy().astype(np.int16)
    return DepthRows(rows.cpu().numpy().astype(np.uint8), places)


def encode_shapes(shapes: list[Shape], vae: SparseSDFVQVAE) -> list[Code]:
    """One code a shape, their batch index 0."""
    code = vae.Encode(sdfs_to_batch([shape.sdf for shape in shapes if shape.sdf is not None]))
    found = []
    for number in range(len(shapes)):
        rows = code.coords[:, 0] == number
        coords = code.coords[rows].clone()
        coords[:, 0] = 0
        found.append(Code(code.feats[rows], coords, code.indices[rows]))
    return found


def _with_sdf(shape: Shape) -> Shape:
    if shape.sdf is None:
        raise InputError(f"{shape.name}: this shape is already codebook vectors")
    return shape
