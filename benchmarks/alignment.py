"""Alignment: steps a second on extracted and raw shapes, tokens a shape, encoding at three grids.

In: held-out parts of the generator, the embedded VQ-VAE's network, and a small language model with
random weights (speed does not depend on them) or one of ``--vl_model``. Out: two markdown tables,
in seconds of the threads asked for. Needs the extras ``sdf`` and ``train``.

    python benchmarks/alignment.py --parts 16 --steps 6
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.checkpoint import load_vl_model
from cadwright.models.align3d.collate import collate_3d_text
from cadwright.models.align3d.items import ShapeItems
from cadwright.models.align3d.latents import LatentFolder
from cadwright.models.align3d.projector import Projector3D
from cadwright.models.align3d.sequence import gather_blocks
from cadwright.models.align3d.sources import GeneratedShapes
from cadwright.models.vqvae import SparseSDFVQVAE, embedded_vqvae, sdfs_to_batch
from cadwright.training.align.extract import extract_latents
from cadwright.training.align.language import LanguageArgs, new_language_model
from cadwright.training.align.language_texts import vocabulary_texts
from cadwright.training.align.words_tokenizer import build_words_tokenizer

HELD_OUT_SEED = 1_000_014
BLOCKS = (1, 2, 4)


def network_at(resolution: int) -> SparseSDFVQVAE:
    """The embedded network, as many levels, on a grid of this resolution."""
    base = embedded_vqvae()
    config = dataclasses.replace(base.config, resolution=resolution >> base.config.num_levels)
    model = SparseSDFVQVAE(config).eval()
    model.load_state_dict(base.state_dict())
    return model.requires_grad_(False)


def measure_encoding(resolution: int, num: int) -> str:
    """One row: seconds from a mesh's SDF to codes, and tokens by block."""
    vae = network_at(resolution)
    shapes = GeneratedShapes(vae.config, num=num, seed=HELD_OUT_SEED)
    seconds, tokens = [], []
    for number in range(num):
        sdf = shapes[number].sdf
        assert sdf is not None
        begin_s = time.process_time()
        code = vae.Encode(sdfs_to_batch([sdf]))
        seconds.append(time.process_time() - begin_s)
        tokens.append([len(gather_blocks(code.feats, code.coords, b)[0]) for b in BLOCKS])
    counts = np.array(tokens)
    cells = " | ".join(f"{c.mean():.0f} ({c.max()})" for c in counts.T)
    return f"| {resolution} | {np.median(seconds):.3f} | {cells} |"


def steps_per_second(
    branch: Qwen3VLWith3DBranch, items: Any, *, batch_size: int, steps: int
) -> float:
    """Steps of AdamW a second of processor time, collation and encoding included."""
    learned = [p for p in branch.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4)
    branch.train()
    begin_s = 0.0
    for step in range(steps + 1):
        if step == 1:  # the first one warms up
            begin_s = time.process_time()
        chosen = [items[(step * batch_size + k) % len(items)] for k in range(batch_size)]
        branch(**collate_3d_text(chosen)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return steps / (time.process_time() - begin_s)


def measure_steps(arguments: argparse.Namespace) -> Sequence[str]:
    """Rows: each block, extracted and raw."""
    vae = embedded_vqvae()
    if arguments.vl_model:
        language, tokenizer = load_vl_model(arguments.vl_model)
    else:
        tokenizer = build_words_tokenizer(vocabulary_texts(50, seed=77))
        language = new_language_model(LanguageArgs(), tokenizer)
    source = GeneratedShapes(vae.config, num=arguments.parts, seed=HELD_OUT_SEED)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        begin_s = time.process_time()
        extract_latents(source, vae, folder)
        extract_s = (time.process_time() - begin_s) / len(source)
        folder_items = ShapeItems(LatentFolder(Path(folder)), tokenizer)
        raw_items = ShapeItems([source[k] for k in range(len(source))], tokenizer)
        hidden = int(language.get_input_embeddings().embedding_dim)  # type: ignore[operator]
        for block in BLOCKS:
            projector = Projector3D(vae.config.latent_dim * block**3, hidden, 2)
            branch = Qwen3VLWith3DBranch(language, projector, vae, block=block)
            speeds = [
                steps_per_second(
                    branch, items, batch_size=arguments.batch_size, steps=arguments.steps
                )
                for items in (folder_items, raw_items)
            ]
            rows.append(f"| {block} | {speeds[0]:.2f} | {speeds[1]:.2f} |")
    rows.append(f"\nExtraction once: {extract_s:.3f} s a part, drawing and SDF included.")
    return rows


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--vl_model", help="folder; a small one with random weights by default")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| R | encode s, median | " + " | ".join(f"tokens, block {b}" for b in BLOCKS) + " |")
    print("|---" * (2 + len(BLOCKS)) + "|")
    for resolution in arguments.resolutions:
        print(measure_encoding(resolution, arguments.parts), flush=True)
    print(f"\n| block | steps/s extracted, batch {arguments.batch_size} | steps/s raw |")
    print("|---|---|---|")
    for row in measure_steps(arguments):
        print(row, flush=True)


if __name__ == "__main__":
    main()
