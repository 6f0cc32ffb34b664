"""Supervised training of CADRecode and Cadrille, on generated or finite data.

In: a TrainConfig. Out: a run folder with checkpoints, ``log.jsonl``, ``run.jsonl``,
``recipe.yaml``, TensorBoard's event files and, at the end, ``final/``, a model folder. Not
covered: RL. Command: ``cadwright train recipes/embedded.yaml [key=value ...]``, also under
``torchrun --nproc-per-node N -m cadwright.training.sft`` and ``accelerate launch -m``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PreTrainedTokenizerBase, TrainingArguments

from cadwright.data.stream import DrawSample
from cadwright.errors import CadwrightError, InputError
from cadwright.training.adapters import merge_adapters, prepare_weights
from cadwright.training.arguments import make_arguments
from cadwright.training.callbacks import stop_on_signal, without_library_bars
from cadwright.training.checkpoint import (
    INFO,
    export_model,
    list_checkpoints,
    num_parameters,
    read_info,
)
from cadwright.training.config import TrainConfig, load_config
from cadwright.training.feed import StepFeed
from cadwright.training.guard import TrainingError, explain_memory
from cadwright.training.models import Processor, make_model, resolved
from cadwright.training.progress import Progress
from cadwright.training.runlog import RunLog, write_run_facts
from cadwright.training.setup import make_draws, make_held_out, make_stream, step_samples
from cadwright.training.trainer import ProgramTrainer

__all__ = ["TrainingError", "main", "train"]


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
        TrainingError: loss or gradient is not finite, or memory ran out; the batch is named.
        CheckpointError: a checkpoint does not fit or cannot be written.
        InputError: the data are missing, empty, or give too few usable samples.
    """
    with without_library_bars():
        return _train(config, draw, tokenizer)


def _train(
    config: TrainConfig, draw: DrawSample | None, tokenizer: PreTrainedTokenizerBase | None
) -> Path:
    """See ``train``."""
    if config.threads:
        torch.set_num_threads(config.threads)
    arguments = make_arguments(config)
    newest, info = _find_checkpoint(config, arguments)
    with stop_on_signal() as stop:
        trainer = _set_up(config, arguments, newest, info, draw, tokenizer, stop)
        with trainer.run_log, explain_memory(config):
            if trainer.progress.step < config.iterations:
                trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
    is_main = trainer.is_world_process_zero()
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()
    newest = list_checkpoints(Path(config.output_dir))[-1]
    if _is_unfinished(trainer):
        return newest
    final = Path(config.output_dir) / "final"
    if is_main:
        _export(final, newest, trainer)
    return final


def _find_checkpoint(
    config: TrainConfig, arguments: TrainingArguments
) -> tuple[Path | None, dict[str, Any]]:
    """The newest whole checkpoint and what it says of itself, if there is one."""
    checkpoints = list_checkpoints(Path(config.output_dir))
    if not checkpoints:
        if old := sorted(Path(config.output_dir).glob("ckpt-*")):
            raise InputError(
                f"'{config.output_dir}' holds checkpoints of an earlier version: choose another "
                f"output_dir, and init_from={old[-1]} to go on from its weights"
            )
        return None, {}
    if not config.resume:
        raise InputError(
            f"'{config.output_dir}' already holds a run: set resume, or another output_dir"
        )
    info = read_info(
        checkpoints[-1], config, step_samples=step_samples(config, arguments.world_size)
    )
    return checkpoints[-1], info


def _set_up(
    config: TrainConfig,
    arguments: TrainingArguments,
    newest: Path | None,
    info: dict[str, Any],
    draw: DrawSample | None,
    tokenizer: PreTrainedTokenizerBase | None,
    stop: list[int],
) -> ProgramTrainer:
    """Model, data and trainer, fresh or as they stood at a checkpoint."""
    source = newest if newest is not None and not config.lora_rank else config.init_from
    model, processor = make_model(config, source, tokenizer)
    config = resolved(config, model, processor)
    model = prepare_weights(model, config)
    progress = Progress.from_values(info["progress"]) if info else Progress()
    training, evaluation = make_draws(config, num_points=processor.num_points, draw=draw)
    stream = make_stream(
        config,
        training,
        processor,
        rank=arguments.process_index,
        num_ranks=arguments.world_size,
    )
    feed = StepFeed(
        stream, progress, workers=config.workers, max_failed_share=config.max_failed_share
    )
    log = RunLog(
        Path(config.output_dir),
        step=progress.step,
        total=config.iterations,
        silent=arguments.process_index > 0,
    )
    trainer = ProgramTrainer(
        config,
        arguments,
        model=model,
        processor=processor,
        feed=feed,
        held_out=make_held_out(config, evaluation, processor),
        log=log,
        stop=stop,
    )
    if arguments.process_index == 0:
        write_run_facts(Path(config.output_dir), config)
    log.note(_first_line(config, arguments, model, processor, newest, progress.step))
    return trainer


def _first_line(
    config: TrainConfig,
    arguments: TrainingArguments,
    model: Any,
    processor: Processor,
    newest: Path | None,
    step: int,
) -> str:
    """What is trained, on what, from where."""
    return (
        f"{num_parameters(model) / 1e6:.2f}M parameters on {arguments.device}, "
        f"{torch.get_num_threads()} threads, {arguments.world_size} process(es) of "
        f"{config.accumulation} x {config.batch_size} samples, step {step} of {config.iterations}"
        + (f", resumed from {newest}" if newest else "")
    )


def _is_unfinished(trainer: ProgramTrainer) -> bool:
    """Whether it was stopped by time or by a person, not by its end or its patience."""
    config, state = trainer.config, trainer.state
    if trainer.progress.step >= config.iterations:
        return False
    patience = config.patience * config.eval_every
    return not (patience and trainer.progress.step - (state.best_global_step or 0) >= patience)


def _export(final: Path, newest: Path, trainer: ProgramTrainer) -> None:
    """The best checkpoint, or the newest, as a model folder for inference."""
    config, source = trainer.config, newest
    best = json.loads((newest / INFO).read_text(encoding="utf-8"))["best_step"]
    if config.best_metric and best:
        source = newest.with_name(f"checkpoint-{best}")
        trainer.run_log.note(f"best {config.best_metric} at step {best}")
    base = config.init_from if config.lora_rank else source
    model, processor = make_model(config, base, None)
    if config.lora_rank:
        model = merge_adapters(model, source)
    model.config.use_cache = True
    export_model(final, model=model, processor=processor, dtype=config.export_dtype)


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
    finally:
        if PartialState._shared_state:
            PartialState().destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
