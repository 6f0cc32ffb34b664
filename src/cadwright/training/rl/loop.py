"""Reinforcement learning, iteration by iteration: sample, grade, learn from what differs.

In: an RLConfig. Out: a run folder with checkpoints, ``log.jsonl``, ``run.jsonl``,
``recipe.yaml``, ``best/`` and, at the end, ``final/``, model folders. Dr. CPPO as cadrille
describes it (arXiv 2505.22914, section 4.4), or GRPO. Not covered: the optimizer steps on a set of
programs (update), the command (run).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from cadwright.training.callbacks import stop_on_signal, without_library_bars
from cadwright.training.checkpoint import export_model
from cadwright.training.guard import TrainingError
from cadwright.training.rl.config import RLConfig
from cadwright.training.rl.evaluation import BEST, evaluate, held_out
from cadwright.training.rl.prompts import Graded, parts_to_prompts, roll_out, sketch_share
from cadwright.training.rl.state import RLRun, save_checkpoint, set_up
from cadwright.training.rl.update import Record, learn, lr_share
from cadwright.training.runlog import write_run_facts
from cadwright.types import Outcome


def train(config: RLConfig) -> Path:
    """Train, or go on with a training that was stopped; see ``rl.train_rl``."""
    if config.threads:
        torch.set_num_threads(config.threads)
    with without_library_bars(), stop_on_signal() as stop:
        run = set_up(config)
        if run.accelerator.is_main_process:
            write_run_facts(run.run_dir, config)  # type: ignore[arg-type]
        with run.log, run.pool:
            finished = _loop(run, stop)
            newest = save_checkpoint(run)
    final = run.run_dir / "final"
    if finished and run.accelerator.is_main_process:
        _finish(run, final)
    run.accelerator.wait_for_everyone()
    return final if finished else newest


def _loop(run: RLRun, stop: list[int]) -> bool:
    """Iterate until done; True where the run is complete, early or not."""
    config, progress = run.config, run.progress
    begin_s, before_s = time.perf_counter(), progress.train_s
    parts = held_out(run)
    if config.eval_every and progress.best_iou is None:
        evaluate(run, parts)
    while progress.step < config.iterations:
        with _out_of_memory_told(run):
            record = _iterate(run)
        progress.train_s = before_s + time.perf_counter() - begin_s
        if progress.step % config.log_every == 0:
            run.log.write({"step": progress.step, **record, "elapsed_s": progress.train_s})
        last = progress.step >= config.iterations
        if config.eval_every and (last or progress.step % config.eval_every == 0):
            evaluate(run, parts)
        if reason := _why_end(run, record):
            run.log.note(f"ended at iteration {progress.step}: {reason}")
            return True
        if progress.step % config.save_every == 0 and not last:
            save_checkpoint(run)
        if _any(run, bool(stop) or _is_over(config, begin_s)) and not last:
            run.log.note(f"stopped at iteration {progress.step}")
            return False
    return True


def _iterate(run: RLRun) -> Record:
    """One set of programs, and the updates on it; figures for the log."""
    config, step = run.config, run.progress.step
    rank = run.accelerator.process_index
    begin_s = time.perf_counter()
    parts = run.chooser.choose(step, config.parts)
    seeds = (config.seed, step, rank)
    prompts = parts_to_prompts(
        parts, run.processor, inputs=config.inputs, seeds=seeds,
        noise_std=config.noise_std, noise_probability=config.noise_probability,
    )  # fmt: skip
    shown_s = time.perf_counter()
    with run.autocast():
        graded = roll_out(
            run.model, run.processor, parts, prompts, run.pool, num_samples=config.samples,
            max_new_tokens=config.max_new_tokens, temperature=config.temperature,
            at_once=config.rollout_parts, seeds=seeds,
        )  # fmt: skip
    rolled_s = time.perf_counter()
    rewards = graded.rewards(invalid=config.invalid_reward)
    for part, mean in zip(parts, rewards.mean(dim=1).tolist(), strict=True):
        run.chooser.learn(part, mean)
    learned = learn(run, graded, rewards)
    end_s = time.perf_counter()
    run.progress.step += 1
    run.progress.programs += len(graded.grades) * run.accelerator.num_processes
    record = _mean_record(run, {**_describe(graded, rewards), **learned})
    if run.progress.start_length is None:
        run.progress.start_length = record["length"]
    return {
        **record,
        "lr_share": lr_share(step, config),
        "hard_share": sum(part.is_hard for part in parts) / len(parts),
        "hard_parts": len(run.chooser.hard),
        "programs": run.progress.programs,
        "show_s": shown_s - begin_s,
        "roll_out_s": rolled_s - shown_s,
        "learn_s": end_s - rolled_s,
        "programs_per_s": len(graded.grades) * run.accelerator.num_processes / (end_s - begin_s),
    }


def _describe(graded: Graded, rewards: Tensor) -> Record:
    """Figures of one set of programs."""
    grades, rollouts = graded.grades, graded.rollouts
    valid = [grade.iou for grade in grades if grade.outcome is Outcome.OK]
    num = len(grades)
    timeouts = sum(grade.outcome in (Outcome.TIMEOUT, Outcome.CRASH) for grade in grades)
    distinct = len({tuple(row) for row in rollouts.ids.tolist()})
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std(dim=1, correction=0).mean()),
        "iou": sum(valid) / num,
        "best_iou": float((rewards.max(dim=1).values / 10.0).clamp_min(0.0).mean()),
        "invalid_share": 1.0 - len(valid) / num,
        "cut_off_share": 1.0 - float(rollouts.ended.float().mean()),
        "timeout_share": timeouts / num,
        "distinct_share": distinct / num,
        "length": float(rollouts.lengths.float().mean()),
        "entropy": rollouts.entropy,
        "sketch_share": sketch_share(graded.texts),
    }


def _mean_record(run: RLRun, record: Record) -> Record:
    """Means over the processes."""
    if run.accelerator.num_processes == 1:
        return record
    values = torch.tensor(list(record.values()), device=run.accelerator.device)
    means = run.accelerator.reduce(values, reduction="mean").tolist()
    return dict(zip(record, means, strict=True))


@contextmanager
def _out_of_memory_told(run: RLRun) -> Iterator[None]:
    """Say which settings to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        config = run.config
        raise TrainingError(
            f"iteration {run.progress.step + 1}: {run.accelerator.device} has too little memory; "
            f"lower rollout_parts={config.rollout_parts} or loss_parts={config.loss_parts}; "
            "the last checkpoint is good"
        ) from error


def _any(run: RLRun, here: bool) -> bool:
    """Whether it is so in any process."""
    if run.accelerator.num_processes == 1:
        return here
    flag = torch.tensor(float(here), device=run.accelerator.device)
    return bool(run.accelerator.reduce(flag, reduction="sum") > 0)


def _is_over(config: RLConfig, begin_s: float) -> bool:
    """Whether this call has used its minutes."""
    return bool(config.max_minutes) and time.perf_counter() - begin_s > 60 * config.max_minutes


def _why_end(run: RLRun, record: Record) -> str:
    """Why going on would do no good; empty where it may."""
    config, progress = run.config, run.progress
    least = config.least_length_share * (progress.start_length or 0.0)
    # Junk is long, too: while held-out parts fare better, shorter programs are no collapse.
    if record["length"] < least and (progress.bad_evals or not config.eval_every):
        return (
            f"programs have collapsed to {record['length']:.0f} tokens, from "
            f"{progress.start_length:.0f}; set entropy_weight or a lower lr"
        )
    if config.patience and progress.bad_evals >= config.patience:
        return f"no better evaluation since iteration {progress.best_step}"
    return ""


def _finish(run: RLRun, final: Path) -> None:
    """The best weights, where they were looked for, else the last."""
    best = run.run_dir / BEST
    if run.config.eval_every and best.is_dir():
        draft = final.with_name(f".draft-{final.name}")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(best, draft)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
        return
    dtype = run.config.export_dtype
    export_model(final, model=run.model, processor=run.processor, dtype=dtype)
