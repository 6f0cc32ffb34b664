"""Supervised training of CADRecode on the generator's stream.

In: a TrainConfig. Out: a run folder with checkpoints, ``log.jsonl``, ``run.jsonl``,
``recipe.yaml`` and, at the end, ``final/``, a model folder. Not covered: several machines, RL.
Command: ``python -m cadwright.training.sft recipes/embedded.yaml [key=value ...]``.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedTokenizerBase

from cadwright.data.collate import NO_LOSS, Batch
from cadwright.data.stream import DrawSample, Pool, SampleStream, stream_pools
from cadwright.errors import CadwrightError, InputError
from cadwright.models import CADRecode, CADRecodeProcessor
from cadwright.training.checkpoint import (
    export_model,
    list_checkpoints,
    load_checkpoint,
    num_parameters,
    read_info,
    save_checkpoint,
)
from cadwright.training.config import TrainConfig, load_config
from cadwright.training.optimizer import make_optimizers, set_lr_share
from cadwright.training.runlog import RunLog, write_run_facts
from cadwright.training.schedule import step_to_lr_share
from cadwright.training.setup import (
    default_draw,
    make_held_out,
    make_model,
    make_stream,
    pick_device,
)


class TrainingError(CadwrightError):
    """Training cannot go on."""


@dataclass(slots=True)
class Progress:
    """Counters of a run, kept across resumes.

    Attributes:
        step: optimizer steps done.
        samples: samples seen.
        drawn: draws of the pools that were opened.
        failed: draws that gave no sample.
        too_long: samples beyond ``max_tokens``.
        train_s: seconds spent in the loop.
        best_eval_loss: lowest validation loss so far, None before the first.
    """

    step: int = 0
    samples: int = 0
    drawn: int = 0
    failed: int = 0
    too_long: int = 0
    train_s: float = 0.0
    best_eval_loss: float | None = None


@dataclass(slots=True)
class _Window:
    """Sums since the last log line."""

    loss: float = 0.0
    targets: int = 0
    samples: int = 0
    positions: int = 0
    padding: int = 0
    wait_s: float = 0.0
    grad_norm: float = 0.0
    steps: int = 0
    start_s: float = field(default_factory=time.perf_counter)


@dataclass(slots=True)
class _Run:
    """What the loop works with."""

    config: TrainConfig
    model: CADRecode
    processor: CADRecodeProcessor
    optimizers: dict[str, Optimizer]
    device: torch.device
    log: RunLog
    progress: Progress
    held_out: list[Batch]

    @property
    def run_dir(self) -> Path:
        return Path(self.config.output_dir)


def train(
    config: TrainConfig,
    *,
    draw: DrawSample | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Path:
    """Train, or go on with a training that was stopped.

    Args:
        config: the settings.
        draw: (seed, index) to a sample, points (P, 3) in the MODEL frame; the project's
            generator if left out. Must be picklable where ``config.workers`` is not 0.
        tokenizer: of the model; if left out the one the recipe names, or that of the folder
            the training starts from, or the embedded default's.

    Returns:
        The run folder's ``final/``, or the newest checkpoint where time ran out first or
        the run was interrupted.

    Raises:
        TrainingError: loss or gradient is not finite; the batch is named.
        CheckpointError: a checkpoint does not fit or cannot be written.
        InputError: the stream gives too few usable samples.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    run_dir = Path(config.output_dir)
    run, stream = _set_up(config, draw or default_draw(config), tokenizer)
    write_run_facts(run_dir, config)
    with run.log, _stop_on_signal() as stop:
        finished = _loop(run, stream, stop)
        newest = _save(run)
    if not finished:
        return newest
    final = run_dir / "final"
    export_model(final, model=run.model, processor=run.processor, dtype=config.export_dtype)
    return final


def _set_up(
    config: TrainConfig, draw: DrawSample, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[_Run, SampleStream]:
    """Model, optimizers and stream, fresh or from the newest checkpoint."""
    run_dir = Path(config.output_dir)
    checkpoints = list_checkpoints(run_dir)
    if checkpoints and not config.resume:
        raise InputError(f"'{run_dir}' already holds a run: set resume, or another output_dir")
    newest = checkpoints[-1] if checkpoints else None
    if newest:
        read_info(newest, config)  # before the slower parts, and with the clearer message
    model, processor = make_model(config, newest or config.init_from, tokenizer)
    device = pick_device(config.device)
    model.to(device)
    optimizers = make_optimizers(model, config)
    progress = Progress()
    if newest:
        step, saved = load_checkpoint(newest, optimizers=optimizers, config=config)
        progress = Progress(**{**saved, "step": step})
    stream = make_stream(config, draw, processor)
    held_out = make_held_out(config, draw, processor)
    log = RunLog(run_dir, step=progress.step, total=config.iterations)
    log.note(
        f"{num_parameters(model) / 1e6:.2f}M parameters on {device}, "
        f"{torch.get_num_threads()} threads, step {progress.step} of {config.iterations}"
        + (f", resumed from {newest}" if newest else "")
    )
    return _Run(config, model, processor, optimizers, device, log, progress, held_out), stream


def _loop(run: _Run, stream: SampleStream, stop: list[int]) -> bool:
    """Step until done; True if all iterations were made."""
    config, progress = run.config, run.progress
    window, begin_s, before_s = _Window(), time.perf_counter(), progress.train_s
    batches = _batches_from(stream, progress, config)
    while progress.step < config.iterations:
        wait_from = time.perf_counter()
        batch = next(batches)
        window.wait_s += time.perf_counter() - wait_from
        _step(run, batch, window)
        progress.train_s = before_s + time.perf_counter() - begin_s
        if progress.step % config.log_every == 0:
            run.log.write(_window_to_record(run, window))
            window = _Window()
        if config.eval_every and progress.step % config.eval_every == 0:
            window.start_s += _validate(run)
        if progress.step % config.save_every == 0 and progress.step < config.iterations:
            _save(run)
        if stop or _is_over(config, begin_s):
            run.log.note(f"stopped at step {progress.step}")
            return progress.step >= config.iterations
    return True


def _is_over(config: TrainConfig, begin_s: float) -> bool:
    """Whether this call has used its minutes."""
    return bool(config.max_minutes) and time.perf_counter() - begin_s > 60 * config.max_minutes


def _batches_from(stream: SampleStream, progress: Progress, config: TrainConfig) -> Iterator[Batch]:
    """Batches from ``progress.step`` on; lost draws are counted as pools are opened."""
    number, done = divmod(progress.step, config.pool_batches)
    for pool in stream_pools(stream, first=number, workers=config.workers):
        if not done:
            _count(progress, pool)
        yield from pool.batches[done:]
        done = 0


def _count(progress: Progress, pool: Pool) -> None:
    """Add a pool's losses."""
    progress.drawn += pool.num_drawn
    progress.failed += pool.num_failed
    progress.too_long += pool.num_too_long


def _step(run: _Run, batch: Batch, window: _Window) -> None:
    """Forward, backward, clip, update."""
    config, progress = run.config, run.progress
    set_lr_share(run.optimizers.values(), step_to_lr_share(progress.step, config))
    loss = _batch_loss(run, batch)
    loss.backward()
    limit = config.clip or math.inf
    norm = float(torch.nn.utils.clip_grad_norm_(run.model.parameters(), limit))
    value = loss.item()
    if not (math.isfinite(value) and math.isfinite(norm)):
        raise TrainingError(
            f"step {progress.step + 1}: loss {value}, gradient norm {norm}, on the batch of "
            f"draws {batch.indices.tolist()} of seed {config.seed}; the last checkpoint is good"
        )
    for optimizer in run.optimizers.values():
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    progress.step += 1
    progress.samples += len(batch.indices)
    _add(window, batch, value, norm)


def _batch_loss(run: _Run, batch: Batch) -> Tensor:
    """Mean loss a token, in nats."""
    labels = torch.from_numpy(batch.labels)
    # Logits only where a next token is to be told: not at points, not at padding.
    told = torch.nn.functional.pad(labels[:, 1:] != NO_LOSS, (0, 1))
    inputs = {
        "input_ids": torch.from_numpy(batch.input_ids),
        "attention_mask": torch.from_numpy(batch.attention_mask),
        "point_cloud": torch.from_numpy(batch.point_cloud),
        "labels": labels,
        "logits_to_keep": told,
    }
    inputs = {name: value.to(run.device) for name, value in inputs.items()}
    half = run.config.dtype == "bfloat16"
    with torch.autocast(run.device.type, torch.bfloat16, enabled=half):
        loss: Tensor = run.model(**inputs).loss
    return loss


def _add(window: _Window, batch: Batch, loss: float, grad_norm: float) -> None:
    """One step into the sums."""
    window.loss += loss * batch.num_targets
    window.targets += batch.num_targets
    window.samples += len(batch.indices)
    window.positions += batch.input_ids.size
    window.padding += batch.num_padding
    window.grad_norm += grad_norm
    window.steps += 1


def _window_to_record(run: _Run, window: _Window) -> dict[str, Any]:
    """A line of the log."""
    progress, seconds = run.progress, time.perf_counter() - window.start_s
    lost = progress.failed + progress.too_long
    return {
        "step": progress.step,
        "loss": window.loss / window.targets,
        "lr_share": step_to_lr_share(progress.step - 1, run.config),
        "grad_norm": window.grad_norm / window.steps,
        "samples_per_s": window.samples / seconds,
        "tokens_per_s": window.targets / seconds,
        "padding_share": window.padding / window.positions,
        "data_wait_share": window.wait_s / seconds,
        "lost_draws_share": lost / max(progress.drawn, 1),
        "samples": progress.samples,
        "elapsed_s": progress.train_s,
    }


@torch.no_grad()
def _validate(run: _Run) -> float:
    """Loss a token on the held-out batches, logged; returns the seconds it took."""
    begin_s = time.perf_counter()
    run.model.eval()
    total = sum(_batch_loss(run, batch).item() * batch.num_targets for batch in run.held_out)
    loss = total / sum(batch.num_targets for batch in run.held_out)
    run.model.train()
    best = run.progress.best_eval_loss
    run.progress.best_eval_loss = loss if best is None else min(best, loss)
    seconds = time.perf_counter() - begin_s
    run.log.write({"step": run.progress.step, "eval_loss": loss, "eval_s": seconds})
    return seconds


def _save(run: _Run) -> Path:
    """A checkpoint of now."""
    progress = {name: getattr(run.progress, name) for name in Progress.__slots__}
    folder = save_checkpoint(
        run.run_dir,
        step=run.progress.step,
        model=run.model,
        processor=run.processor,
        optimizers=run.optimizers,
        config=run.config,
        progress=progress,
    )
    run.log.note(f"saved {folder}")
    return folder


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """A list that holds a signal's number once SIGINT or SIGTERM has come."""
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {n: signal.signal(n, lambda number, _: caught.append(number)) for n in numbers}
    except ValueError:  # not the main thread: signals are the caller's affair
        before = {}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(words: Sequence[str] | None = None) -> int:
    """Command line: a recipe, then overrides."""
    words = sys.argv[1:] if words is None else words
    try:
        if not words:
            raise CadwrightError("usage: python -m cadwright.training.sft RECIPE.yaml [key=value]")
        train(load_config(words[0], words[1:]))
    except CadwrightError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
