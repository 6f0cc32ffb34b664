"""How fast training is: against a plain padded loop, against the generator, against a GPU's peak.

Both loops train the same model on the same samples, in turn, in one run, one thread; times are
those of the processor (``time.process_time``). Other work on the machine still slows it down, now
more, now less, so the loops take turns for some rounds, and medians over the rounds are shown.

    python benchmarks/training.py [--steps 12] [--batch-size 16] [--rounds 3]
    python benchmarks/training.py --gpu recipes/embedded_gpu.yaml
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cadwright.training.sft as sft
from cadwright.models.cad_recode.tokenizer import load_tokenizer
from cadwright.synth.generate import sample_at
from cadwright.training.config import TrainConfig, load_config
from cadwright.training.models import make_model
from cadwright.training.optimizer import make_optimizer
from cadwright.training.trainer import ProgramTrainer
from cadwright.types import Sample

SMALL = {"hidden_size": 192, "num_layers": 6, "num_heads": 6, "num_kv_heads": 3,
         "intermediate_size": 512, "num_points": 96}  # fmt: skip
FIVE_MILLION = {"hidden_size": 256, "num_layers": 6, "num_heads": 4, "num_kv_heads": 2,
                "intermediate_size": 688, "num_points": 128}  # fmt: skip
MAX_TOKENS = 144  # as in recipes/embedded.yaml
WARM = 2  # steps that are not timed


class FromList:
    """Samples drawn before, as a draw function."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def __call__(self, seed: int, index: int) -> Sample:
        """The samples in turn."""
        return dataclasses.replace(self._samples[index % len(self._samples)], index=index)


def make_config(folder: Path, batch_size: int, steps: int, shape: dict[str, int]) -> TrainConfig:
    """A run of some steps, with nothing but steps."""
    return TrainConfig(
        output_dir=str(folder), **shape, batch_size=batch_size, pool_batches=steps,
        max_tokens=MAX_TOKENS,
        iterations=steps, warmup=2, lr=1e-3, threads=1, workers=0, log_every=1, save_every=10_000,
        eval_every=0, device="cpu", tensorboard=False,
    )  # fmt: skip


def draw_samples(num: int, num_points: int) -> tuple[list[Sample], float]:
    """Samples that the embedded default is trained on, and processor seconds each."""
    tokenizer, samples = load_tokenizer(), []
    begin_s = time.process_time()
    for index in range(4 * num):
        sample = sample_at(0, index, num_points=num_points)
        if sample is not None and len(tokenizer(sample.text)["input_ids"]) + 2 <= MAX_TOKENS:
            samples.append(sample)
        if len(samples) == num:
            break
    return samples, (time.process_time() - begin_s) / len(samples)


def time_ours(config: TrainConfig, samples: list[Sample]) -> tuple[float, float, float]:
    """Tokens a second, seconds a step and the share of padding of ``cadwright train``."""
    marks: list[tuple[float, int]] = []

    class Timed(ProgramTrainer):
        def count_step(self) -> None:
            """Note when a step ends."""
            super().count_step()
            marks.append((time.process_time(), self.progress.window.targets))

    original, sft.ProgramTrainer = sft.ProgramTrainer, Timed  # type: ignore[misc]
    try:
        sft.train(config, draw=FromList(samples))
    finally:
        sft.ProgramTrainer = original  # type: ignore[misc]
    lines = (Path(config.output_dir) / "log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    seconds = marks[-1][0] - marks[WARM - 1][0]
    targets = sum(tokens for _, tokens in marks[WARM:])
    padding = float(np.mean([record["padding_share"] for record in records]))
    return targets / seconds, seconds / (len(marks) - WARM), padding


def time_plain(
    config: TrainConfig, samples: list[Sample], *, width: int | None
) -> tuple[float, float, float]:
    """The same of a loop without length groups, kept logits or a dropped mask.

    Args:
        config: of the other loop.
        samples: the same, taken as they come.
        width: tokens that every program is padded to; None for the longest of its batch.
    """
    model, processor = make_model(config, None)
    optimizer = make_optimizer(model, config)
    size, times, padding, targets = config.batch_size, [], [], []
    for first in range(0, len(samples), size):
        begin_s = time.process_time()
        chosen = samples[first : first + size]
        batch = processor(
            points=[s.points for s in chosen], programs=[s.text for s in chosen],
            padding_side="right",
        )  # fmt: skip
        batch = widen(dict(batch), width, processor.pad_token_id)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.process_time() - begin_s)
        padding.append(float(batch["attention_mask"].eq(0).float().mean()))
        targets.append(int(batch["labels"].ne(-100).sum()))
    seconds = sum(times[WARM:])
    rate = sum(targets[WARM:]) / seconds
    return rate, seconds / len(times[WARM:]), float(np.mean(padding))


def widen(batch: dict[str, Any], width: int | None, pad: int) -> dict[str, Any]:
    """Pad a batch to a fixed number of tokens after the points."""
    if width is None:
        return batch
    missing = batch["point_cloud"].shape[1] + width - batch["input_ids"].shape[1]
    for name, value in (("input_ids", pad), ("attention_mask", 0), ("labels", -100)):
        batch[name] = torch.nn.functional.pad(batch[name], (0, missing), value=value)
    return batch


def compare(steps: int, batch_size: int, rounds: int) -> None:
    """The table of the three loops, which take turns; medians over the rounds."""
    samples, _ = draw_samples(steps * batch_size, SMALL["num_points"])
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for name, values in measure_loops(steps, batch_size, samples).items():
            found.setdefault(name, []).append(values)
    print("| loop | tokens/s | s/step | padding | ours is faster by |\n|---|---|---|---|---|")
    ours = [rate for rate, _, _ in found["cadwright train"]]
    for name, of_rounds in found.items():
        rate, seconds, padding = np.median(of_rounds, axis=0)
        ratio = float(np.median([own / row[0] for own, row in zip(ours, of_rounds, strict=True)]))
        print(f"| {name} | {rate:.0f} | {seconds:.3f} | {padding:.1%} | {ratio:.2f} |")


def measure_loops(
    steps: int, batch_size: int, samples: list[Sample]
) -> dict[str, tuple[float, float, float]]:
    """Tokens a second, seconds a step and share of padding of each loop, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(Path(folder), batch_size, steps, SMALL)
        rows: list[tuple[str, Callable[[], tuple[float, float, float]]]] = [
            ("padded to the batch's longest", lambda: time_plain(config, samples, width=None)),
            ("padded to max_tokens", lambda: time_plain(config, samples, width=MAX_TOKENS)),
            ("cadwright train", lambda: time_ours(config, samples)),
        ]
        return {name: measure() for name, measure in rows}


def compare_with_generator(steps: int, batch_size: int) -> None:
    """Does one core that draws keep up with one that trains?"""
    samples, draw_s = draw_samples(steps * batch_size, FIVE_MILLION["num_points"])
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(Path(folder), batch_size, steps, FIVE_MILLION)
        _, seconds, _ = time_ours(config, samples)
    ratio = draw_s * batch_size / seconds
    print(f"\n4.5M parameters: {1000 * draw_s:.1f} ms to draw a sample, "
          f"{1000 * seconds / batch_size:.1f} ms to train on it; data time / step time {ratio:.2f} "
          "(one core draws, one trains: below 1 the generator never starves it)")  # fmt: skip


def measure_gpu(recipe: str, steps: int) -> None:
    """Share of the GPU's peak that a recipe reaches, from its own log."""
    with tempfile.TemporaryDirectory() as folder:
        changes = [f"output_dir={folder}", f"iterations={steps}", "log_every=10", "eval_every=0"]
        sft.train(load_config(recipe, changes))
        lines = (Path(folder) / "log.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    keys = ("samples_per_s", "tokens_per_s", "data_wait_share", "padding_share", "peak_share")
    print("\n" + ", ".join(f"{key} {last[key]:.3g}" for key in keys if key in last))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3, help="turns of the three loops")
    parser.add_argument("--only", choices=["loops", "generator"], help="one table alone")
    parser.add_argument("--gpu", metavar="RECIPE", help="measure a recipe on the GPU instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.gpu:
        measure_gpu(args.gpu, args.steps)
        return
    if args.only != "generator":
        compare(args.steps, args.batch_size, args.rounds)
    if args.only != "loops":
        compare_with_generator(max(args.steps // 2, WARM + 2), args.batch_size)


if __name__ == "__main__":
    main()
