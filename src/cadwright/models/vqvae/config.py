"""VqVaeConfig: the settings of the VQ-VAE, read from the published shape of file.

In: a JSON file with ``models.vqvae.args``, or plain values. Out: a checked VqVaeConfig. Published
names and aliases are taken as they are; what this project adds is listed last and has the
default that fits published weights.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadwright.errors import CheckpointError

# Published names that stand for others here.
ALIASES = {"embed_dim": "latent_channels"}
# Published settings with one value that this code has; another one is refused, not ignored.
FIXED: dict[str, tuple[Any, ...]] = {
    "out_channels": (1,),
    "vq_group_size": (1,),
    "extra_down_up_levels": (0,),
    "use_fp16": (False,),
    "representation_config": (None,),
}
# Published settings of a training, or of memory, that do not change what the model computes.
WITHOUT_EFFECT = ("use_checkpoint", "train_full_block_decode", "name", "in_channels")
ATTENTION = ("full", "swin", "shift_window", "shift_sequence", "shift_order")


@dataclass(frozen=True, slots=True, kw_only=True)
class VqVaeConfig:
    """One VQ-VAE.

    Attributes:
        resolution: cells along each side of the latent grid.
        model_channels: C; the levels have C/16, C/8, C/4 and C channels.
        latent_channels: numbers in a codebook vector, also called latent_dim.
        num_blocks: transformer blocks of the encoder, and of the decoder.
        num_blocks_encoder, num_blocks_decoder: where the two differ.
        num_heads: attention heads; None means 8, as published.
        num_head_channels: published, used where num_heads is 0.
        mlp_ratio: width of the feed-forward part over C.
        attn_mode: 'full', 'swin', 'shift_window', 'shift_sequence', 'shift_order'.
        window_size: side of a window in cells, or sites of a run along a curve.
        pe_mode: 'ape' adds sines of the position once, 'rope' turns queries and keys.
        qk_rms_norm: scale queries and keys to a learned length.
        num_embeddings: K, rows of the codebook.
        use_ema_update: codebook by running means instead of gradients.
        vq_decay, vq_epsilon: of those means.
        use_kmeans_reinit: replace the whole codebook by k-means now and then while training.
        kmeans_interval: steps between two replacements.
        reservoir_size: latents kept for k-means.
        chunk_size: decode in this many boxes a side, for less memory.
        latents_scale, latents_shift: latents are ``(h - shift) * scale`` for the quantizer.
        num_levels: halvings between voxels and latents; 3 was published.
        num_groups: groups of the group norms; as many as divide the channels, at most this.
        published_pool: divide a block's sum by one more than its sites, as published weights
            need it; False is a true mean.
        prune: the decoder predicts which children of a cell it keeps.
        threshold_factor: band of the SDF: this over the voxel resolution, see mesh_to_sdf.
        level: value of the decoded surface.
    """

    resolution: int = 64
    model_channels: int = 512
    latent_channels: int = 16
    num_blocks: int = 4
    num_blocks_encoder: int | None = None
    num_blocks_decoder: int | None = None
    num_heads: int | None = None
    num_head_channels: int = 64
    mlp_ratio: float = 4.0
    attn_mode: str = "swin"
    window_size: int = 8
    pe_mode: str = "ape"
    qk_rms_norm: bool = False
    num_embeddings: int = 8192
    use_ema_update: bool = False
    vq_decay: float = 0.99
    vq_epsilon: float = 1e-5
    use_kmeans_reinit: bool = False
    kmeans_interval: int = 2000
    reservoir_size: int = 16384
    chunk_size: int = 1
    latents_scale: float = 1.0
    latents_shift: float = 0.0
    num_levels: int = 3
    num_groups: int = 32
    published_pool: bool = True
    prune: bool = False
    threshold_factor: float = 4.0
    level: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            CheckpointError: a value is out of range, named.
        """
        _check_types(self)
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise CheckpointError(f"the VAE config's '{name}' must be at least 1")
        if not 1 <= self.num_levels <= 3:
            raise CheckpointError("the VAE config's 'num_levels' must be 1, 2 or 3")
        if self.attn_mode not in ATTENTION:
            raise CheckpointError(f"the VAE config's 'attn_mode' must be one of {ATTENTION}")
        if self.pe_mode not in ("ape", "rope"):
            raise CheckpointError("the VAE config's 'pe_mode' must be 'ape' or 'rope'")
        if self.model_channels % (4 << (self.num_levels - 1)):
            need = 4 << (self.num_levels - 1)
            raise CheckpointError(f"the VAE config's 'model_channels' must be a multiple of {need}")
        if self.model_channels % self.heads:
            raise CheckpointError("the VAE config's 'num_heads' must divide 'model_channels'")

    @property
    def latent_dim(self) -> int:
        """Numbers in a codebook vector: what a projector reads."""
        return self.latent_channels

    @property
    def voxel_resolution(self) -> int:
        """R of the sparse SDF: voxels along each side."""
        return self.resolution << self.num_levels

    @property
    def heads(self) -> int:
        """Attention heads."""
        if self.num_heads is None:
            return 8
        return self.num_heads or max(1, self.model_channels // self.num_head_channels)

    @property
    def channels(self) -> tuple[int, ...]:
        """Widths from the voxels to the latents, one more than levels: C/16, C/8, C/4, C."""
        c = self.model_channels
        return (c // 16, c // 8, c // 4, c)[-self.num_levels - 1 :]

    def groups(self, channels: int) -> int:
        """Groups of a group norm over so many channels."""
        return math.gcd(self.num_groups, channels)


_AT_LEAST_ONE = (
    "resolution model_channels latent_channels num_head_channels window_size num_embeddings "
    "kmeans_interval reservoir_size chunk_size num_groups"
).split()


def config_from_values(values: Mapping[str, Any]) -> VqVaeConfig:
    """A checked config from ``models.vqvae.args``.

    Raises:
        CheckpointError: an unknown setting, or a value this code does not have.
    """
    known = {field.name for field in dataclasses.fields(VqVaeConfig)}
    found: dict[str, Any] = {}
    for given, value in values.items():
        name = ALIASES.get(given, given)
        if name in known:
            found[name] = value
        elif name in FIXED:
            if value not in FIXED[name]:
                raise CheckpointError(f"the VAE config's '{name}' can only be {FIXED[name][0]!r}")
        elif name.removesuffix("_encoder").removesuffix("_decoder") in _SPLIT:
            _take_split(found, values, name)
        elif name not in WITHOUT_EFFECT:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise CheckpointError(f"the VAE config has no setting '{name}'{hint}")
    return VqVaeConfig(**found)


def read_config(path: str | Path) -> VqVaeConfig:
    """The VQ-VAE of a JSON file of the published shape.

    Raises:
        CheckpointError: unreadable, of another shape, or with settings that make no sense.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the VAE config '{path}' cannot be read: {error}") from error
    try:
        values = content["models"]["vqvae"]["args"]
        return config_from_values(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the VAE config '{path}' has no models.vqvae.args") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def config_to_json(config: VqVaeConfig) -> str:
    """The file that ``read_config`` reads, every setting written out."""
    args = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    content = {"models": {"vqvae": {"name": "SparseSDFVQVAE", "args": args}}}
    return json.dumps(content, indent=2) + "\n"


_SPLIT = ("model_channels", "num_heads")


def _take_split(found: dict[str, Any], values: Mapping[str, Any], name: str) -> None:
    """``model_channels_encoder`` and ``_decoder``: one value, which both must have."""
    base = name.removesuffix("_encoder").removesuffix("_decoder")
    for half in ("_encoder", "_decoder"):
        if values.get(base + half, values[name]) != values[name]:
            raise CheckpointError(f"the VAE config's '{base}' must be equal on both sides")
    found[base] = values[name]


def _check_types(config: VqVaeConfig) -> None:
    """Whole numbers, numbers, yes or no, words, as annotated."""
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), str(field.type)
        if value is None and "None" in kind:
            continue
        wanted: tuple[type, ...] = {"int": (int,), "float": (int, float), "str": (str,)}.get(
            kind.split(" ")[0], (bool,)
        )
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise CheckpointError(
                f"the VAE config's '{field.name}' must be of type {kind}, not {value!r}"
            )
