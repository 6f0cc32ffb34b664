"""What more samples and a larger model would buy: held-out loss and IoU at two model sizes.

Both sizes are trained from random weights on the same stream of the generator, at a rate that does
not fall, with the recipe of the embedded default; validation on the same held-out parts gives a
line each time. Out: a markdown table. Runs are resumed where they were stopped.

    python benchmarks/scaling.py --out runs/scaling --steps 1500 --every 250

About 40 minutes on two cores. ``--out`` of a finished pair of runs prints its table again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cadwright.training.config import load_config
from cadwright.training.sft import train

RECIPE = Path(__file__).parent.parent / "recipes" / "embedded.yaml"
SIZES: dict[str, dict[str, int]] = {
    "small": {
        "hidden_size": 96, "num_layers": 4, "num_heads": 3, "num_kv_heads": 3,
        "intermediate_size": 256,
    },
    "large": {
        "hidden_size": 192, "num_layers": 6, "num_heads": 6, "num_kv_heads": 3,
        "intermediate_size": 512,
    },
}  # fmt: skip


def run(folder: Path, shape: dict[str, int], steps: int, every: int) -> None:
    """Train one size, or go on with it."""
    settings: dict[str, Any] = {
        **shape, "output_dir": str(folder), "iterations": steps, "warmup": 40,
        "decay_iterations": 1, "init_from": None, "eval_every": every, "eval_samples": 256,
        "eval_programs": 64, "save_every": every, "keep_last": 1, "tensorboard": False,
    }  # fmt: skip
    config = load_config(RECIPE, [f"{key}={_word(value)}" for key, value in settings.items()])
    train(config)


def _word(value: Any) -> str:
    return "null" if value is None else str(value)


def read(folder: Path, batch_size: int) -> dict[int, dict[str, float]]:
    """Samples seen -> what validation found."""
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {one["step"] * batch_size: one for one in records if "eval_loss" in one}


def to_table(found: dict[str, dict[int, dict[str, float]]], weights: dict[str, int]) -> str:
    """Markdown, a line for each number of samples."""
    names = list(found)
    head = " | ".join(f"{weights[name] / 1e6:.1f}M: loss | IoU" for name in names)
    lines = [f"| samples seen | {head} |", f"|---{'|---' * 2 * len(names)}|"]
    for samples in sorted(set.intersection(*(set(rows) for rows in found.values()))):
        cells = [
            f"{found[name][samples]['eval_loss']:.2f} | {found[name][samples]['eval_iou']:.3f}"
            for name in names
        ]
        lines.append(f"| {samples} | {' | '.join(cells)} |")
    return "\n".join(lines)


def count_weights(folder: Path) -> int:
    """Numbers in a run's final model."""
    from safetensors import safe_open

    with safe_open(folder / "final" / "model.safetensors", framework="np") as file:
        return sum(file.get_tensor(name).size for name in file.keys())


def main() -> None:
    """Train both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the two runs")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=250, help="steps between validations")
    options = parser.parse_args()
    for name, shape in SIZES.items():
        if not (options.out / name / "final").is_dir():
            run(options.out / name, shape, options.steps, options.every)
    batch_size = load_config(RECIPE, []).batch_size
    found = {name: read(options.out / name, batch_size) for name in SIZES}
    print(to_table(found, {name: count_weights(options.out / name) for name in SIZES}))


if __name__ == "__main__":
    main()
