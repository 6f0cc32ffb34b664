"""Training of the VQ-VAE on the generator's solids, in the two published stages.

In: a VqVaeTrainConfig. Out: a run folder with ``ckpts/vqvae_step*.pt`` (a plain dict of weights)
and ``ckpts/misc_step*.pt`` (the rest of the state), ``log.jsonl``, and at the end ``final/``.
A warm-up as a plain autoencoder stands in for the published VAE weights. Not covered: several
machines.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cadwright.errors import CadwrightError, CheckpointError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.vqvae.checkpoint import load_weights, read_state, save_vqvae
from cadwright.models.vqvae.config import config_to_json
from cadwright.models.vqvae.model import Reconstructed, SparseSDFVQVAE
from cadwright.models.vqvae.quantizer import codebook_use
from cadwright.training.runlog import RunLog
from cadwright.training.vqvae.config import VqVaeTrainConfig, config_to_recipe
from cadwright.training.vqvae.data import (
    HELD_OUT_SEED_OFFSET,
    PartStream,
    VqVaeBatch,
    to_slab,
)
from cadwright.training.vqvae.scales import fit_scales
from cadwright.training.vqvae.score import score_parts

_NAME = re.compile(r"vqvae_step(\d{7})\.pt")
GetBatch = Callable[[int], VqVaeBatch]


@dataclass(slots=True)
class _Window:
    """Sums since the last log line."""

    sums: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    latents: int = 0
    counts: Tensor | None = None
    start_s: float = field(default_factory=time.perf_counter)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


@dataclass(slots=True)
class _Run:
    """What the loop works with."""

    config: VqVaeTrainConfig
    model: SparseSDFVQVAE
    optimizer: torch.optim.Optimizer
    log: RunLog
    step: int = 0
    train_s: float = 0.0


def train(config: VqVaeTrainConfig, *, get_batch: GetBatch | None = None) -> Path:
    """Train, or go on from the newest checkpoint in the run folder.

    Args:
        config: the settings.
        get_batch: number of a step to its batch; the generator's solids if left out.
    Returns:
        ``final/``, or the newest weights where time ran out first.
    Raises:
        CadwrightError: a loss is not finite; the step is named.
        CheckpointError: a checkpoint does not fit the recipe.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    run_dir = Path(config.output_dir)
    run = _set_up(config, run_dir)
    draw = get_batch or PartStream(
        config.model, seed=config.seed, batch_size=config.batch_size, reuse=config.reuse,
        device=config.device,
    )  # fmt: skip
    if run.step == 0 and not config.init_from:
        first = draw(0)
        fit_scales(run.model, first.x, truth=first.surface if config.model.prune else None)
    with run.log:
        finished = _loop(run, draw)
        newest = _save(run)
    if not finished:
        return newest
    save_vqvae(run_dir / "final", run.model, dtype=torch.float16)
    return run_dir / "final"


def _set_up(config: VqVaeTrainConfig, run_dir: Path) -> _Run:
    """Model and optimizer, fresh or from the newest checkpoint."""
    torch.manual_seed(config.seed)
    model = SparseSDFVQVAE(config.model)
    if config.init_from:
        codebook = "vq.embeddings.weight" in read_state(config.init_from)
        load_weights(model, config.init_from, new_codebook=not codebook)
    model.to(config.device)
    matrices = [p for p in model.parameters() if p.ndim > 1 and p.requires_grad]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95), fused=True)
    step, train_s = _resume(run_dir, model, optimizer, config)
    log = RunLog(run_dir, step=step, total=config.steps)
    (run_dir / "ckpts").mkdir(exist_ok=True)
    with atomic_write(run_dir / "recipe.yaml") as draft:
        draft.write_text(config_to_recipe(config), encoding="utf-8")
    num = sum(p.numel() for p in model.parameters())
    log.note(f"{num / 1e6:.2f}M parameters on {config.device}, step {step} of {config.steps}")
    return _Run(config, model, optimizer, log, step, train_s)


def _loop(run: _Run, get_batch: GetBatch) -> bool:
    """Step until done; True if all steps were made."""
    config, window, begin_s = run.config, _Window(), time.perf_counter()
    before_s = run.train_s
    while run.step < config.steps:
        batch = get_batch(run.step)
        if config.slab_cells and run.step < config.steps - config.whole_steps:
            batch = to_slab(batch, config.model, cells=config.slab_cells, seed=run.step)
        _step(run, batch, window)
        run.step += 1
        run.train_s = before_s + time.perf_counter() - begin_s
        if run.step % config.log_every == 0:
            run.log.write(_to_record(run, window))
            window = _Window()
        if config.eval_every and run.step % config.eval_every == 0:
            seed = config.seed + HELD_OUT_SEED_OFFSET
            score = score_parts(run.model, seed=seed, num=config.eval_parts)
            run.log.write({"step": run.step, **score.to_record()})
            run.model.train()
        if run.step % config.save_every == 0 and run.step < config.steps:
            _save(run)
        if config.max_minutes and time.perf_counter() - begin_s > 60 * config.max_minutes:
            return run.step >= config.steps
    return True


def _step(run: _Run, batch: VqVaeBatch, window: _Window) -> None:
    """One step of whichever stage it is."""
    config, stage = run.config, run.config.stage(run.step)
    run.model.train()
    _maybe_reinitialise(run, stage)
    if stage == "codebook":
        loss = _codebook_loss(run.model, batch, window)
    else:
        loss = _reconstruction_loss(run, batch, stage, window)
    if loss.requires_grad:
        _update(run, loss, window)
    if not math.isfinite(float(loss.detach())):
        raise CadwrightError(
            f"step {run.step + 1} of seed {config.seed}: the loss is {float(loss.detach())}"
        )
    window.steps += 1


def _update(run: _Run, loss: Tensor, window: _Window) -> None:
    """Backward, clip, step."""
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.config.clip or math.inf)
    window.add(grad_norm=float(norm))
    share = run.config.lr_share(run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = run.config.lr * share
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)


def _maybe_reinitialise(run: _Run, stage: str) -> None:
    """k-means every so many steps: in stage 1, and in the first part of stage 2."""
    config, model = run.config, run.model
    since = run.step - config.warmup_steps
    if not config.model.use_kmeans_reinit or since <= 0:
        return
    last = config.codebook_steps + config.kmeans_share * config.joint_steps
    if since % config.model.kmeans_interval == 0 and since < last:
        done = model.vq.reinitialise(seed=config.seed + run.step)
        run.log.note(f"step {run.step}: codebook by k-means" if done else "k-means: too few rows")


def _codebook_loss(model: SparseSDFVQVAE, batch: VqVaeBatch, window: _Window) -> Tensor:
    """Stage 1: latents as they are; running means move the codebook, or its loss does."""
    with torch.no_grad():
        latents, _ = model.encoder.means(batch.x)
    quantized = model.vq(latents)
    window.add(commitment=float(quantized.commitment.detach()))
    _count(window, quantized.indices, model.config.num_embeddings)
    return quantized.commitment if quantized.codebook is None else quantized.codebook


def _reconstruction_loss(run: _Run, batch: VqVaeBatch, stage: str, window: _Window) -> Tensor:
    """Warm-up and stage 2."""
    config = run.config
    truth = batch.surface if config.model.prune else None
    out: Reconstructed = run.model(batch.x, quantize=stage == "joint", truth=truth)
    sdf = out.decoded.sdf
    error = functional.l1_loss(sdf.feats, wanted := batch.at(sdf.sites), reduction="none")
    weight = torch.where(wanted.abs() < 1.0, 1.0, config.lambda_far)
    # Half absolute, half squared, as published; by the weight so that its scale is that of SDF.
    recon = ((0.5 * error + 0.5 * error.square()) * weight).sum() / weight.sum()
    loss = recon + config.lambda_prune * out.decoded.prune_loss
    window.add(recon=float(recon.detach()), prune=float(out.decoded.prune_loss.detach()))
    if out.quantized is not None:
        quantized = out.quantized
        loss = loss + config.lambda_commitment * quantized.commitment
        if quantized.codebook is not None:
            loss = loss + config.lambda_vq * quantized.codebook
        window.add(commitment=float(quantized.commitment.detach()))
        _count(window, quantized.indices, config.model.num_embeddings)
    return loss


def _count(window: _Window, indices: Tensor, num: int) -> None:
    counts = torch.bincount(indices, minlength=num)
    window.counts = counts if window.counts is None else window.counts + counts
    window.latents += len(indices)


def _to_record(run: _Run, window: _Window) -> dict[str, Any]:
    """A line of the log."""
    seconds = time.perf_counter() - window.start_s
    record: dict[str, Any] = {"step": run.step, "stage": run.config.stage(run.step - 1)}
    record |= {name: value / window.steps for name, value in window.sums.items()}
    if window.counts is not None:
        record |= asdict(codebook_use(window.counts))
    record["parts_per_s"] = window.steps * run.config.batch_size / seconds
    record["elapsed_s"] = run.train_s
    return record


def _save(run: _Run) -> Path:
    """Both files of now, whole or not there; older ones beyond ``keep_last`` go."""
    folder = Path(run.config.output_dir) / "ckpts"
    weights = folder / f"vqvae_step{run.step:07d}.pt"
    misc = {
        "optimizer": run.optimizer.state_dict(), "rng": torch.get_rng_state(),
        "step": run.step, "train_s": run.train_s, "config": config_to_json(run.config.model),
    }  # fmt: skip
    for path, content in ((_misc(weights), misc), (weights, run.model.state_dict())):
        with atomic_write(path) as draft:
            torch.save(content, draft)
    for old in list_checkpoints(folder.parent)[: -run.config.keep_last]:
        old.unlink()
        _misc(old).unlink()
    return weights


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Weights of a run whose other file is there too, oldest first."""
    folder = run_dir / "ckpts"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if _NAME.fullmatch(path.name) and _misc(path).is_file()]


def _misc(weights: Path) -> Path:
    return weights.with_name(weights.name.replace("vqvae_", "misc_"))


def _resume(
    run_dir: Path, model: SparseSDFVQVAE, optimizer: torch.optim.Optimizer, config: VqVaeTrainConfig
) -> tuple[int, float]:
    """State of the newest checkpoint; (0, 0) where there is none."""
    checkpoints = list_checkpoints(run_dir)
    if not checkpoints:
        return 0, 0.0
    newest = checkpoints[-1]
    misc = torch.load(_misc(newest), map_location="cpu", weights_only=True)
    if misc["config"] != config_to_json(config.model):
        raise CheckpointError(
            f"the checkpoint '{newest}' is of another model than the recipe's; choose another "
            "output_dir"
        )
    model.load_state_dict(read_state(newest), strict=True)
    optimizer.load_state_dict(misc["optimizer"])
    torch.set_rng_state(misc["rng"])
    return int(misc["step"]), float(misc["train_s"])
