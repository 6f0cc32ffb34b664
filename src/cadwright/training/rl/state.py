"""What a reinforcement learning run works with, and its checkpoints.

In: an RLConfig. Out: model, optimizer, parts, workers and counters, fresh or as they stood at the
newest whole checkpoint. Not covered: the steps (loop), evaluations (evaluation).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.optim import AdamW

from cadwright.errors import CheckpointError, InputError
from cadwright.training.checkpoint import (
    DRAFTS,
    INFO,
    list_checkpoints,
    num_parameters,
    prune_checkpoints,
    seal_checkpoint,
)
from cadwright.training.rl.config import FIXED_ON_RESUME, RLConfig
from cadwright.training.rl.parts import PartChooser, make_source
from cadwright.training.rl.rewards import RewardPool
from cadwright.training.runlog import RunLog

_OPTIMIZER = "optimizer.pt"


@dataclass(slots=True)
class RLProgress:
    """Counters of a run, kept across resumes.

    Attributes:
        step: iterations done.
        programs: programs sampled, in all processes.
        train_s: seconds spent in the loop.
        start_length: mean length of a program at the first iteration, tokens.
        best_iou: of all evaluations; None before the first.
        best_step: when it was.
        bad_evals: evaluations since.
    """

    step: int = 0
    programs: int = 0
    train_s: float = 0.0
    start_length: float | None = None
    best_iou: float | None = None
    best_step: int = 0
    bad_evals: int = 0


@dataclass(slots=True)
class RLRun:
    """What the loop works with.

    Attributes:
        accelerator: of accelerate: device and processes.
        model: the policy, float32 weights.
        reference: the model at the start, where a KL penalty needs it.
        parameters: those that are trained.
    """

    config: RLConfig
    accelerator: Any
    model: Any
    processor: Any
    reference: Any
    optimizer: torch.optim.Optimizer
    chooser: PartChooser
    pool: RewardPool
    log: RunLog
    progress: RLProgress
    parameters: list[torch.nn.Parameter] = field(default_factory=list)

    @property
    def run_dir(self) -> Path:
        """The output folder."""
        return Path(self.config.output_dir)

    def autocast(self) -> Any:
        """The arithmetic that the recipe asks for."""
        half = self.config.dtype == "bfloat16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=half)


def set_up(config: RLConfig) -> RLRun:
    """Everything a run works with.

    Raises:
        CheckpointError: the model cannot be loaded, or a checkpoint does not fit.
        InputError: the folder already holds a run; no meshes; no GPU where one is asked for.
    """
    from accelerate import Accelerator

    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("the setting 'device' is cuda, but torch finds no GPU: use cpu or auto")
    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    accelerator = Accelerator(cpu=on_cpu)
    rank, num_ranks = accelerator.process_index, accelerator.num_processes
    newest = _newest(config)
    info = _read_info(newest, config, num_ranks) if newest else None
    model, processor = _load(config, newest)
    model.to(accelerator.device)
    reference = None
    if config.kl_weight:
        reference = _load(config, None)[0].to(accelerator.device).requires_grad_(False)
    chooser = PartChooser(
        make_source(config.meshes, config.seed),
        seed=config.seed,
        hard_below=config.hard_below,
        hard_share=config.hard_share,
        hard_size=config.hard_size,
        hard_tries=config.hard_tries,
        max_failed_share=config.max_failed_share,
        stride=num_ranks,
        offset=rank,
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = _make_optimizer(parameters, config)
    progress = RLProgress()
    if newest and info:
        _load_optimizer(newest, optimizer)
        progress = RLProgress(**info["progress"])
        chooser.from_state(info["choosers"][rank])
    log = RunLog(
        Path(config.output_dir), step=progress.step, total=config.iterations, silent=rank > 0
    )
    log.note(
        f"{num_parameters(model) / 1e6:.2f}M parameters on {accelerator.device}, "
        f"{num_ranks} x {config.parts} parts x {config.samples} programs an iteration, "
        f"iteration {progress.step} of {config.iterations}"
        + (f", resumed from {newest}" if newest else "")
    )
    pool = RewardPool(config.reward_workers, timeout_s=config.reward_timeout_s)
    return RLRun(
        config, accelerator, model, processor, reference, optimizer, chooser, pool, log,
        progress, parameters,
    )  # fmt: skip


def save_checkpoint(run: RLRun) -> Path:
    """A checkpoint of now; whole, or not there.

    Raises:
        CheckpointError: the disk is full or not writable.
    """
    from accelerate.utils import gather_object

    choosers = gather_object([run.chooser.to_state()])
    final = run.run_dir / f"checkpoint-{run.progress.step}"
    if run.accelerator.is_main_process:
        draft = run.run_dir / DRAFTS / final.name
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            run.model.save_pretrained(draft)
            run.processor.save_pretrained(draft)
            torch.save(run.optimizer.state_dict(), draft / _OPTIMIZER)
            seal_checkpoint(draft, run.run_dir, _to_info(run, choosers))
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk so
            shutil.rmtree(draft, ignore_errors=True)
            raise CheckpointError(f"the checkpoint '{final}' cannot be written: {error}") from error
        prune_checkpoints(run.run_dir, keep_last=run.config.keep_last, best_step=None)
    run.accelerator.wait_for_everyone()
    run.log.note(f"saved {final}")
    return final


def _to_info(run: RLRun, choosers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "step": run.progress.step,
        "config": dataclasses.asdict(run.config),
        "progress": dataclasses.asdict(run.progress),
        "choosers": choosers,
    }


def _newest(config: RLConfig) -> Path | None:
    """The newest whole checkpoint of the run folder."""
    checkpoints = list_checkpoints(Path(config.output_dir))
    if checkpoints and not config.resume:
        raise InputError(
            f"'{config.output_dir}' already holds a run: set resume, or another output_dir"
        )
    return checkpoints[-1] if checkpoints else None


def _read_info(folder: Path, config: RLConfig, num_ranks: int) -> dict[str, Any]:
    """What a checkpoint says of its run, if it fits this one."""
    try:
        info: dict[str, Any] = json.loads((folder / INFO).read_text(encoding="utf-8"))
        saved = info["config"]
        known = {field.name for field in dataclasses.fields(RLProgress)}
        if saved.get("task") != "rl" or set(info["progress"]) != known:
            raise KeyError("it is not of a reinforcement learning run")
        choosers = info["choosers"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint '{folder}' cannot be resumed: {error}") from error
    for key in FIXED_ON_RESUME:
        if saved.get(key) != getattr(config, key):
            raise CheckpointError(
                f"the checkpoint '{folder}' was made with {key}={saved.get(key)}, this run has "
                f"{key}={getattr(config, key)}; choose another output_dir or the same setting"
            )
    if len(choosers) != num_ranks:
        raise CheckpointError(
            f"the checkpoint '{folder}' was made by {len(choosers)} processes, here are {num_ranks}"
        )
    return info


def _load(config: RLConfig, newest: Path | None) -> tuple[Any, Any]:
    """Model in evaluation mode and processor, from a checkpoint or from where the run starts."""
    from cadwright.inference.embedded import embedded_folder
    from cadwright.models.loading import load_any_model

    source: str | Path = newest or config.init_from
    if source == "embedded":
        source = embedded_folder("points" if config.inputs == "points" else "views")
    tokenizer = None if newest else config.tokenizer
    model, processor = load_any_model(source, dtype=torch.float32, tokenizer=tokenizer)
    if config.freeze_vision and hasattr(model.model, "visual"):
        model.model.visual.requires_grad_(False)
    return model.float(), processor


def _make_optimizer(
    parameters: list[torch.nn.Parameter], config: RLConfig
) -> torch.optim.Optimizer:
    """AdamW; norms and biases do not decay."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.lr, betas=(0.9, config.adam_beta2), fused=True)


def _load_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    """Its state; rates and decays are settings, which a resume may change."""
    keys = ("lr", "betas", "weight_decay")
    settings = [{key: group[key] for key in keys} for group in optimizer.param_groups]
    try:
        state = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
        optimizer.load_state_dict(state)
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
        raise CheckpointError(f"the checkpoint '{folder}' cannot be resumed: {error}") from error
    for group, setting in zip(optimizer.param_groups, settings, strict=True):
        group.update(setting)
