"""TrainConfig: every setting of a training run, flat, from a YAML recipe and overrides.

In: the path of a recipe and words like ``lr=0.001``. Out: a checked TrainConfig.
Not covered: what the settings do (sft), which recipes exist (the folder recipes/).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cadwright.errors import InputError
from cadwright.optional import require


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One supervised training run on the generator's stream.

    Attributes:
        output_dir: the run folder; holds checkpoints, the log, the resolved recipe, final/.
        init_from: folder of a model to start from; None starts from random weights.
        tokenizer: folder or Hub id; None takes that of ``init_from``, or the embedded default's.
        resume: go on from the newest whole checkpoint in ``output_dir`` if there is one;
            otherwise a folder that holds checkpoints is refused.
        hidden_size: width of the decoder.
        num_layers: decoder layers.
        num_heads: attention heads; divides ``hidden_size``.
        num_kv_heads: heads of keys and values; divides ``num_heads``.
        intermediate_size: width of the feed-forward part.
        num_points: P, points in front of each program.
        seed: of weights, of the stream of samples and of the noise.
        batch_size: samples per optimizer step.
        pool_batches: batches drawn, sorted by length and dealt out together; more of them
            waste less padding.
        max_tokens: longest program, start and end token included; longer ones are skipped.
        noise_std: standard deviation of the noise on points, MODEL frame (half the longest side
            is 1).
        noise_probability: share of samples that get noise.
        iterations: optimizer steps of the whole run.
        schedule: 'cosine' (to ``final_lr_share``) or 'wsd' (flat, then ``decay_iterations``).
        warmup: steps of linear rise from 0.
        decay_iterations: steps of linear fall at the end; 'wsd' only.
        final_lr_share: the rate at the last step, as a share of the highest one.
        lr: highest rate of AdamW: embeddings, norms, biases, point encoder; all
            parameters if ``muon_lr`` is 0.
        muon_lr: highest rate of Muon for the matrices inside the layers; 0 switches Muon off.
        adam_beta2: decay of AdamW's second moment.
        momentum: Muon's momentum.
        weight_decay: decoupled decay of matrices in both optimizers; none on norms and biases.
        clip: largest gradient norm; 0 switches clipping off.
        dtype: arithmetic of forward and backward pass; weights are float32 in any case.
        export_dtype: number format of the weights in final/.
        device: 'auto' (a GPU if there is one), 'cpu', 'cuda', 'cuda:1', ...
        threads: CPU threads of the training process; 0 leaves torch's choice.
        workers: processes that draw samples; 0 draws in the training process.
        log_every: steps between log lines.
        save_every: steps between checkpoints.
        keep_last: checkpoints kept.
        eval_every: steps between validations; 0 switches validation off.
        eval_samples: held-out samples of a validation, the same ones each time.
        max_minutes: stop cleanly, with a checkpoint, after so long; 0 for no limit.
    """

    output_dir: str
    init_from: str | None = None
    tokenizer: str | None = None
    resume: bool = True

    hidden_size: int = 256
    num_layers: int = 6
    num_heads: int = 4
    num_kv_heads: int = 2
    intermediate_size: int = 688
    num_points: int = 128

    seed: int = 0
    batch_size: int = 32
    pool_batches: int = 16
    max_tokens: int = 160
    noise_std: float = 0.01
    noise_probability: float = 0.5

    iterations: int = 10_000
    schedule: Literal["cosine", "wsd"] = "cosine"
    warmup: int = 200
    decay_iterations: int = 2_000
    final_lr_share: float = 0.0
    lr: float = 2e-3
    muon_lr: float = 1e-2
    adam_beta2: float = 0.95
    momentum: float = 0.95
    weight_decay: float = 0.01
    clip: float = 1.0

    dtype: Literal["float32", "bfloat16"] = "float32"
    export_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    threads: int = 0
    workers: int = 1

    log_every: int = 20
    save_every: int = 500
    keep_last: int = 2
    eval_every: int = 500
    eval_samples: int = 256
    max_minutes: float = 0.0

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            InputError: a value of the wrong type or out of range, named.
        """
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), _field_types()[field.name])
        _check_ranges(self)


# Those that decide what the model is and which sample comes next: a resumed run keeps them.
FIXED_ON_RESUME = (
    "hidden_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "intermediate_size",
    "num_points",
    "seed",
    "batch_size",
    "pool_batches",
    "max_tokens",
    "noise_std",
    "noise_probability",
)

_AT_LEAST_ONE = (
    "hidden_size num_layers num_heads num_kv_heads intermediate_size num_points batch_size "
    "pool_batches iterations log_every save_every keep_last"
).split()
_NOT_NEGATIVE = (
    "seed noise_std warmup decay_iterations lr muon_lr weight_decay clip threads workers "
    "eval_every eval_samples max_minutes"
).split()
_SHARES = "noise_probability final_lr_share adam_beta2 momentum".split()


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a recipe and change single settings.

    Args:
        recipe: path of a flat YAML file.
        overrides: words ``key=value``; the value is read as YAML, later words win.

    Raises:
        InputError: no such file, not flat YAML, an unknown key (with the nearest known
            one), or a value of the wrong type.
    """
    yaml = require("yaml", extra="train")
    try:
        values = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe '{recipe}' cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"the recipe '{recipe}' is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"the recipe '{recipe}' must be a list of 'key: value' lines")
    return config_from_values({**values, **dict(_split_override(word) for word in overrides)})


def config_from_values(values: Mapping[str, Any]) -> TrainConfig:
    """A checked config from plain values.

    Raises:
        InputError: an unknown or missing key, or a value of the wrong type or range.
    """
    known = _field_types()
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"the recipe has no setting '{key}'{hint}")
    if "output_dir" not in values:
        raise InputError("the recipe lacks the setting 'output_dir'")
    return TrainConfig(**{key: _widen(value, known[key]) for key, value in values.items()})


def config_to_yaml(config: TrainConfig) -> str:
    """The resolved recipe, every setting written out, readable by ``load_config``."""
    text: str = require("yaml", extra="train").safe_dump(
        dataclasses.asdict(config), sort_keys=False
    )
    return text


def _split_override(word: str) -> tuple[str, Any]:
    """``'lr=1e-3'`` to ``('lr', 0.001)``."""
    yaml = require("yaml", extra="train")
    key, sign, text = word.partition("=")
    if not sign or not key:
        raise InputError(f"the override '{word}' is not of the form key=value")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the value of the override '{word}' is not YAML") from error


@functools.cache
def _field_types() -> dict[str, Any]:
    """Setting name to its type, in order."""
    return typing.get_type_hints(TrainConfig)


def _widen(value: Any, kind: Any) -> Any:
    """Integers where a float is wanted, and YAML 1.1's '1e-3', which it reads as text."""
    if kind is not float or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _check_type(name: str, value: Any, kind: Any) -> None:
    """One setting against its annotation."""
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise InputError(f"the setting '{name}' must be one of {choices}, not {value!r}")
        return
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    wrong_bool = isinstance(value, bool) and bool not in kinds
    taken = (*kinds, int) if float in kinds else kinds
    if wrong_bool or not isinstance(value, taken):
        wanted = " or ".join(k.__name__ for k in kinds)
        raise InputError(f"the setting '{name}' must be of type {wanted}, not {value!r}")


def _check_ranges(config: TrainConfig) -> None:
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
    if config.max_tokens < 3:
        raise InputError("the setting 'max_tokens' must be at least 3")
    if config.hidden_size % config.num_heads:
        raise InputError("the setting 'num_heads' must divide 'hidden_size'")
    if config.num_heads % config.num_kv_heads:
        raise InputError("the setting 'num_kv_heads' must divide 'num_heads'")
