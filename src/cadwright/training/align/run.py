"""Alignment training: the projector, and LoRA if asked, on pairs of shapes and texts.

In: AlignArgs (the seed's argument names and defaults), a joined model, samples of either data
form. Out: in ``output_dir`` ``projector_epoch{N}.pt``, ``projector_final.pt``,
``train_args.json``, ``lora_final/`` with LoRA, and ``state.pt``, from which a run goes on at the
epoch where it stopped. Not covered: several machines; making samples (see ``dummy_samples``).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from cadwright.errors import CadwrightError, CheckpointError, InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.checkpoint import add_lora, load_vl_model, save_projector
from cadwright.models.align3d.collate import IGNORE, Item, collate_3d_text
from cadwright.models.align3d.projector import Projector3D
from cadwright.models.vqvae.checkpoint import load_vqvae

STATE_NAME = "state.pt"
# What may differ between a run and the one that goes on from it.
FREE_TO_CHANGE = ("epochs", "output_dir", "max_minutes")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignArgs:
    """Arguments of a run; the first fourteen have the published names and defaults.

    Attributes:
        vae_config, vae_ckpt: the VAE's files; needed for real data in raw form.
        vl_model: folder or Hub id.
        output_dir: made where it is missing.
        max_3d_tokens: tokens a shape may take.
        use_3d_pos: sines of the coordinates are added in the projector.
        projector_layers: 1 is a single linear layer.
        lr: of AdamW.
        epochs, batch_size: of the training.
        use_lora, lora_r: adapters in the language model, and their rank.
        dummy_data, dummy_samples: random samples instead of real ones, and how many.
        truncate_mode: how long shapes are shortened.
        block: cells a side that share a token.
        final_norm: end the projector in a layer norm.
        clip: largest norm of the gradient.
        max_minutes: stop after the epoch that exceeds them; 0 means never.
        seed: of new weights, the order of samples and dummy data.
    """

    vae_config: str | None = None
    vae_ckpt: str | None = None
    vl_model: str = "Qwen/Qwen2-VL-2B-Instruct"
    output_dir: str = "./outputs_3d_vl"
    max_3d_tokens: int = 2048
    use_3d_pos: bool = False
    projector_layers: int = 1
    lr: float = 1e-4
    epochs: int = 3
    batch_size: int = 2
    use_lora: bool = False
    lora_r: int = 8
    dummy_data: bool = False
    dummy_samples: int = 50
    truncate_mode: Any = "head"
    block: int = 1
    final_norm: bool = False
    clip: float = 1.0
    max_minutes: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that make no run."""
        for name in (
            "epochs",
            "batch_size",
            "max_3d_tokens",
            "projector_layers",
            "lora_r",
            "block",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.lr > 0:
            raise InputError(f"lr must be greater than 0, not {self.lr}")


def build_branch(
    args: AlignArgs, *, latent_dim: int | None = None
) -> tuple[Qwen3VLWith3DBranch, Any]:
    """The joined model and its tokenizer.

    Args:
        args: of the run.
        latent_dim: width of pre-extracted vectors; only needed without a VAE.
    Raises:
        InputError: one of the VAE's files is missing, or widths do not fit.
        CheckpointError: a model cannot be loaded.
    """
    if (args.vae_config is None) != (args.vae_ckpt is None):
        raise InputError("a VAE needs both --vae_config and --vae_ckpt")
    vae = None
    if args.vae_config is not None and args.vae_ckpt is not None:
        vae = load_vqvae(args.vae_config, args.vae_ckpt)
        if latent_dim not in (None, vae.config.latent_dim):
            raise InputError(
                f"the data has latent_dim {latent_dim}, the VAE {vae.config.latent_dim}"
            )
        latent_dim = vae.config.latent_dim
    if latent_dim is None:
        raise InputError("without a VAE (--vae_config, --vae_ckpt) latent_dim must be known")
    vl_model, tokenizer = load_vl_model(args.vl_model)
    torch.manual_seed(args.seed)
    hidden = int(vl_model.get_input_embeddings().embedding_dim)  # type: ignore[operator]
    projector = Projector3D(
        latent_dim * args.block**3, hidden, args.projector_layers,
        use_3d_pos=args.use_3d_pos, final_norm=args.final_norm,
    )  # fmt: skip
    if args.use_lora:
        vl_model = add_lora(vl_model, rank=args.lora_r)
    branch = Qwen3VLWith3DBranch(
        vl_model, projector, vae, max_3d_tokens=args.max_3d_tokens,
        truncate_mode=args.truncate_mode, block=args.block,
    )  # fmt: skip
    return branch, tokenizer


def dummy_items(
    num: int, *, latent_dim: int, vocab_size: int, resolution: int = 16, seed: int = 0
) -> list[dict[str, Tensor]]:
    """Random samples of form A: a few cells, ten ids of which six are an answer."""
    generator = torch.Generator().manual_seed(seed)
    items = []
    for _ in range(num):
        count = int(torch.randint(8, 33, (), generator=generator))
        cells = torch.randperm(resolution**3, generator=generator)[:count]
        coords = torch.stack(
            [cells * 0, cells // resolution**2, cells // resolution % resolution,
             cells % resolution], dim=1,
        )  # fmt: skip
        ids = torch.randint(0, vocab_size, (10,), generator=generator)
        labels = ids.clone()
        labels[:4] = IGNORE
        items.append(
            {
                "feats_3d": torch.randn(count, latent_dim, generator=generator),
                "coords_3d": coords,
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "labels": labels,
            }  # fmt: skip
        )
    return items


def train(
    args: AlignArgs,
    branch: Qwen3VLWith3DBranch,
    items: Sequence[Item],
    *,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train, or go on from ``state.pt`` in the run's folder.

    Args:
        args: of the run.
        branch: changed in place.
        items: samples of one form.
        say: gets a line for each epoch.
    Returns:
        ``projector_final.pt``, or the newest epoch's where time ran out first.
    Raises:
        InputError: there is no sample, or one cannot teach.
        CheckpointError: ``state.pt`` is of another run.
        CadwrightError: a loss is not finite.
    """
    if not items:
        raise InputError("the alignment has no samples to learn from")
    folder, start_s = Path(args.output_dir), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    learned = {name: p for name, p in branch.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(learned.values(), lr=args.lr)
    epoch, newest = _resume(folder, args, learned, optimizer), folder / "projector_final.pt"
    with atomic_write(folder / "train_args.json") as draft:
        draft.write_text(json.dumps(asdict(args), indent=2), encoding="utf-8")
    while epoch < args.epochs:
        loss = _epoch(args, branch, items, optimizer, learned, epoch)
        newest = folder / f"projector_epoch{epoch}.pt"
        save_projector(newest, branch.projector)
        epoch += 1
        _save_state(folder, args, learned, optimizer, epoch)
        say(f"epoch {epoch} of {args.epochs}: loss {loss:.4f}")
        if args.max_minutes and time.monotonic() - start_s > 60 * args.max_minutes:
            break
    if epoch < args.epochs:
        return newest
    save_projector(folder / "projector_final.pt", branch.projector)
    if args.use_lora:
        branch.vl_model.save_pretrained(folder / "lora_final")  # type: ignore[operator]
    return folder / "projector_final.pt"


def mean_loss(
    branch: Qwen3VLWith3DBranch, items: Sequence[Item], *, batch_size: int, shuffle: bool = False
) -> float:
    """Loss over samples of form A; with ``shuffle`` each text gets the next sample's shape.

    The gap between the two is the evidence that it is the shape that speaks.

    Raises:
        InputError: there is no sample, or a shuffle of fewer than two.
    """
    if len(items) < (2 if shuffle else 1):
        raise InputError("the loss needs a sample, and a shuffle two")
    if shuffle:
        shapes = [*items[1:], items[0]]
        keys = ("feats_3d", "coords_3d")
        items = [{**a, **{k: b[k] for k in keys}} for a, b in zip(items, shapes, strict=True)]
    was, total, count = branch.training, 0.0, 0
    branch.eval()
    with torch.no_grad():
        for first in range(0, len(items), batch_size):
            batch = collate_3d_text(items[first : first + batch_size])
            num = int((batch["labels"][:, 1:] != IGNORE).sum())
            total, count = total + float(branch(**batch).loss) * num, count + num
    branch.train(was)
    return total / count


def _epoch(
    args: AlignArgs, branch: Qwen3VLWith3DBranch, items: Sequence[Item],
    optimizer: torch.optim.Optimizer, learned: dict[str, Any], epoch: int,
) -> float:  # fmt: skip
    """One pass in an order that only depends on seed and epoch; the mean loss."""
    branch.train()
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + epoch)
    order = torch.randperm(len(items), generator=generator).tolist()
    total, steps = 0.0, 0
    for first in range(0, len(order), args.batch_size):
        batch = collate_3d_text([items[k] for k in order[first : first + args.batch_size]])
        loss = branch(**batch).loss
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CadwrightError(f"epoch {epoch}, step {steps + 1}: the loss is {value}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(learned.values()), args.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total, steps = total + value, steps + 1
    return total / steps


def _fixed(args: AlignArgs) -> dict[str, Any]:
    return {k: v for k, v in asdict(args).items() if k not in FREE_TO_CHANGE}


def _save_state(
    folder: Path, args: AlignArgs, learned: dict[str, Any], optimizer: Any, epoch: int
) -> None:
    state = {
        "epoch": epoch, "args": _fixed(args), "optimizer": optimizer.state_dict(),
        "learned": {name: param.detach().cpu() for name, param in learned.items()},
    }  # fmt: skip
    with atomic_write(folder / STATE_NAME) as draft:
        torch.save(state, draft)


def _resume(folder: Path, args: AlignArgs, learned: dict[str, Any], optimizer: Any) -> int:
    """Epochs that are done; 0 where there is no state."""
    path = folder / STATE_NAME
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(f"the state '{path}' cannot be read: {error}") from error
    if state["args"] != _fixed(args) or state["learned"].keys() != learned.keys():
        raise CheckpointError(f"'{path}' is of another run; choose another --output_dir")
    with torch.no_grad():
        for name, value in state["learned"].items():
            learned[name].copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])
