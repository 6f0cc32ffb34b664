"""What a person sees and does while a run goes on: a progress bar, and Ctrl-C.

In: the events of transformers' Trainer, and signals. Out: a line on the terminal, and a list that
says that it is time to stop. Not covered: the step itself (trainer), the log file (runlog).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub.utils.tqdm import enable_progress_bars
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging


class ProgressBar(TrainerCallback):
    """A tqdm bar with steps, time left, loss and samples a second; only on a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Intervals are those of this run's recipe, not of the checkpoint's."""
        state.compute_steps(args, state.max_steps)
        if state.is_world_process_zero:
            self._bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                unit="step",
                file=sys.stderr,
                disable=None,  # where stderr is no terminal
                dynamic_ncols=True,
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """One step further."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Loss and speed beside the bar."""
        if self._bar is None or not logs:
            return
        shown = {"loss": "loss", "samples_per_s": "samples/s", "peak_share": "of peak"}
        words = [f"{short} {logs[key]:.3g}" for key, short in shown.items() if key in logs]
        if words:
            self._bar.set_postfix_str(", ".join(words))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the last line standing."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def stop_on_signal() -> Iterator[list[int]]:
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


@contextmanager
def without_library_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for each model it reads or writes."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    enable_progress_bars()  # those of the hub, which the line before switched off too
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
