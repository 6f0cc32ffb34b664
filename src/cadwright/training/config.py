"""TrainConfig: every setting of a supervised training run, flat.

In: a YAML recipe and overrides, or plain values. Out: a checked TrainConfig. Not covered:
what the settings do (sft, trainer), which recipes exist (the folder recipes/), RL (rl.config).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cadwright.errors import InputError
from cadwright.training.recipe import check_types, make_settings, read_recipe, settings_to_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One supervised training run.

    Attributes:
        output_dir: the run folder; holds checkpoints, the log, the resolved recipe, final/.
        model: 'cad_recode' reads points; 'cadrille' points, four views or words.
        init_from: folder or Hub id to start from: a model of this kind, the language model it
            stands on (its point encoder is then new), or a model of the other kind, of which
            decoder and point encoder are taken over; None starts from random weights.
        tokenizer: folder or Hub id; None takes that of ``init_from``, or the embedded default's.
        resume: go on from the newest whole checkpoint in ``output_dir`` if there is one;
            otherwise a folder that holds checkpoints is refused.
        hidden_size: width of the decoder. This and the next six: None takes what ``init_from``
            has, or a small default where weights are random.
        num_layers: decoder layers.
        num_heads: attention heads; divides ``hidden_size``.
        num_kv_heads: heads of keys and values; divides ``num_heads``.
        intermediate_size: width of the feed-forward part.
        num_points: P, points in front of each program.
        vision_width: width of cadrille's vision tower; this and the next two are read where
            one is made from nothing.
        vision_layers: its layers.
        picture_size: side in pixels that its pictures are resized to, a multiple of 28.
        points_weight: how often cadrille is shown points, relative to views and words.
        views_weight: likewise four views; published: a coin between points and views.
        words_weight: likewise a description in words.
        dimensioned_share: share of the descriptions that give all measures; the others name the
            kind of part or count its features.
        data: folder of Parquet shards (``cadwright generate``) or of programs (``*.py``), read
            again and again in new order; None draws from the generator without end.
        eval_data: likewise, for validation; None holds out a part of ``data``, or takes
            another seed of the generator.
        seed: of weights, of the stream of samples and of the noise.
        batch_size: samples a process takes at once.
        accumulation: such batches per optimizer step.
        parts: portions in which a step's samples are drawn. With several processes either 1
            (each draws all and takes its share) or a multiple of their number (each draws
            its own); what is drawn depends on this number, not on how many processes there are.
        pool_batches: steps drawn, sorted by length and dealt out together; more of them
            waste less padding.
        reserve: draws a pool may use per sample it needs.
        max_failed_share: stop where more than this share of the draws cannot be built.
        max_tokens: longest text, start and end included; longer ones are skipped.
        noise_std: standard deviation of the noise on points, MODEL frame (half the longest side
            is 1).
        noise_probability: share of samples that get noise.
        missing_side_probability: share of samples whose points leave out one side, as scanners
            do; this and the next two are for the generator only.
        holes_probability: share of samples whose points leave out one to four patches.
        uneven_probability: share of samples whose points thin out in some direction.
        iterations: optimizer steps of the whole run.
        schedule: 'cosine' (to ``final_lr_share``) or 'wsd' (flat, then ``decay_iterations``).
        warmup: steps of linear rise from 0.
        decay_iterations: steps of linear fall at the end; 'wsd' only.
        final_lr_share: the rate at the last step, as a share of the highest one.
        lr: highest rate of AdamW, for the language model.
        encoder_lr: highest rate of the point encoder; None for ``lr``.
        vision_lr: highest rate of the vision tower; None for ``lr``, 0 freezes it.
        muon_lr: highest rate of Muon for the matrices inside the layers; 0 switches Muon off.
        adam_beta2: decay of AdamW's second moment.
        momentum: Muon's momentum.
        weight_decay: decoupled decay of matrices; none on norms and biases.
        clip: largest gradient norm; 0 switches clipping off.
        lora_rank: train adapters of this rank and the point encoder; 0 trains everything.
        lora_alpha: the adapters' scale is this over the rank.
        lora_dropout: share of inputs that an adapter does not see in training.
        dtype: arithmetic of forward and backward pass; weights that are trained are float32.
        export_dtype: number format of the weights in final/.
        attention: implementation of transformers; 'sdpa' is safe everywhere.
        torch_compile: compile the model; for GPUs, after a slow start.
        activation_checkpointing: compute activations twice and keep few of them.
        device: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.
        threads: CPU threads of the training process; 0 leaves torch's choice.
        workers: processes that draw samples; 0 draws in the training process.
        log_every: steps between log lines.
        save_every: steps between checkpoints.
        keep_last: checkpoints kept, besides the best one.
        eval_every: steps between validations; 0 switches validation off.
        eval_samples: held-out samples of a validation, the same ones each time.
        eval_programs: of these, parts whose program is written, built and scored, too.
        best_metric: 'eval_loss', 'eval_iou', 'eval_chamfer' or 'eval_invalid_ratio': the best
            checkpoint is kept and becomes final/; None keeps the newest.
        patience: stop after so many validations without a better ``best_metric``; 0 never.
        spike_factor: skip an update whose loss is this many times the running mean, and name
            its batch; 0 never.
        max_spikes: stop after so many such updates in a row.
        tensorboard: write event files into the run folder.
        wandb: report to Weights & Biases.
        trackio: report to trackio.
        max_minutes: stop cleanly, with a checkpoint, after so long; 0 for no limit.
    """

    output_dir: str
    model: Literal["cad_recode", "cadrille"] = "cad_recode"
    init_from: str | None = None
    tokenizer: str | None = None
    resume: bool = True

    hidden_size: int | None = None
    num_layers: int | None = None
    num_heads: int | None = None
    num_kv_heads: int | None = None
    intermediate_size: int | None = None
    num_points: int | None = None
    vision_width: int = 128
    vision_layers: int = 4
    picture_size: int | None = None

    points_weight: float = 1.0
    views_weight: float = 1.0
    words_weight: float = 1.0
    dimensioned_share: float = 0.7
    data: str | None = None
    eval_data: str | None = None

    seed: int = 0
    batch_size: int = 32
    accumulation: int = 1
    parts: int = 1
    pool_batches: int = 16
    reserve: int = 4
    max_failed_share: float = 0.05
    max_tokens: int = 160
    noise_std: float = 0.01
    noise_probability: float = 0.5
    missing_side_probability: float = 0.0
    holes_probability: float = 0.0
    uneven_probability: float = 0.0

    iterations: int = 10_000
    schedule: Literal["cosine", "wsd"] = "cosine"
    warmup: int = 200
    decay_iterations: int = 2_000
    final_lr_share: float = 0.0
    lr: float = 2e-3
    encoder_lr: float | None = None
    vision_lr: float | None = None
    muon_lr: float = 0.0
    adam_beta2: float = 0.95
    momentum: float = 0.95
    weight_decay: float = 0.01
    clip: float = 1.0
    lora_rank: int = 0
    lora_alpha: float = 32.0
    lora_dropout: float = 0.0

    dtype: Literal["float32", "bfloat16"] = "float32"
    export_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    torch_compile: bool = False
    activation_checkpointing: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    workers: int = 1

    log_every: int = 20
    save_every: int = 500
    keep_last: int = 2
    eval_every: int = 500
    eval_samples: int = 256
    eval_programs: int = 0
    best_metric: Literal["eval_loss", "eval_iou", "eval_chamfer", "eval_invalid_ratio", None] = None
    patience: int = 0
    spike_factor: float = 4.0
    max_spikes: int = 10
    tensorboard: bool = True
    wandb: bool = False
    trackio: bool = False
    max_minutes: float = 0.0

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            InputError: a value of the wrong type or out of range, named.
        """
        check_types(self)
        _check_ranges(self)
        _check_together(self)


# Those that decide what the model is and which sample comes next: a resumed run keeps them.
# So does the number of samples in a step, however it is divided over batches and processes.
FIXED_ON_RESUME = (
    "model",
    "hidden_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "intermediate_size",
    "num_points",
    "picture_size",
    "points_weight",
    "views_weight",
    "words_weight",
    "dimensioned_share",
    "data",
    "seed",
    "parts",
    "pool_batches",
    "reserve",
    "max_tokens",
    "noise_std",
    "noise_probability",
    "missing_side_probability",
    "holes_probability",
    "uneven_probability",
    "lora_rank",
)

SHAPE = (
    "hidden_size num_layers num_heads num_kv_heads intermediate_size num_points picture_size"
).split()
_AT_LEAST_ONE = (
    *SHAPE,
    *"vision_width vision_layers batch_size accumulation parts pool_batches reserve".split(),
    *"iterations log_every save_every keep_last max_spikes".split(),
)
_NOT_NEGATIVE = (
    "seed points_weight views_weight words_weight noise_std warmup decay_iterations lr "
    "encoder_lr vision_lr muon_lr weight_decay clip lora_rank lora_alpha threads workers "
    "eval_every eval_samples eval_programs patience spike_factor max_minutes"
).split()
_SHARES = (
    "max_failed_share noise_probability missing_side_probability holes_probability "
    "uneven_probability dimensioned_share final_lr_share adam_beta2 momentum lora_dropout"
).split()


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a recipe and change single settings; see ``read_recipe``.

    Raises:
        InputError: naming the file, the key or the value.
    """
    return read_recipe(recipe, overrides, TrainConfig)


def config_from_values(values: Mapping[str, Any]) -> TrainConfig:
    """A checked config from plain values.

    Raises:
        InputError: an unknown or missing key, or a value of the wrong type or range.
    """
    return make_settings(values, TrainConfig)


def config_to_yaml(config: TrainConfig) -> str:
    """The resolved recipe, every setting written out, readable by ``load_config``."""
    return settings_to_yaml(config)


def _check_ranges(config: TrainConfig) -> None:
    """Bounds of single settings; None is always allowed where the type allows it."""
    for name in _AT_LEAST_ONE:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"the setting '{name}' must be at least 1")
    for name in _NOT_NEGATIVE:
        value = getattr(config, name)
        # Written so that NaN fails, too.
        if value is not None and not 0 <= value < math.inf:
            raise InputError(f"the setting '{name}' must not be negative or infinite")
    for name in _SHARES:
        if not 0 <= getattr(config, name) <= 1:
            raise InputError(f"the setting '{name}' must lie between 0 and 1")
    if config.max_tokens < 3:
        raise InputError("the setting 'max_tokens' must be at least 3")


def _check_together(config: TrainConfig) -> None:
    """Settings that depend on each other."""
    for whole, share in (("hidden_size", "num_heads"), ("num_heads", "num_kv_heads")):
        size, parts = getattr(config, whole), getattr(config, share)
        if size is not None and parts is not None and size % parts:
            raise InputError(f"the setting '{share}' must divide '{whole}'")
    if config.points_weight + config.views_weight + config.words_weight == 0:
        raise InputError("one of points_weight, views_weight, words_weight must not be 0")
    if config.patience and config.best_metric is None:
        raise InputError("the setting 'patience' needs a 'best_metric' to judge by")
    if config.best_metric is not None and not config.eval_every:
        raise InputError("the setting 'best_metric' needs validation: set 'eval_every'")
    if config.eval_every and not config.eval_samples:
        raise InputError("validation needs samples: set 'eval_samples', or eval_every=0")
    if config.best_metric not in (None, "eval_loss") and not config.eval_programs:
        raise InputError(f"the best_metric '{config.best_metric}' needs 'eval_programs'")
    if config.muon_lr and config.lora_rank:
        raise InputError("muon_lr and lora_rank cannot go together: set one of them to 0")
    scanned = ("missing_side_probability", "holes_probability", "uneven_probability")
    if config.data is not None and any(getattr(config, name) for name in scanned):
        raise InputError(f"{', '.join(scanned)} are for the generator: leave 'data' out")
