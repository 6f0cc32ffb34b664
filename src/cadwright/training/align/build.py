"""The joined model and the samples of a run, from its arguments.

In: AlignArgs. Out: the branch on its device, the tokenizer, and a sequence of samples. Not covered:
the training itself (run).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cadwright.errors import CheckpointError, InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.checkpoint import (
    add_lora,
    fits_vae,
    load_vl_model,
    vae_to_fingerprints,
)
from cadwright.models.align3d.collate import IGNORE, Item
from cadwright.models.align3d.depth_maps import DEPTH
from cadwright.models.align3d.depth_projector import DepthProjector3D
from cadwright.models.align3d.items import ShapeItems
from cadwright.models.align3d.latents import LatentFolder
from cadwright.models.align3d.projector import Projector3D
from cadwright.models.align3d.sources import GeneratedShapes, ListedShapes
from cadwright.models.vqvae.checkpoint import embedded_vqvae, load_vqvae
from cadwright.training.align.args import AlignArgs

GENERATOR = "generator"
NUM_GENERATED = 1000
DUMMY_LATENT_DIM = 16  # as published
DUMMY_RESOLUTION = 16


def build_vae(args: AlignArgs) -> Any:
    """The VAE of the arguments, or None where there is none.

    Raises:
        CheckpointError: config and checkpoint do not fit, or cannot be read.
    """
    if args.vae_config is None or args.vae_ckpt is None:
        return None
    return load_vqvae(args.vae_config, args.vae_ckpt)


def build_shapes(args: AlignArgs, vae: Any) -> Any:
    """The shapes of ``args.data``; the generator's need a VAE, the embedded one by default.

    Raises:
        InputError: there are none, they cannot be read, or they were made by another VAE.
    """
    most = args.max_samples or None
    if args.data is None:
        raise InputError(
            "there is nothing to learn from: --data FOLDER of 'cadwright align extract', a "
            "captions file, or 'generator'; --dummy_data for a trial"
        )
    if args.data == GENERATOR:
        config = vae.config if vae is not None else embedded_vqvae().config
        return GeneratedShapes(config, num=most or NUM_GENERATED, seed=args.seed)
    if Path(args.data).is_dir():
        folder = LatentFolder(args.data, most=most, depth=args.projector == "depth")
        if vae is not None and not fits_vae(folder.info, vae):
            raise InputError(f"{args.data} was extracted with another VAE than --vae_ckpt")
        return folder
    shapes = None if args.shapes is None else Path(args.shapes)
    listed = ListedShapes(args.data, None if vae is None else vae.config, shapes=shapes)
    del listed.rows[most or len(listed.rows) :]
    return listed


def shapes_to_latent_dim(shapes: Any, vae: Any) -> int:
    """Width of the vectors that a projector will read.

    Raises:
        InputError: data and VAE differ.
    """
    found = None
    if isinstance(shapes, LatentFolder):
        found = shapes.latent_dim
    elif vae is None and isinstance(shapes, ListedShapes):
        first = shapes[0]
        found = None if first.feats is None else int(first.feats.shape[-1])
    if vae is None and found is None:
        raise InputError("raw shapes need a VAE: --vae_config and --vae_ckpt")
    if vae is not None and found not in (None, vae.config.latent_dim):
        raise InputError(f"the data has latent_dim {found}, the VAE {vae.config.latent_dim}")
    return int(vae.config.latent_dim if found is None else found)


def build_branch(
    args: AlignArgs, *, latent_dim: int | None = None, vae: Any = None, size: int = 0
) -> tuple[Qwen3VLWith3DBranch, Any]:
    """The joined model and its tokenizer.

    Args:
        args: of the run.
        latent_dim: width of pre-extracted vectors; only needed without a VAE.
        vae: read already; that of the arguments by default.
        size: samples along the VAE's grid; only needed without a VAE by a projector of depth maps.
    Raises:
        InputError: widths do not fit.
        CheckpointError: a model cannot be loaded, or the device is not there.
    """
    vae = vae if vae is not None else build_vae(args)
    if vae is not None:
        if latent_dim not in (None, vae.config.latent_dim):
            raise InputError(
                f"the data has latent_dim {latent_dim}, the VAE {vae.config.latent_dim}"
            )
        latent_dim = vae.config.latent_dim
    if latent_dim is None:
        raise InputError("without a VAE (--vae_config, --vae_ckpt) latent_dim must be known")
    vl_model, tokenizer = load_vl_model(args.vl_model, dtype=getattr(torch, args.dtype))
    torch.manual_seed(args.seed)
    hidden = int(vl_model.get_input_embeddings().embedding_dim)  # type: ignore[operator]
    size = vae.config.voxel_resolution if vae is not None else size
    projector = _new_projector(args, latent_dim, hidden, size)
    if args.use_lora:
        vl_model = add_lora(vl_model, rank=args.lora_r)
    branch = Qwen3VLWith3DBranch(
        vl_model, projector, vae, max_3d_tokens=args.max_3d_tokens,
        truncate_mode=args.truncate_mode, block=args.block,
    )  # fmt: skip
    branch.freeze(language=not args.train_all)
    try:
        return branch.to(args.device), tokenizer
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the device '{args.device}' cannot be used: {reason}") from error


def _new_projector(
    args: AlignArgs, latent_dim: int, hidden: int, size: int
) -> Projector3D | DepthProjector3D:
    if args.projector == "depth":
        return DepthProjector3D(latent_dim, hidden, size=size)
    return Projector3D(
        latent_dim * args.block**3, hidden, args.projector_layers,
        use_3d_pos=args.use_3d_pos, final_norm=args.final_norm,
    )  # fmt: skip


def build_run(args: AlignArgs) -> tuple[Qwen3VLWith3DBranch, Any, Sequence[Item], dict[str, Any]]:
    """Branch, tokenizer, samples, and what ``train_args.json`` says besides the arguments.

    Raises:
        InputError: see the parts.
        CheckpointError: see the parts.
    """
    vae = build_vae(args)
    if args.dummy_data:
        width = DUMMY_LATENT_DIM if vae is None else vae.config.latent_dim
        branch, tokenizer = build_branch(args, latent_dim=width, vae=vae, size=DUMMY_RESOLUTION)
        items: Sequence[Item] = dummy_items(
            args.dummy_samples, latent_dim=width, vocab_size=len(tokenizer), seed=args.seed
        )
        return branch, tokenizer, items, {"latent_dim": width}
    if args.data == GENERATOR and vae is None:
        vae = embedded_vqvae()
    shapes = build_shapes(args, vae)
    width = shapes_to_latent_dim(shapes, vae)
    notes: dict[str, Any] = {"latent_dim": width}
    size, depth = 0, args.projector == "depth"
    if isinstance(shapes, LatentFolder):
        names = ("vae", "decoder") if depth else ("vae",)
        notes |= {name: shapes.info[name] for name in names if name in shapes.info}
        size = int(shapes.info.get("depth", 0))
    elif vae is not None:
        notes |= vae_to_fingerprints(vae, depth=depth)
    branch, tokenizer = build_branch(args, latent_dim=width, vae=vae, size=size)
    depth = depth and isinstance(shapes, LatentFolder)  # else they are drawn while it trains
    items = ShapeItems(
        shapes, tokenizer, latent_dim=DEPTH if depth else width, max_length=args.text_length,
        whole_captions=args.whole_captions, turn_in=size if depth else 0,
    )  # fmt: skip
    return branch, tokenizer, items, notes


def dummy_items(
    num: int, *, latent_dim: int, vocab_size: int, resolution: int = DUMMY_RESOLUTION, seed: int = 0
) -> list[dict[str, Tensor]]:
    """Random samples of form A: a few cells, ten ids of which six are an answer."""
    generator = torch.Generator().manual_seed(seed)
    items = []
    for _ in range(num):
        count = int(torch.randint(8, 33, (), generator=generator))
        cells = torch.randperm(resolution**3, generator=generator)[:count]
        coords = torch.stack(
            [cells * 0, cells // resolution**2, cells // resolution % resolution,
             cells % resolution], dim=1,
        )  # fmt: skip
        ids = torch.randint(0, vocab_size, (10,), generator=generator)
        labels = ids.clone()
        labels[:4] = IGNORE
        items.append(
            {
                "feats_3d": torch.randn(count, latent_dim, generator=generator),
                "coords_3d": coords,
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "labels": labels,
            }  # fmt: skip
        )
    return items
