"""TrainConfig to the TrainingArguments of transformers.

In: a config. Out: arguments for the Trainer; making them finds the device and, under torchrun
or ``accelerate launch``, the other processes. What cadwright does itself is switched off here.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from transformers import TrainingArguments

from cadwright.errors import InputError
from cadwright.optional import require
from cadwright.training.config import TrainConfig

REPORTERS = ("tensorboard", "wandb", "trackio")


def make_arguments(config: TrainConfig) -> TrainingArguments:
    """Arguments of a run.

    Raises:
        InputError: a GPU is asked for and there is none.
        MissingDependencyError: a package to report with is not installed.
    """
    use_cpu = config.device == "cpu" or not torch.cuda.is_available()
    if config.device == "cuda" and use_cpu:
        raise InputError("the setting 'device' is cuda, but torch finds no GPU: use cpu or auto")
    reporters = [name for name in REPORTERS if getattr(config, name)]
    for name in reporters:
        require(name, extra="train" if name == "tensorboard" else name)
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun and accelerate
    evaluation: dict[str, Any] = {"eval_strategy": "no"}
    if config.eval_every:
        evaluation = {"eval_strategy": "steps", "eval_steps": config.eval_every}
    arguments = TrainingArguments(
        output_dir=config.output_dir,
        max_steps=config.iterations,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip,
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,  # the guard wants to see them
        save_strategy="steps",
        save_steps=config.save_every,
        **evaluation,
        metric_for_best_model=config.best_metric,
        greater_is_better=config.best_metric == "eval_iou",
        seed=config.seed,
        use_cpu=use_cpu,
        ddp_backend="gloo" if use_cpu and num_processes > 1 else None,
        bf16=config.dtype == "bfloat16",
        activation_checkpointing=config.activation_checkpointing,
        torch_compile=config.torch_compile,
        # A batch of Cadrille may hold no picture, and then trains no vision tower.
        ddp_find_unused_parameters=config.model == "cadrille",
        report_to=reporters,
        disable_tqdm=True,
        remove_unused_columns=False,
        ignore_data_skip=True,  # the stream begins where it should
        use_cache=True,  # or else the Trainer writes False into the model's config
    )
    # One process, one GPU: several are for torchrun, not for nn.DataParallel.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
