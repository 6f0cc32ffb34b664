"""Mixed batches of Cadrille against single calls, and what rendering and collating an item cost.

In: a random Cadrille on Qwen2-VL (small, float32) and the 12 parts in ``tests/golden/shapes``.
Out: two markdown tables. The first holds parts a second of one mixed batch of points, pictures and
text against as many single calls of the same weights on the same prompts in the same run, each
program of as many tokens, and whether both wrote the same tokens. The second holds milliseconds
an item beside the published ones. Random weights cost what trained ones do; they only never stop.
Processor seconds are of all threads together, and do not count what other programs take.

    python benchmarks/cadrille.py --threads 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from cadwright.geometry.frames import normalise, placement_to_model, placement_to_unit
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.mesh_to_points import mesh_to_points
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.models.cadrille import Cadrille, CadrilleConfig, CadrilleProcessor, Conversation
from cadwright.types import Mesh

Result = TypeVar("Result")

SHAPES = Path(__file__).parent.parent / "tests" / "golden" / "shapes"
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
SENTENCE = "a plate of length a and width b with four round holes of radius c in its corners"
NUM_POINTS, VOCABULARY = 256, 2_000
PUBLISHED = {
    "render four views": "1000 (Open3D, published loader)",
    "sample 8192 points, keep 256": "12 (pytorch3d, 85 meshes a second)",
}


def small_model(width: int, layers: int) -> tuple[Cadrille, CadrilleProcessor]:
    """Random weights, the published picture of 400 patches, a vocabulary of words."""
    words = [*SPECIAL, "<unk>", "user", "assistant", *sorted(set(SENTENCE.split()))]
    words += [f"w{k}" for k in range(VOCABULARY - len(words))]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token=SPECIAL[0], eos_token=SPECIAL[2]
    )
    heads = width // 64
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}
    text = {
        "vocab_size": len(words), "hidden_size": width, "intermediate_size": 3 * width,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2), "max_position_embeddings": 2048,
        "rope_parameters": rope, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    vision = {"depth": 4, "embed_dim": width // 2, "num_heads": 2, "hidden_size": width}
    config = CadrilleConfig(
        text_config=text, vision_config=vision, num_points=NUM_POINTS, vision_start_token_id=3,
        vision_end_token_id=4, image_token_id=5, video_token_id=6,
    )  # fmt: skip
    torch.manual_seed(0)
    return Cadrille(config).eval(), CadrilleProcessor(tokenizer, num_points=NUM_POINTS)


def mixed_rows(meshes: list[Mesh], num: int) -> list[Conversation]:
    """Points, a picture, words, points, ... of the parts in turn."""
    rows = []
    for k in range(num):
        mesh = meshes[k % len(meshes)]
        if k % 3 == 0:
            placed = normalise(mesh, placement_to_model(mesh.bounds))
            points = mesh_to_points(placed, num_points=NUM_POINTS, seed=k)
            rows.append(Conversation(points=points))
        elif k % 3 == 1:
            views = mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds)))
            rows.append(Conversation(picture=views))
        else:
            rows.append(Conversation(questions=(f"{SENTENCE} w{k}",)))
    return rows


def compare(
    model: Cadrille, processor: CadrilleProcessor, rows: list[Conversation], num_tokens: int
) -> tuple[Spent, Spent, int]:
    """What the batch took, what the single calls took, and rows that both answer alike."""
    settings: dict[str, Any] = {
        "do_sample": False, "eos_token_id": None, "max_new_tokens": num_tokens,
        "min_new_tokens": num_tokens,
    }  # fmt: skip

    def write(items: list[Conversation]) -> list[list[int]]:
        with torch.inference_mode():
            ids = model.generate(**processor(items), **settings)
        return [row[-num_tokens:].tolist() for row in ids]

    write(rows[:3])  # the first call allocates
    together, batch = timed(lambda: write(rows))
    alone, single = timed(lambda: [write([row])[0] for row in rows])
    return batch, single, sum(one == two for one, two in zip(together, alone, strict=True))


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the clock, and of the processor."""

    wall_s: float
    cpu_s: float


def timed(action: Callable[[], Result]) -> tuple[Result, Spent]:
    """What an action gives, and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    return result, Spent(time.perf_counter() - wall, time.process_time() - cpu)


def item_costs(
    meshes: list[Mesh], processor: CadrilleProcessor, rows: list[Conversation]
) -> dict[str, float]:
    """Milliseconds an item of what comes before the model."""
    in_unit = [normalise(mesh, placement_to_unit(mesh.bounds)) for mesh in meshes]
    in_model = [normalise(mesh, placement_to_model(mesh.bounds)) for mesh in meshes]
    mesh_to_views(in_unit[0])  # compiles, or loads what was compiled
    views = [row for row in rows if row.picture is not None]
    return {
        "render four views": _ms(lambda: [mesh_to_views(mesh) for mesh in in_unit], len(meshes)),
        "sample 8192 points, keep 256": _ms(
            lambda: [mesh_to_points(mesh, num_points=NUM_POINTS, seed=0) for mesh in in_model],
            len(meshes),
        ),
        "collate, mixed batch": _ms(lambda: processor(rows), len(rows)),
        "collate, pictures only": _ms(lambda: processor(views), len(views)),
    }


def _ms(action: Callable[[], object], num: int, repeats: int = 3) -> float:
    """Processor milliseconds an item, the least of a few."""
    return min(timed(action)[1].cpu_s for _ in range(repeats)) / num * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128, help="of each program")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    meshes = [shape.mesh for path in sorted(SHAPES.glob("*.stl")) if (shape := load_shape(path))]
    model, processor = small_model(options.width, options.layers)
    rows = mixed_rows([mesh for mesh in meshes if mesh is not None], options.batch)
    size = sum(np.prod(value.shape) for value in model.parameters()) / 1e6
    print(
        f"Cadrille of {size:.1f}M parameters, {options.tokens} tokens a program, "
        f"{options.threads} threads\n\n"
        "| way | seconds | parts a second | processor seconds |\n|---|---|---|---|",
        flush=True,
    )
    batch, single, same = compare(model, processor, rows, options.tokens)
    ways = {f"one mixed batch of {len(rows)}": batch, f"{len(rows)} single calls": single}
    for way, spent in ways.items():
        rate = len(rows) / spent.wall_s
        print(f"| {way} | {spent.wall_s:.2f} | {rate:.2f} | {spent.cpu_s:.2f} |")
    print(
        f"\n{single.wall_s / batch.wall_s:.1f} times the parts a second, "
        f"{single.cpu_s / batch.cpu_s:.1f} times by the processor; {same} of {len(rows)} rows "
        "have the same tokens both ways\n\n"
        "| step | processor ms an item | published, ms |\n|---|---|---|",
        flush=True,
    )
    costs = item_costs([mesh for mesh in meshes if mesh is not None], processor, rows)
    for step, cost in costs.items():
        print(f"| {step} | {cost:.2f} | {PUBLISHED.get(step, 'no figure')} |")


if __name__ == "__main__":
    main()
