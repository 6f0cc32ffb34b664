"""Mesh to sparse SDF and back, and codes: seconds, memory, exactness, tokens a part.

In: parts of the generator, or the embedded VQ-VAE's shape of network at larger grids. Out: two
markdown tables, in seconds of one core, and the embedded model's score on held-out parts.
Needs the extras ``sdf`` and ``model``.

    python benchmarks/sdf.py --parts 5 --resolutions 64 128 256
    python benchmarks/sdf.py --only score --parts 300
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

import numpy as np
import torch

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_sdf import SdfCost, mesh_to_sdf
from cadwright.geometry.metrics import volume_iou
from cadwright.geometry.sdf_to_mesh import sdf_to_mesh
from cadwright.geometry.surface_distance import points_to_surface
from cadwright.geometry.welding import is_closed
from cadwright.models.vqvae import SparseSDFVQVAE, VqVaeConfig, embedded_vqvae, sdfs_to_batch
from cadwright.synth.generate import draw_solid
from cadwright.training.vqvae.score import score_parts
from cadwright.types import Mesh

CHECKED = 200  # samples whose distance is measured exactly
HELD_OUT_SEED = 1_000_014


def draw_parts(num: int) -> list[Mesh]:
    """The first held-out parts."""
    drawn = (draw_solid(HELD_OUT_SEED, index) for index in range(num))
    return [manifold_to_mesh(solid[1]) for solid in drawn if solid is not None]


def open_mesh(mesh: Mesh) -> Mesh:
    """The mesh without a twentieth of its faces."""
    return Mesh(mesh.vertices, mesh.faces[: -max(1, len(mesh.faces) // 20)])


def measure_sdf(parts: list[Mesh], resolution: int, factor: float) -> str:
    """One row: closed and open parts at a resolution."""
    rows: list[tuple[float, ...]] = []
    for mesh in parts:
        cost = SdfCost()
        begin_s = time.process_time()
        sdf = mesh_to_sdf(mesh, resolution=resolution, threshold_factor=factor, cost=cost)
        closed_s = time.process_time() - begin_s
        begin_s = time.process_time()
        mesh_to_sdf(open_mesh(mesh), resolution=resolution, threshold_factor=factor)
        open_s = time.process_time() - begin_s
        begin_s = time.process_time()
        back = sdf_to_mesh(sdf)
        back_s = time.process_time() - begin_s
        some = np.random.default_rng(0).integers(len(sdf.values), size=CHECKED)
        points = sdf.placement.inverse().apply(sdf.index[some])
        exact = points_to_surface(points, mesh) * sdf.placement.scale
        error = np.abs(np.abs(sdf.values[some]) * sdf.band - exact).max()
        iou = volume_iou(mesh, back) if is_closed(back) else float("nan")
        rows.append((len(sdf.values), closed_s, cost.working_mb, open_s, back_s, error, iou))
    num, seconds, memory, open_s, back_s = np.median(rows, axis=0)[:5]
    worst, iou = max(row[5] for row in rows), min(row[6] for row in rows)
    return (
        f"| {resolution} | {factor:g} | {num:.0f} | {seconds:.3f} | {open_s:.3f} | {memory:.1f} | "
        f"{back_s:.3f} | {worst:.1e} | {iou:.4f} |"
    )


def measure_encoding(parts: list[Mesh], base: VqVaeConfig, resolution: int) -> str:
    """One row: the embedded network, as many levels, on a grid of this resolution."""
    config = dataclasses.replace(base, resolution=resolution >> base.num_levels)
    model = SparseSDFVQVAE(config).eval()
    model.load_state_dict(embedded_vqvae().state_dict())
    encode, decode, tokens, voxels = [], [], [], []
    for mesh in parts:
        sdf = mesh_to_sdf(mesh, resolution=resolution, threshold_factor=config.threshold_factor)
        batch = sdfs_to_batch([sdf])
        begin_s = time.process_time()
        code = model.Encode(batch)
        middle_s = time.process_time()
        voxels.append(len(model.Decode(code).feats))
        encode.append(middle_s - begin_s)
        decode.append(time.process_time() - middle_s)
        tokens.append(len(code.indices))
    return (
        f"| {resolution} | {np.median(encode):.3f} | {np.median(decode):.3f} | "
        f"{np.mean(tokens):.0f} | {np.quantile(tokens, 0.9):.0f} | {max(tokens)} | "
        f"{np.median(voxels):.0f} |"
    )


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", type=int, default=5)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--bands", type=float, nargs="+", default=[1.2, 4.0])
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--only", choices=("sdf", "codes", "score"), help="one of the tables")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    parts = draw_parts(arguments.parts)
    mesh_to_sdf(open_mesh(parts[0]), resolution=16)  # compiles
    mesh_to_sdf(parts[0], resolution=16)
    if arguments.only in (None, "sdf"):
        print(
            "| R | band | samples | s | open: s | working MB | back: s | worst error | IoU, min |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for resolution in arguments.resolutions:
            for factor in arguments.bands:
                print(measure_sdf(parts, resolution, factor), flush=True)
    if arguments.only in (None, "codes"):
        config = embedded_vqvae().config
        print("\n| R | encode s | decode s | tokens, mean | p90 | max | voxels decoded |")
        print("|---|---|---|---|---|---|---|")
        for resolution in arguments.resolutions:
            print(measure_encoding(parts, config, resolution), flush=True)
    if arguments.only in (None, "score"):
        score = score_parts(embedded_vqvae(), seed=HELD_OUT_SEED, num=arguments.parts)
        print("\n" + json.dumps(score.to_record(), indent=2))


if __name__ == "__main__":
    main()
