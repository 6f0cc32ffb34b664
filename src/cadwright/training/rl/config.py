"""RLConfig: every setting of a reinforcement learning run, flat.

In: a YAML recipe with ``task: rl`` and overrides. Out: a checked RLConfig. Not covered: what the
settings do (loop, policy_loss), which recipes exist (the folder recipes/).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cadwright.errors import InputError
from cadwright.training.recipe import check_types, read_recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class RLConfig:
    """One reinforcement learning run.

    Attributes:
        output_dir: the run folder; holds checkpoints, the log, the resolved recipe, best/, final/.
        init_from: folder or Hub id of the model to improve; 'embedded' for that of the package.
        task: tells these recipes from those of supervised training.
        tokenizer: folder or Hub id, where the model's folder has none.
        resume: go on from the newest whole checkpoint in ``output_dir`` if there is one;
            otherwise a folder that holds checkpoints is refused.
        inputs: what the model is shown; 'views' and 'both' (a coin for each part) are for cadrille.
        meshes: folder of closed meshes to learn from; None takes the generator's solids.
        max_failed_share: stop where more than this share of the parts cannot be used.
        seed: of parts, points, noise and samples.
        parts: N, parts of a step, in each process.
        samples: G, programs sampled for each part.
        keep: of these, how many are learned from: those with the largest advantages.
        updates: optimizer steps on one set of samples.
        algorithm: 'dr_cppo' (reward minus mean, no division by length) or 'grpo' (divided by
            the standard deviation, and by each program's length).
        best_of: 1 raises the mean reward; k above 1 that of the best of k samples, as used by
            those who keep the best of several candidates; for 'dr_cppo'.
        temperature: that samples are drawn at.
        invalid_reward: of a program without a solid; published -10, which drives a model that
            often fails to what never fails, boxes.
        clip_ratio: PPO's epsilon.
        kl_weight: of the divergence from the model at the start; 0 keeps no second model.
        entropy_weight: of the entropy bonus.
        entropy_floor: the bonus is paid only while a token's mean entropy is below this, nats.
        max_new_tokens: longest program; longer ones count as invalid.
        hard_below: parts with a mean reward below this are kept to be tried again.
        hard_share: share of a step's parts that come from those, once there are enough.
        hard_size: parts kept at most; the oldest go first.
        hard_tries: after so many a part is given up.
        noise_std: standard deviation of the noise on points, MODEL frame.
        noise_probability: share of parts that get noise.
        iterations: sets of samples of the whole run.
        lr: highest rate of Adam.
        warmup: iterations of linear rise from 0.
        final_lr_share: the rate falls in a line to this share of the highest one.
        adam_beta2: decay of Adam's second moment.
        weight_decay: decoupled.
        clip: largest gradient norm; 0 switches clipping off.
        freeze_vision: leave cadrille's vision tower as it is.
        rollout_parts: parts sampled at once; less memory, the same result in distribution.
        loss_parts: parts per forward and backward pass; less memory.
        dtype: arithmetic; weights are float32 in any case.
        export_dtype: number format of the weights in best/ and final/.
        device: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.
        threads: CPU threads of the training process; 0 leaves torch's choice.
        reward_workers: processes that compute rewards; 0 computes them here, without time limit.
        reward_timeout_s: limit of one program.
        log_every: iterations between log lines.
        save_every: iterations between checkpoints.
        keep_last: checkpoints kept.
        eval_every: iterations between evaluations; 0 switches them off.
        eval_parts: held-out parts of an evaluation, the same ones each time; one program each.
        eval_meshes: folder of the held-out parts; None takes the generator's solids.
        eval_seed: of the held-out parts.
        patience: stop after so many evaluations without a better one; 0 never.
        least_length_share: stop where programs get shorter than this share of their length at
            the start and the last evaluation was not the best: the known failure is a collapse
            to short boxes. 0 never.
        max_minutes: stop cleanly, with a checkpoint, after so long; 0 for no limit.
    """

    output_dir: str
    init_from: str = "embedded"
    task: Literal["rl"] = "rl"
    tokenizer: str | None = None
    resume: bool = True

    inputs: Literal["points", "views", "both"] = "points"
    meshes: str | None = None
    max_failed_share: float = 0.2
    seed: int = 0

    parts: int = 16
    samples: int = 16
    keep: int = 4
    updates: int = 3
    algorithm: Literal["dr_cppo", "grpo"] = "dr_cppo"
    best_of: int = 1
    temperature: float = 1.0
    invalid_reward: float = -10.0
    clip_ratio: float = 0.1
    kl_weight: float = 0.0
    entropy_weight: float = 0.0
    entropy_floor: float = math.inf
    max_new_tokens: int = 160

    hard_below: float = 7.5
    hard_share: float = 0.5
    hard_size: int = 4096
    hard_tries: int = 4
    noise_std: float = 0.01
    noise_probability: float = 0.5

    iterations: int = 100
    lr: float = 3e-5
    warmup: int = 5
    final_lr_share: float = 0.1
    adam_beta2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 1.0
    freeze_vision: bool = False
    rollout_parts: int = 16
    loss_parts: int = 8

    dtype: Literal["float32", "bfloat16"] = "float32"
    export_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    reward_workers: int = 1
    reward_timeout_s: float = 10.0

    log_every: int = 1
    save_every: int = 20
    keep_last: int = 2
    eval_every: int = 10
    eval_parts: int = 128
    eval_meshes: str | None = None
    eval_seed: int = 20_261_121
    patience: int = 0
    least_length_share: float = 0.5
    max_minutes: float = 0.0

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            InputError: a value of the wrong type or out of range, named.
        """
        check_types(self)
        _check_ranges(self)


# Those that decide which parts and programs come next: a resumed run keeps them.
FIXED_ON_RESUME = (
    "inputs",
    "meshes",
    "seed",
    "parts",
    "samples",
    "temperature",
    "max_new_tokens",
    "noise_std",
    "noise_probability",
    "rollout_parts",
)

_AT_LEAST_ONE = (
    "parts keep updates best_of max_new_tokens hard_tries iterations rollout_parts loss_parts "
    "log_every save_every keep_last"
).split()
_NOT_NEGATIVE = (
    "seed kl_weight entropy_weight hard_size noise_std lr warmup weight_decay clip threads "
    "reward_workers eval_every eval_parts eval_seed patience max_minutes"
).split()
_SHARES = (
    "max_failed_share hard_share noise_probability final_lr_share adam_beta2 least_length_share"
).split()
_POSITIVE = "temperature clip_ratio reward_timeout_s".split()


def load_rl_config(recipe: str | Path, overrides: Sequence[str] = ()) -> RLConfig:
    """Read a recipe and change single settings.

    Args:
        recipe: path of a flat YAML file.
        overrides: words ``key=value``; the value is read as YAML, later words win.

    Raises:
        InputError: no such file, not flat YAML, an unknown key (with the nearest known
            one), or a value of the wrong type or out of range.
    """
    return read_recipe(recipe, overrides, RLConfig)


def _check_ranges(config: RLConfig) -> None:
    """Bounds of single settings and of those that depend on each other."""
    for name in _AT_LEAST_ONE:
        if getattr(config, name) < 1:
            raise InputError(f"the setting '{name}' must be at least 1")
    for name in _NOT_NEGATIVE:
        # Written so that NaN fails, too.
        if not 0 <= getattr(config, name) < math.inf:
            raise InputError(f"the setting '{name}' must not be negative or infinite")
    for name in _SHARES:
        if not 0 <= getattr(config, name) <= 1:
            raise InputError(f"the setting '{name}' must lie between 0 and 1")
    for name in _POSITIVE:
        if not 0 < getattr(config, name) < math.inf:
            raise InputError(f"the setting '{name}' must be greater than 0")
    if config.samples < 2:
        raise InputError("the setting 'samples' must be at least 2: one has nothing to beat")
    if config.keep > config.samples:
        raise InputError("the setting 'keep' must not exceed 'samples'")
    if config.best_of > config.samples:
        raise InputError("the setting 'best_of' must not exceed 'samples'")
    if config.best_of > 1 and config.algorithm != "dr_cppo":
        raise InputError("the setting 'best_of' above 1 needs algorithm=dr_cppo")
    if config.eval_every and not config.eval_parts:
        raise InputError("the setting 'eval_parts' must be at least 1, or 'eval_every' 0")
    if not -math.inf < config.invalid_reward <= 0:
        raise InputError("the setting 'invalid_reward' must not be positive or infinite")
    if not config.entropy_floor > 0:
        raise InputError("the setting 'entropy_floor' must be greater than 0")
