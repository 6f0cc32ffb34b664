"""AlignArgs: every argument of an alignment, by the seed's names and defaults.

In: values of a command line. Out: checked arguments. Not covered: what they do (run, build).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cadwright.errors import InputError
from cadwright.models.align3d.sequence import TRUNCATIONS, Truncation
from cadwright.training.align.schedule import SCHEDULES, Schedule

DTYPES = ("float32", "bfloat16")
PROJECTORS = ("mlp", "depth")


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
        data: folder of ``align extract``, captions file, or 'generator'.
        shapes: folder of the shapes that a captions file names, if not its own.
        max_samples: only the first so many shapes; 0 means all. How many of the generator's.
        text_length: tokens of a question with its answer.
        whole_captions: only captions that name kind, bodies and holes are learned.
        projector: ``mlp`` is the published one; ``depth`` see ``depth_projector``, for which
            ``projector_layers``, ``use_3d_pos``, ``final_norm`` and ``block`` mean nothing.
        warm_up: epochs in which the projector alone learns kinds and counts, see ``warm_up``.
        train_all: the whole language model learns, too; not the seed's setting.
        projector_lr: of AdamW for the projector, which a warm-up has brought far; 0 means ``lr``.
        truncate_mode: how long shapes are shortened.
        block: cells a side that share a token.
        final_norm: end the projector in a layer norm.
        schedule, warmup_ratio: of the rate, over all epochs.
        clip: largest norm of the gradient.
        device: 'cpu', 'cuda', ...
        dtype: of the language model; projector and VAE stay float32.
        max_minutes: stop after the epoch that exceeds them; 0 means never.
        seed: of new weights, the order of samples, generated shapes and dummy data.
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
    data: str | None = None
    shapes: str | None = None
    max_samples: int = 0
    text_length: int = 256
    whole_captions: bool = False
    projector: str = "mlp"
    warm_up: int = 0
    train_all: bool = False
    projector_lr: float = 0.0
    truncate_mode: Truncation = "head"
    block: int = 1
    final_norm: bool = False
    schedule: Schedule = "constant"
    warmup_ratio: float = 0.0
    clip: float = 1.0
    device: str = "cpu"
    dtype: str = "float32"
    max_minutes: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that make no run."""
        for name in ("epochs", "batch_size", "max_3d_tokens", "projector_layers", "lora_r",
                     "dummy_samples", "text_length", "block"):  # fmt: skip
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr must be greater than 0, not {self.lr}")
        if not 0 <= self.projector_lr < math.inf:
            raise InputError(f"projector_lr must not be negative: {self.projector_lr}")
        if not self.clip > 0 or not 0 <= self.warmup_ratio < 1 or self.warm_up < 0:
            raise InputError("clip must be over 0, warmup_ratio in [0, 1), warm_up not below 0")
        if self.max_samples < 0:
            raise InputError(f"max_samples must not be negative: {self.max_samples}")
        for name, values in (("truncate_mode", TRUNCATIONS), ("schedule", SCHEDULES),
                             ("dtype", DTYPES), ("projector", PROJECTORS)):  # fmt: skip
            if getattr(self, name) not in values:
                raise InputError(
                    f"{name} is one of {', '.join(values)}, not {getattr(self, name)!r}"
                )
        if self.warm_up and self.projector == "mlp":
            raise InputError("only a projector of depth maps has a warm-up: --projector depth")
        if self.use_lora and self.train_all:
            raise InputError("use_lora and train_all exclude each other")
        if (self.vae_config is None) != (self.vae_ckpt is None):
            raise InputError("a VAE needs both --vae_config and --vae_ckpt")
