"""Checkpoints of a run: folders ``checkpoint-STEP`` that are whole or not there.

In: a folder that the Trainer has filled under another name. Out: the same folder, flushed to
disk, listed file by file, and renamed; the newest ones and the best are kept. Also exports a
model folder for inference. Not covered: what is in a checkpoint (trainer, transformers).
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cadwright.errors import CheckpointError
from cadwright.training.config import FIXED_ON_RESUME, TrainConfig

_NAME = re.compile(r"checkpoint-(\d+)")
INFO = "trainer.json"
DRAFTS = ".drafts"


def seal_checkpoint(draft: Path, run_dir: Path, info: Mapping[str, Any]) -> Path:
    """Add ``trainer.json`` to a written folder, flush it to disk, and give it its name.

    Args:
        draft: the written folder, named like the checkpoint, on the same disk.
        run_dir: where it goes; one of the same step is replaced.
        info: JSON values: step, config, progress.

    Returns:
        The checkpoint.

    Raises:
        OSError: the disk is full or not writable.
    """
    files = {
        str(path.relative_to(draft)): path.stat().st_size
        for path in sorted(draft.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({**info, "files": files}, indent=1)
    (draft / INFO).write_text(text, encoding="utf-8")
    flush_folder(draft)
    final = run_dir / draft.name
    if final.exists():  # this very step again, after a resume from an older checkpoint
        shutil.rmtree(final)
    draft.rename(final)
    _sync(run_dir)
    return final


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first; drafts and cut-off copies are not among them."""
    found = [
        (int(match[1]), path)
        for path in (run_dir.iterdir() if run_dir.is_dir() else ())
        if (match := _NAME.fullmatch(path.name)) and _is_whole(path)
    ]
    return [path for _, path in sorted(found)]


def prune_checkpoints(run_dir: Path, *, keep_last: int, best_step: int | None) -> None:
    """Remove all but the newest ones and the best."""
    for old in list_checkpoints(run_dir)[:-keep_last]:
        if old.name != f"checkpoint-{best_step}":
            shutil.rmtree(old)


def config_to_info(config: TrainConfig, *, step_samples: int) -> dict[str, Any]:
    """What a checkpoint says of its run."""
    return {"config": dataclasses.asdict(config), "step_samples": step_samples}


def read_info(folder: Path, config: TrainConfig, *, step_samples: int) -> dict[str, Any]:
    """Step, settings and progress of a checkpoint that fits ``config``.

    Args:
        folder: a checkpoint.
        config: of the run that goes on; rates and schedule may differ from the saved ones.
        step_samples: samples of a step over all processes.

    Raises:
        CheckpointError: unreadable, or a setting that must stay has changed.
    """
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        saved, before = info["config"], info["step_samples"]
        info["step"], info["progress"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint '{folder}' cannot be resumed: {error}") from error
    for key in FIXED_ON_RESUME:
        wanted = getattr(config, key)
        left_open = wanted is None and key not in ("data",)
        if not left_open and saved.get(key) != wanted:
            raise CheckpointError(
                f"the checkpoint '{folder}' was made with {key}={saved.get(key)}, this run has "
                f"{key}={wanted}; choose another output_dir or the same setting"
            )
    if before != step_samples:
        raise CheckpointError(
            f"the checkpoint '{folder}' was made with {before} samples a step, this run has "
            f"{step_samples} (batch_size x accumulation x processes); keep their product"
        )
    return dict(info)


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
        smaller.generation_config = model.generation_config
        smaller.save_pretrained(draft)
        processor.save_pretrained(draft)
        flush_folder(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CheckpointError(f"the model '{folder}' cannot be written: {error}") from error


def num_parameters(model: nn.Module) -> int:
    """Numbers that are trained, tied ones counted once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def flush_folder(folder: Path) -> None:
    """Force a folder's files to the disk, so that the rename cannot overtake them."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    """Force one file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_whole(folder: Path) -> bool:
    """Whether every file is there in its full length."""
    try:
        files = json.loads((folder / INFO).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
