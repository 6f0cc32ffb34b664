"""VqVaeTrainConfig: every setting of a training of the VQ-VAE, from a YAML recipe and overrides.

In: the path of a recipe and words like ``lr=0.001``. Out: a checked VqVaeTrainConfig, whose model
is a ``VqVaeConfig`` under ``model:``. Not covered: what the settings do (training.vqvae.run).
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadwright.errors import InputError
from cadwright.models.vqvae.config import VqVaeConfig, config_from_values
from cadwright.optional import require


@dataclass(frozen=True, slots=True, kw_only=True)
class VqVaeTrainConfig:
    """One training: warm-up without codes, then the two published stages.

    Attributes:
        task: tells these recipes from those of the other trainings.
        output_dir: the run folder; holds ckpts/, log.jsonl, recipe.yaml and final/.
        model: the VQ-VAE.
        init_from: weights of a plain VAE or a VQ-VAE to start from; None starts from random ones.
        seed: of weights, of the stream of parts and of k-means.
        batch_size: parts per step.
        warmup_steps: steps as a plain autoencoder; 0 with published weights.
        codebook_steps: stage 1: encoder and decoder frozen, only the codebook learns.
        joint_steps: stage 2: everything learns.
        kmeans_share: of stage 2, the part in which k-means may still replace the codebook.
        reuse: how often a part is used, within some dozens of steps.
        slab_cells: a step sees a random slab of so many latent cells; 0 sees whole parts.
        whole_steps: at the end of the training, steps that see whole parts in any case.
        lr: highest rate of AdamW.
        rise_steps: linear rise from 0, at the start of the warm-up and of stage 2.
        fall_steps: linear fall to 0 at the end.
        weight_decay: decoupled, matrices only.
        clip: largest gradient norm.
        lambda_vq: weight of the codebook's loss, where it learns by gradients.
        lambda_commitment: weight of the commitment.
        lambda_prune: weight of the loss of the pruning.
        lambda_far: weight of voxels beyond the band, of which only the side is known.
        log_every, save_every, eval_every: steps between; eval_every 0 never evaluates.
        eval_parts: held-out parts of an evaluation.
        keep_last: checkpoints kept.
        threads: CPU threads, 0 leaves torch's choice.
        device: 'cpu', 'cuda', ...
        max_minutes: stop cleanly, with a checkpoint, after so long; 0 for no limit.
    """

    output_dir: str
    model: VqVaeConfig
    task: str = "vqvae"
    init_from: str | None = None
    seed: int = 0
    batch_size: int = 1
    warmup_steps: int = 1500
    codebook_steps: int = 100
    joint_steps: int = 3000
    kmeans_share: float = 0.5
    reuse: int = 1
    slab_cells: int = 0
    whole_steps: int = 0
    lr: float = 2e-3
    rise_steps: int = 50
    fall_steps: int = 500
    weight_decay: float = 0.01
    clip: float = 1.0
    lambda_vq: float = 1.0
    lambda_commitment: float = 0.25
    lambda_prune: float = 0.1
    lambda_far: float = 0.3
    log_every: int = 20
    save_every: int = 250
    eval_every: int = 0
    eval_parts: int = 8
    keep_last: int = 2
    threads: int = 0
    device: str = "cpu"
    max_minutes: float = 0.0

    @property
    def steps(self) -> int:
        """Of all stages."""
        return self.warmup_steps + self.codebook_steps + self.joint_steps

    def stage(self, step: int) -> str:
        """'warmup', 'codebook' or 'joint', for a 0-based step."""
        if step < self.warmup_steps:
            return "warmup"
        return "codebook" if step < self.warmup_steps + self.codebook_steps else "joint"

    def lr_share(self, step: int) -> float:
        """Rate of a 0-based step over the highest: risen, flat, fallen."""
        joint_from = self.warmup_steps + self.codebook_steps
        since = step - joint_from if step >= joint_from else step
        rise = (since + 1) / max(self.rise_steps, 1)
        fall = (self.steps - step) / max(self.fall_steps, 1)
        return min(1.0, rise, fall)


_COUNTS = "batch_size reuse log_every save_every keep_last eval_parts".split()


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> VqVaeTrainConfig:
    """Read a recipe and change single settings.

    Args:
        recipe: YAML; the model's settings stand under ``model:``.
        overrides: ``key=value`` or ``model.key=value``, the value read as YAML.
    Raises:
        InputError: unreadable, an unknown key, or a value of the wrong kind.
        CheckpointError: a setting of the model makes no sense.
    """
    yaml = require("yaml", extra="train")
    try:
        values = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
        for word in overrides:
            key, sign, text = word.partition("=")
            if not sign:
                raise InputError(f"the override '{word}' is not of the form key=value")
            inner = values["model"] if key.startswith("model.") else values
            inner[key.removeprefix("model.")] = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"the recipe '{recipe}' cannot be read: {error}") from error
    except (TypeError, KeyError) as error:
        raise InputError(f"the recipe '{recipe}' must be 'key: value' lines and model:") from error
    return config_from_recipe(values)


def config_from_recipe(values: Mapping[str, Any]) -> VqVaeTrainConfig:
    """A checked config from plain values, the model's under ``model``.

    Raises:
        InputError: an unknown or missing key, or a value of the wrong kind.
        CheckpointError: a setting of the model makes no sense.
    """
    if not isinstance(values, Mapping):
        raise InputError("a recipe must be 'key: value' lines")
    fields = {field.name: field for field in dataclasses.fields(VqVaeTrainConfig)}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"the recipe has no setting '{key}'{hint}")
    if values.get("task", "vqvae") != "vqvae":
        raise InputError(f"a recipe of a VQ-VAE has task: vqvae, not {values['task']!r}")
    for key in ("output_dir", "model"):
        if key not in values:
            raise InputError(f"the recipe lacks the setting '{key}'")
    if not isinstance(values["model"], Mapping):
        raise InputError("the recipe's 'model' must be the VQ-VAE's settings")
    found = {key: _checked(key, value, str(fields[key].type)) for key, value in values.items()
             if key != "model"}  # fmt: skip
    return VqVaeTrainConfig(**found, model=config_from_values(values["model"]))


def config_to_recipe(config: VqVaeTrainConfig) -> str:
    """The resolved recipe, every setting written out."""
    text: str = require("yaml", extra="train").safe_dump(
        dataclasses.asdict(config), sort_keys=False
    )
    return text


def _checked(key: str, value: Any, kind: str) -> Any:
    """A value of the annotated kind and range; YAML reads 1e-3 as text, so numbers may be text."""
    if kind == "float" and not isinstance(value, bool):
        try:
            value = float(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"the setting '{key}' must be a number, not {value!r}") from error
    wanted = {"int": int, "float": float}.get(kind, str)
    fits = isinstance(value, wanted) or (value is None and "None" in kind)
    if isinstance(value, bool) or not fits:
        raise InputError(f"the setting '{key}' must be of type {kind}, not {value!r}")
    if isinstance(value, (int, float)) and not 0 <= value < math.inf:
        raise InputError(f"the setting '{key}' must not be negative or infinite")
    if key in _COUNTS and value < 1:
        raise InputError(f"the setting '{key}' must be at least 1")
    return value
