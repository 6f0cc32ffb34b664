"""How good one greedy program is, on held-out parts: what reinforcement learning is to raise.

In: a run. Out: mean IoU and more over the same parts each time, by the same scorer as the
rewards; the best weights so far, kept as a model folder. Not covered: search, several
candidates, other data (evaluation).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from cadwright.errors import InputError
from cadwright.training.checkpoint import export_model
from cadwright.training.rl.parts import Part, fixed_parts, make_source
from cadwright.training.rl.prompts import parts_to_prompts, roll_out, sketch_share
from cadwright.training.rl.state import RLRun
from cadwright.types import Outcome

BEST = "best"


def held_out(run: RLRun) -> list[Part]:
    """This process's share of the evaluation's parts; none where evaluations are off.

    Raises:
        InputError: the folder holds no solid.
    """
    config = run.config
    if not config.eval_every:
        return []
    parts = fixed_parts(make_source(config.eval_meshes, config.eval_seed), config.eval_parts)
    if not parts:
        raise InputError(f"no mesh in '{config.eval_meshes}' is a solid (closed, with a volume)")
    return parts[run.accelerator.process_index :: run.accelerator.num_processes]


def evaluate(run: RLRun, parts: list[Part]) -> float:
    """Log how greedy programs fit, and keep the weights if they are the best so far.

    Returns:
        The seconds it took.
    """
    begin_s = time.perf_counter()
    rows = _gather(greedy_rows(run, parts))
    ious = np.array([row["iou"] for row in rows])
    valid = np.array([row["valid"] for row in rows])
    mean = float(ious.mean())
    progress = run.progress
    if progress.best_iou is None or mean > progress.best_iou:
        progress.best_iou, progress.best_step, progress.bad_evals = mean, progress.step, 0
        if run.accelerator.is_main_process:
            _export(run)
        run.accelerator.wait_for_everyone()
    else:
        progress.bad_evals += 1
    seconds = time.perf_counter() - begin_s
    run.log.write(
        {
            "step": progress.step,
            "eval_iou": mean,
            "eval_iou_median": float(np.median(ious)),
            "eval_invalid_share": float(1.0 - valid.mean()),
            "eval_length": float(np.mean([row["length"] for row in rows])),
            "eval_sketch_share": sketch_share([row["text"] for row in rows]),
            "eval_parts": len(rows),
            "eval_s": seconds,
        }
    )
    return seconds


def greedy_rows(run: RLRun, parts: list[Part]) -> list[dict[str, Any]]:
    """One likeliest program for each part: its text, IoU (0 if invalid), validity, length."""
    config = run.config
    rows: list[dict[str, Any]] = []
    at_once = config.rollout_parts * 4
    for first in range(0, len(parts), at_once):
        some = parts[first : first + at_once]
        seeds = (config.eval_seed,)
        prompts = parts_to_prompts(some, run.processor, inputs=config.inputs, seeds=seeds)
        with run.autocast():
            graded = roll_out(
                run.model, run.processor, some, prompts, run.pool, num_samples=1,
                max_new_tokens=config.max_new_tokens, temperature=0.0, at_once=at_once,
                seeds=seeds,
            )  # fmt: skip
        lengths = graded.rollouts.lengths.tolist()
        for text, grade, length in zip(graded.texts, graded.grades, lengths, strict=True):
            valid = grade.outcome is Outcome.OK
            rows.append({"iou": grade.iou, "valid": valid, "length": length, "text": text})
    return rows


def _gather(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all processes, in all of them."""
    from accelerate.utils import gather_object

    return list(gather_object(rows))


def _export(run: RLRun) -> None:
    export_model(
        run.run_dir / BEST,
        model=run.model,
        processor=run.processor,
        dtype=run.config.export_dtype,
    )
