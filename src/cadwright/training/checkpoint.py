"""Checkpoints of a run: folders ``ckpt-STEP`` that are whole or not there.

In: model, optimizers, step. Out: a folder that ``CADRecode.from_pretrained`` reads too, with
``trainer.pt`` and ``trainer.json`` beside the weights. Not covered: the stream of samples,
which follows from the step alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from cadwright.errors import CheckpointError
from cadwright.training.config import FIXED_ON_RESUME, TrainConfig

_NAME = re.compile(r"ckpt-(\d+)")
_STATE, _INFO = "trainer.pt", "trainer.json"


def save_checkpoint(
    run_dir: Path,
    *,
    step: int,
    model: Any,
    processor: Any,
    optimizers: Mapping[str, Optimizer],
    config: TrainConfig,
    progress: Mapping[str, Any],
) -> Path:
    """Write ``ckpt-STEP`` under another name, flush it to disk, then rename it.

    Args:
        run_dir: the run folder.
        step: optimizer steps done.
        model: has ``save_pretrained``.
        processor: has ``save_pretrained``; kept with its tokenizer.
        optimizers: by name.
        config: kept, so that a resume with other settings is noticed.
        progress: counters of the loop, JSON values.

    Returns:
        The folder. Older ones beyond ``config.keep_last`` are removed.

    Raises:
        CheckpointError: the disk is full or not writable; nothing half-written stays.
    """
    final = run_dir / f"ckpt-{step}"
    draft = run_dir / f".draft-{final.name}"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        model.save_pretrained(draft)
        processor.save_pretrained(draft)
        torch.save(_state(optimizers), draft / _STATE)
        info = {"step": step, "config": dataclasses.asdict(config), "progress": dict(progress)}
        (draft / _INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")
        _flush(draft)
        if final.exists():  # this very step again, after a resume from an older checkpoint
            shutil.rmtree(final)
        draft.rename(final)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        shutil.rmtree(draft, ignore_errors=True)
        raise CheckpointError(f"the checkpoint '{final}' cannot be written: {error}") from error
    for old in list_checkpoints(run_dir)[: -config.keep_last]:
        shutil.rmtree(old)
    return final


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first; drafts are not among them."""
    found = [
        (int(match[1]), path)
        for path in (run_dir.iterdir() if run_dir.is_dir() else ())
        if (match := _NAME.fullmatch(path.name)) and (path / _INFO).is_file()
    ]
    return [path for _, path in sorted(found)]


def load_checkpoint(
    folder: Path, *, optimizers: Mapping[str, Optimizer], config: TrainConfig
) -> tuple[int, dict[str, Any]]:
    """Put optimizers and random numbers back; weights are read by ``from_pretrained``.

    Args:
        folder: a ``ckpt-STEP`` folder.
        optimizers: of the model loaded from ``folder``.
        config: of the run that goes on; rates and schedule may differ from the saved ones.

    Returns:
        Steps done, and the progress saved with them.

    Raises:
        CheckpointError: unreadable, or another model or another stream of samples.
    """
    info = read_info(folder, config)
    try:
        state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
        for name, optimizer in optimizers.items():
            # Rates, decays and betas are settings, not state: a resume may change them.
            settings = [
                {key: value for key, value in group.items() if key != "params"}
                for group in optimizer.param_groups
            ]
            optimizer.load_state_dict(state["optimizers"][name])
            for group, setting in zip(optimizer.param_groups, settings, strict=True):
                group.update(setting)
        torch.set_rng_state(state["rng"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
        raise CheckpointError(f"the checkpoint '{folder}' cannot be resumed: {error}") from error
    return int(info["step"]), dict(info["progress"])


def read_info(folder: Path, config: TrainConfig) -> dict[str, Any]:
    """Step, settings and progress of a checkpoint that fits ``config``.

    Raises:
        CheckpointError: unreadable, or a setting that must stay has changed.
    """
    try:
        info: dict[str, Any] = json.loads((folder / _INFO).read_text(encoding="utf-8"))
        saved = info["config"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"the checkpoint '{folder}' cannot be read: {error}") from error
    for key in FIXED_ON_RESUME:
        if saved.get(key) != getattr(config, key):
            raise CheckpointError(
                f"the checkpoint '{folder}' was made with {key}={saved.get(key)}, this run has "
                f"{key}={getattr(config, key)}; choose another output_dir or the same setting"
            )
    return info


def export_model(folder: Path, *, model: Any, processor: Any, dtype: str) -> None:
    """Write a model folder for inference, weights in ``dtype``; whole or not at all.

    Args:
        folder: replaced if it exists.
        model: left as it is.
        processor: has ``save_pretrained``; kept with its tokenizer.
        dtype: 'float32', 'bfloat16' or 'float16'.

    Raises:
        CheckpointError: the disk is full or not writable.
    """
    draft = folder.with_name(f".draft-{folder.name}")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        smaller = type(model)(model.config).to(getattr(torch, dtype))
        smaller.load_state_dict(model.state_dict())
        smaller.save_pretrained(draft)
        processor.save_pretrained(draft)
        _flush(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CheckpointError(f"the model '{folder}' cannot be written: {error}") from error


def num_parameters(model: nn.Module) -> int:
    """Numbers that are trained, tied ones counted once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _state(optimizers: Mapping[str, Optimizer]) -> dict[str, Any]:
    """What torch must write."""
    return {
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
        "rng": torch.get_rng_state(),
    }


def _flush(folder: Path) -> None:
    """Force a folder's files to the disk, so that the rename cannot overtake them."""
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
