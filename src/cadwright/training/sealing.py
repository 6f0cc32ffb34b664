"""SealingTrainer: transformers' Trainer with checkpoints that are whole or absent.

In: what the Trainer keeps (weights, moments, schedule, random numbers) and the progress of the
run. Out: folders ``checkpoint-STEP`` under their name only once they are on the disk; and all of
it back. Not covered: what a whole folder is (checkpoint), the training itself (trainer).
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers import Trainer

from cadwright.errors import CheckpointError
from cadwright.training.checkpoint import (
    DRAFTS,
    config_to_info,
    prune_checkpoints,
    seal_checkpoint,
)
from cadwright.training.config import TrainConfig
from cadwright.training.feed import StepFeed
from cadwright.training.models import Processor
from cadwright.training.progress import Clock, Progress
from cadwright.training.runlog import RunLog
from cadwright.training.schedule import step_to_lr_share


class SealingTrainer(Trainer):
    """Saves and resumes; the subclass trains.

    Attributes:
        config: the settings, shape filled in.
        processor: saved beside the weights.
        feed: batches, and the progress they are counted in.
        run_log: told of each checkpoint.
    """

    config: TrainConfig
    processor: Processor
    feed: StepFeed
    run_log: RunLog
    optimizer: Any
    lr_scheduler: Any
    control: Any
    _clock: Clock
    _drafts: Path | None = None

    @property
    def progress(self) -> Progress:
        """Counters of the run."""
        return self.feed.progress

    def _note(self, text: str) -> None:
        if self.is_world_process_zero():
            self.run_log.note(text)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._drafts or self.args.output_dir)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Let the Trainer write under another name, then seal the folder and rename it."""
        begin_s, run_dir, step = time.perf_counter(), Path(self.args.output_dir), self.progress.step
        drafts = run_dir / DRAFTS
        if self.is_world_process_zero():
            shutil.rmtree(drafts, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            self._drafts = drafts
            drafts.mkdir(parents=True, exist_ok=True)
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                folder = seal_checkpoint(drafts / f"checkpoint-{step}", run_dir, self._info())
                drafts.rmdir()
                self._note(f"saved {folder}")
        except (OSError, RuntimeError, SafetensorError) as error:
            # torch and safetensors report a full disk each in their own way.
            shutil.rmtree(drafts, ignore_errors=True)
            raise CheckpointError(
                f"the checkpoint '{run_dir / f'checkpoint-{step}'}' cannot be written: {error}"
            ) from error
        finally:
            self._drafts = None
        if self.is_world_process_zero():
            best = self.state.best_global_step if self.config.best_metric else None
            prune_checkpoints(run_dir, keep_last=self.config.keep_last, best_step=best)
        self.accelerator.wait_for_everyone()
        self._clock.leave_out(time.perf_counter() - begin_s)

    def _info(self) -> dict[str, Any]:
        """What the checkpoint says of itself."""
        window = replace(
            self.progress.window, busy_s=self.progress.window.busy_s + self._clock.window_s
        )
        return {
            "step": self.progress.step,
            "progress": replace(self.progress, window=window).to_values(),
            "best_step": self.state.best_global_step if self.config.best_metric else None,
            **config_to_info(self.config, step_samples=self.feed.stream.config.step_samples),
        }

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            self.processor.save_pretrained(output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights: read by ``from_pretrained`` already, which knows their published names."""
        if self.is_fsdp_enabled or self.config.lora_rank:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Moments are state; rates, decays and betas are settings, and a resume may change them."""
        if checkpoint is None or self.is_deepspeed_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        settings = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self.optimizer.param_groups
        ]
        super()._load_optimizer_and_scheduler(checkpoint)
        share = step_to_lr_share(self.progress.step, self.config)
        for group, setting in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(setting)
            group["lr"] = setting["initial_lr"] * share
        self.lr_scheduler.base_lrs = [setting["initial_lr"] for setting in settings]
