"""ProgramTrainer: transformers' Trainer on an endless stream, resuming to the bit.

In: a model, a stream of steps, held-out samples. Out: checkpoints, log records, a trained model.
The step itself, accumulation, clipping, mixed precision and several processes are the Trainer's
and accelerate's. Here: where batches come from, what is measured, and the guard before each
update. Not covered: writing and reading checkpoints (sealing).
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from cadwright.training.callbacks import ProgressBar
from cadwright.training.config import TrainConfig
from cadwright.training.feed import StepFeed
from cadwright.training.flops import FlopCounter, peak_flops
from cadwright.training.guard import StepGuard, TrainingError, explain_memory
from cadwright.training.models import Processor
from cadwright.training.optimizer import make_optimizer
from cadwright.training.progress import Clock, Window
from cadwright.training.runlog import RunLog
from cadwright.training.schedule import step_to_lr_share
from cadwright.training.sealing import SealingTrainer
from cadwright.training.setup import HeldOut
from cadwright.training.validation import (
    score_program,
    scores_to_metrics,
    sum_losses,
    write_programs,
)


class ProgramTrainer(SealingTrainer):
    """Trains CADRecode or Cadrille.

    Args:
        config: the settings, shape filled in.
        arguments: the same for transformers (see arguments).
        model: weights trained in float32.
        processor: saved beside the weights.
        feed: batches, and the progress they are counted in.
        held_out: for validation.
        log: where records go; used by the first process alone.
        stop: not empty once a signal has come.
    """

    def __init__(
        self,
        config: TrainConfig,
        arguments: TrainingArguments,
        *,
        model: Any,
        processor: Processor,
        feed: StepFeed,
        held_out: HeldOut,
        log: RunLog,
        stop: list[int],
    ) -> None:
        super().__init__(
            model, arguments, eval_dataset=held_out.batches or None, callbacks=[ProgressBar()]
        )
        self.remove_callback(PrinterCallback)
        self.config, self.processor, self.feed, self.held_out = config, processor, feed, held_out
        self.run_log, self._stop = log, stop
        self.guard = StepGuard(config, feed.progress)
        self._clock, self._flops = Clock(), FlopCounter(model)
        self._before_s = feed.progress.train_s
        self._loss: Tensor | None = None
        self._indices: list[Tensor] = []
        self._grad_norm: Any = math.nan
        self._is_last = False
        self.add_callback(_BeforeUpdate(self))

    # --- what is trained on, and how fast ---

    def get_train_dataloader(self) -> Any:
        """The stream; it moves on by itself, so that nothing is skipped after a resume."""
        return self.feed

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Groups with rates of their own; see optimizer."""
        if self.optimizer is None:
            sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
            if sharded and self.config.muon_lr:
                raise TrainingError("Muon needs whole matrices: set muon_lr=0 with FSDP, DeepSpeed")
            self.optimizer = make_optimizer(self.model if model is None else model, self.config)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """The recipe's schedule, one share for all groups."""
        if self.lr_scheduler is None:
            config = self.config
            self.lr_scheduler = LambdaLR(
                self.optimizer if optimizer is None else optimizer,
                lambda step: step_to_lr_share(step, config),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """The batches of a step, and how long they were waited for."""
        begin_s = time.perf_counter()
        found = super().get_batch_samples(*args, **kwargs)
        self.progress.window.wait_s += time.perf_counter() - begin_s
        return found

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward pass of one batch."""
        self._indices.append(inputs.pop("indices"))
        self._measure(inputs)
        with explain_memory(self.config, tuple(inputs["input_ids"].shape)):
            loss = super().training_step(model, inputs, num_items_in_batch)
        self._loss = loss if self._loss is None else self._loss + loss
        return loss

    def _measure(self, inputs: dict[str, Tensor]) -> None:
        """One batch into the sums."""
        window, mask = self.progress.window, inputs["attention_mask"]
        window.samples += mask.shape[0]
        window.positions += mask.numel()
        window.padding += int(mask.eq(0).sum())
        window.targets += int(inputs["logits_to_keep"].sum())
        window.flops += self._flops.count(inputs)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """What the Trainer keeps in its state."""
        return int(self._flops.count(inputs))

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        self._grad_norm = super()._get_grad_norm(model, grad_norm)
        return self._grad_norm

    # --- before and after an update ---

    def judge_step(self) -> None:
        """Raise, skip or go on; called between gradient and update."""
        assert self._loss is not None
        loss, self._is_last = self._agree(self._loss)
        norm = float(self._grad_norm)
        draws = [] if self.guard.is_sound(loss, norm) else self._draws_of_step()
        why = self.guard.check(loss, norm, draws)
        if why is None:
            window = self.progress.window
            window.loss += loss
            window.grad_norm += norm
            window.steps += 1
        elif not self.is_deepspeed_enabled:  # which has taken the gradients over
            self.optimizer.zero_grad(set_to_none=True)
            self._note(f"{why}; its update is skipped")
        self._loss, self._indices = None, []

    def _draws_of_step(self) -> list[int]:
        """The draws of a step's samples, over all processes."""
        own: list[int] = torch.cat(self._indices).tolist()
        return own if self.accelerator.num_processes == 1 else list(gather_object(own))

    def count_step(self) -> None:
        """A step is done."""
        progress = self.progress
        progress.step = self.state.global_step
        progress.samples += self.feed.stream.config.step_samples
        progress.train_s = self._before_s + self._clock.seconds
        if self._is_last and self.state.global_step < self.state.max_steps:
            self._note(f"stopped at step {self.state.global_step}")
            self.control.should_save = self.control.should_training_stop = True

    def _agree(self, loss: Tensor) -> tuple[float, bool]:
        """Mean loss over all processes, and whether any of them wants to stop."""
        wants = bool(self._stop) or self._is_over()
        pair = torch.stack([loss.float(), loss.new_tensor(float(wants)).float()])
        if self.accelerator.num_processes > 1:
            pair = self.accelerator.reduce(pair, "mean")
        value, stop = pair.tolist()
        return value, stop > 0

    def _is_over(self) -> bool:
        """Whether this call has used its minutes."""
        limit = self.config.max_minutes
        return bool(limit) and self._clock.seconds > 60 * limit

    # --- log and validation ---

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what was measured, and write the record."""
        if "loss" in logs:
            logs = self._window_to_record(logs)
            self.progress.window = Window()
            self._clock.restart_window()
        logs.pop("epoch", None)
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)
        if self.is_world_process_zero() and ("loss" in logs or "eval_loss" in logs):
            self.run_log.write({"step": self.state.global_step, **logs})

    def _window_to_record(self, logs: dict[str, float]) -> dict[str, float]:
        """A record of the steps since the last one, over all processes."""
        progress, window = self.progress, self.progress.window
        names = ("targets", "samples", "positions", "padding", "flops", "wait_s")
        sums = torch.tensor([float(getattr(window, name)) for name in names], dtype=torch.float64)
        num = self.accelerator.num_processes
        if num > 1:
            sums = self.accelerator.reduce(sums.float().to(self.args.device), "sum").cpu()
        total = dict(zip(names, sums.tolist(), strict=True))
        seconds, steps = window.busy_s + self._clock.window_s, max(window.steps, 1)
        record = {
            "loss": window.loss / steps if window.steps else logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": window.grad_norm / steps,
            "samples_per_s": total["samples"] / seconds,
            "tokens_per_s": total["targets"] / seconds,
            "padding_share": total["padding"] / max(total["positions"], 1),
            "data_wait_share": total["wait_s"] / num / seconds,
            "lost_draws_share": progress.lost_share,
            "skipped_updates": progress.skipped,
            "samples": progress.samples,
            "elapsed_s": progress.train_s,
        }
        peak = peak_flops(self.args.device, self.config.dtype)
        if peak is not None:
            record["peak_share"] = total["flops"] / seconds / peak / num
        return record

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Loss on the held-out batches, and scores of written programs."""
        begin_s = time.perf_counter()
        num, rank = self.accelerator.num_processes, self.accelerator.process_index
        self.model.eval()
        total, tokens = sum_losses(
            self.model, self.held_out.batches, device=self.args.device, rank=rank, num_ranks=num
        )
        sums = torch.tensor([total, tokens], dtype=torch.float64)
        if num > 1:
            sums = self.accelerator.reduce(sums.float().to(self.args.device), "sum").cpu()
        metrics = {"eval_loss": float(sums[0] / sums[1])}
        if self.held_out.parts:
            metrics |= self._score_programs()
        self.model.train()
        seconds = time.perf_counter() - begin_s
        self._clock.leave_out(seconds)
        self.log(metrics | {"eval_s": seconds})
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _score_programs(self) -> dict[str, float]:
        """Write, build and score the held-out parts; each process does them all, and alike."""
        parts, scores, texts = self.held_out.parts, [], []
        size = max(self.config.batch_size, 1)
        with torch.no_grad():
            for first in range(0, len(parts), size):
                texts += write_programs(
                    self.model,
                    self.processor,
                    self.held_out,
                    parts[first : first + size],
                    max_tokens=self.config.max_tokens,
                )
        for part, text in zip(parts, texts, strict=True):
            scores.append(score_program(text, part.text))
        metrics = scores_to_metrics(scores)
        for kind in sorted(set(self.held_out.kinds)):
            pairs = zip(self.held_out.kinds, scores, strict=True)
            own = [score for shown, score in pairs if shown == kind]
            metrics[f"eval_iou_{kind}"] = scores_to_metrics(own)["eval_iou"]
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Keep a checkpoint of the best step; stop where there was none for too long."""
        is_best: bool = super()._determine_best_metric(metrics, trial)
        patience = self.config.patience * self.config.eval_every
        if is_best:
            self.control.should_save = True
        elif patience and self.state.global_step - (self.state.best_global_step or 0) >= patience:
            self._note(
                f"stopped at step {self.state.global_step}: no better {self.config.best_metric} "
                f"than {self.state.best_metric:.4g} since step {self.state.best_global_step}"
            )
            self.control.should_save = self.control.should_training_stop = True
        return is_best


class _BeforeUpdate(TrainerCallback):
    """Hands the events around an update to the trainer."""

    def __init__(self, trainer: ProgramTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._trainer.judge_step()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._trainer.count_step()
