"""Alignment training: the projector, and LoRA if asked, on pairs of shapes and texts.

In: AlignArgs (the seed's argument names and defaults), a joined model, samples of either data
form. Out: in ``output_dir`` ``projector_epoch{N}.pt``, ``projector_final.pt``,
``train_args.json``, ``training_metrics.jsonl``, ``lora_final/`` with LoRA, ``language_final/``
where all learned, and ``state.pt``, from which a run goes on at the epoch where it stopped. Not
covered: several machines; making model and samples (build).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cadwright.errors import CadwrightError, InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.checkpoint import save_projector
from cadwright.models.align3d.collate import Item, collate_3d_text
from cadwright.models.align3d.control import mean_loss, to_device
from cadwright.training.align.args import AlignArgs
from cadwright.training.align.build import build_branch, dummy_items
from cadwright.training.align.schedule import lr_share
from cadwright.training.align.state import resume, save_state, to_kept
from cadwright.training.align.warm_up import warm_up

__all__ = ["AlignArgs", "build_branch", "dummy_items", "mean_loss", "train"]

# What may differ between a run and the one that goes on from it.
FREE_TO_CHANGE = ("epochs", "output_dir", "max_minutes", "device")
LOG_EVERY = 50


@dataclass(slots=True)
class _Run:
    """What an epoch works with."""

    args: AlignArgs
    branch: Qwen3VLWith3DBranch
    items: Sequence[Item]
    learned: dict[str, Any]
    optimizer: torch.optim.Optimizer
    pad_id: int
    say: Callable[[str], None]

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return -(-len(self.items) // self.args.batch_size)


def train(
    args: AlignArgs,
    branch: Qwen3VLWith3DBranch,
    items: Sequence[Item],
    *,
    notes: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train, or go on from ``state.pt`` in the run's folder.

    Args:
        args: of the run.
        branch: changed in place.
        items: samples of one form.
        notes: what ``train_args.json`` shall say besides the arguments.
        tokenizer: kept beside a language model that learned.
        say: gets a line for each epoch, and now and then within one.
    Returns:
        ``projector_final.pt``, or the newest epoch's where time ran out first.
    Raises:
        InputError: there is no sample, or one cannot teach.
        CheckpointError: ``state.pt`` is of another run.
        CadwrightError: a loss is not finite.
    """
    if not len(items):
        raise InputError("the alignment has no samples to learn from")
    folder, start_s = Path(args.output_dir), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    learned = {name: p for name, p in branch.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(_groups(args, learned))
    pad_id = getattr(tokenizer, "pad_token_id", None) or 0
    run = _Run(args, branch, items, learned, optimizer, pad_id, say)
    kept = to_kept(branch.projector, learned, "projector.")
    epoch, newest = resume(folder, _fixed(args), kept, optimizer), folder / "projector_final.pt"
    with atomic_write(folder / "train_args.json") as draft:
        draft.write_text(json.dumps({**asdict(args), **(notes or {})}, indent=2), encoding="utf-8")
    if args.warm_up and epoch == 0:
        shapes = getattr(items, "shapes", None)
        if shapes is None:
            raise InputError("a warm-up needs real data")
        warm_up(
            branch.projector, shapes, epochs=args.warm_up, folder=folder, seed=args.seed, say=say
        )
    while epoch < args.epochs:
        loss = _epoch(run, epoch)
        newest = folder / f"projector_epoch{epoch}.pt"
        save_projector(newest, branch.projector)
        epoch += 1
        save_state(folder, _fixed(args), kept, optimizer, epoch)
        lr = args.lr * _share(run, epoch, 0)
        _log(folder, epoch=epoch, step=epoch * run.steps, loss=loss, lr=lr,
             minutes=(time.monotonic() - start_s) / 60)  # fmt: skip
        say(f"epoch {epoch} of {args.epochs}: loss {loss:.4f}")
        if args.max_minutes and time.monotonic() - start_s > 60 * args.max_minutes:
            break
    _save_language(args, branch, tokenizer, folder)
    if epoch < args.epochs:
        return newest
    save_projector(folder / "projector_final.pt", branch.projector)
    return folder / "projector_final.pt"


def _save_language(args: AlignArgs, branch: Any, tokenizer: Any, folder: Path) -> None:
    """What learned besides the projector, in transformers' and peft's own layouts."""
    if args.use_lora:
        branch.vl_model.save_pretrained(folder / "lora_final")
    if args.train_all:
        branch.vl_model.save_pretrained(folder / "language_final")
        if tokenizer is not None:
            tokenizer.save_pretrained(folder / "language_final")


def _epoch(run: _Run, epoch: int) -> float:
    """One pass in an order that only depends on seed and epoch; the mean loss."""
    args = run.args
    run.branch.train()
    if hasattr(run.items, "set_epoch"):
        run.items.set_epoch(epoch)
    torch.manual_seed(args.seed * 1_000_003 + epoch)  # of dropout, so that a run can go on
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + epoch)
    order = torch.randperm(len(run.items), generator=generator).tolist()
    total, recent = 0.0, 0.0
    for step in range(run.steps):
        chosen = order[step * args.batch_size : (step + 1) * args.batch_size]
        batch = collate_3d_text([run.items[k] for k in chosen], pad_id=run.pad_id)
        for group in run.optimizer.param_groups:
            group["lr"] = group["highest"] * _share(run, epoch, step)
        loss = run.branch(**to_device(batch, run.branch.device)).loss
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CadwrightError(f"epoch {epoch}, step {step + 1}: the loss is {value}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(run.learned.values()), args.clip)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        total, recent = total + value, recent + value
        if (step + 1) % LOG_EVERY == 0:
            run.say(f"epoch {epoch + 1}, step {step + 1} of {run.steps}: {recent / LOG_EVERY:.4f}")
            recent = 0.0
    return total / run.steps


def _groups(args: AlignArgs, learned: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The projector, and what learns beside it, with their highest rates."""
    own = [param for name, param in learned.items() if name.startswith("projector.")]
    others = [param for name, param in learned.items() if not name.startswith("projector.")]
    rates = ((own, args.projector_lr or args.lr), (others, args.lr))
    return [{"params": params, "lr": rate, "highest": rate} for params, rate in rates if params]


def _share(run: _Run, epoch: int, step: int) -> float:
    """Of the highest rate at a step; a schedule spans all epochs."""
    args = run.args
    return lr_share(
        epoch * run.steps + step, args.epochs * run.steps, warmup=args.warmup_ratio,
        schedule=args.schedule,
    )  # fmt: skip


def _log(folder: Path, **values: Any) -> None:
    with (folder / "training_metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def _fixed(args: AlignArgs) -> dict[str, Any]:
    fixed = {k: v for k, v in asdict(args).items() if k not in FREE_TO_CHANGE}
    if args.schedule in ("cosine", "linear"):  # each step depends on the last
        fixed["epochs"] = args.epochs
    return fixed
