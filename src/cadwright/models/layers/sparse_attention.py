"""Attention on sparse tensors: within samples, within windows of space, along a curve.

In: (N, C) numbers on sites. Out: the same shape. Which sites see each other is a plan, made
once per set of sites: groups padded to a few lengths, so that PyTorch's own attention does the
work on every device. Shape suffixes: N sites, C channels, H heads, D numbers a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import InputError
from cadwright.models.layers.serialise import ORDERS, coords_to_code
from cadwright.models.layers.sites import Sites, SparseTensor

AttentionMode = Literal["full", "swin", "shift_window", "shift_sequence", "shift_order"]
MODES = ("full", "swin", "shift_window", "shift_sequence", "shift_order")
CURVE_SHIFT = 16  # cells by which every second block of 'shift_window' moves the curve
ROPE_BASE = 10_000.0


@dataclass(frozen=True, eq=False)
class Plan:
    """Who sees whom.

    Attributes:
        groups: (W, L) rows and (W, L) bool which of them are real, for each length L.
        take: (N,) where in the outputs of all groups, one after the other, each row's own is.
    """

    groups: list[tuple[Tensor, Tensor]]
    take: Tensor


def make_plan(sites: Sites, mode: str, *, window_size: int, block: int) -> Plan:
    """The plan of a block; the same for all blocks of one mode and shift.

    Args:
        sites: of the tensor.
        mode: 'full' all of a sample; 'swin' cubes of space, every second block moved by half
            a window; 'shift_...' runs along a curve (see module).
        window_size: side of a cube for 'swin', sites of a run for 'shift_...'.
        block: number of the block in its stack.
    Raises:
        InputError: no such mode.
    """
    if mode not in MODES:
        raise InputError(f"attn_mode must be one of {MODES}, not '{mode}'")
    if mode in ("full", "swin"):
        shift = window_size // 2 * (block % 2) if mode == "swin" else 0
        name = (mode, window_size, shift)
        return sites.once(name, lambda: _by_window(sites, mode, window_size, shift))
    variant = block % (len(ORDERS) if mode == "shift_order" else 2)
    name = (mode, window_size, variant)
    return sites.once(name, lambda: _along_curve(sites, mode, window_size, variant))


def _by_window(sites: Sites, mode: str, window: int, shift: int) -> Plan:
    """Groups of the sites that share a cube; no cube reaches around the end of the grid."""
    if mode == "full":
        keys = sites.batch
    else:
        b, x, y, z = (sites.coords + sites.coords.new_tensor([0, *[shift] * 3])).unbind(1)
        side = (sites.resolution + shift) // window + 1
        keys = ((b * side + x // window) * side + y // window) * side + z // window
    ordered, order = keys.sort(stable=True)
    _, lengths = ordered.unique_consecutive(return_counts=True)
    ends = lengths.cumsum(0)
    return _pad(order, ends - lengths, lengths)


def _pad(order: Tensor, starts: Tensor, lengths: Tensor) -> Plan:
    """Runs of ``order`` as groups whose lengths differ by less than a factor of two."""
    groups, take, done = [], torch.zeros_like(order), 0
    magnitude = torch.frexp(lengths.double() - 0.5).exponent  # ceil(log2(length))
    for power in magnitude.unique().tolist():
        chosen = magnitude == power
        longest = int(lengths[chosen].max())
        steps = torch.arange(longest, device=order.device)
        valid = steps < lengths[chosen][:, None]
        place = (starts[chosen][:, None] + steps).clamp(max=len(order) - 1)
        rows = order[place]
        groups.append((rows, valid))
        take[rows[valid]] = done + valid.view(-1).nonzero()[:, 0]
        done += rows.numel()
    return Plan(groups, take)


def _along_curve(sites: Sites, mode: str, window: int, variant: int) -> Plan:
    """Runs of equal length along a curve; they overlap, and each site keeps one result."""
    order_name = ORDERS[variant] if mode == "shift_order" else "z"
    moved = sites.coords[:, 1:] + (CURVE_SHIFT * variant if mode == "shift_window" else 0)
    code = coords_to_code(moved, order_name)
    along = code.argsort(stable=True)
    along = along[sites.batch[along].argsort(stable=True)]
    shift = window // 2 * variant if mode == "shift_sequence" else 0
    groups, take, start, done = [], torch.zeros_like(along), 0, 0
    for count in sites.counts.tolist():
        if count:
            rows, place = _runs(along[start : start + count], window, shift)
            groups.append((rows, torch.ones_like(rows, dtype=torch.bool)))
            take[along[start : start + count]] = done + place
            done += rows.numel()
            start += count
    return Plan(groups, take)


def _runs(along: Tensor, window: int, shift: int) -> tuple[Tensor, Tensor]:
    """(W, L) rows of one sample's runs, and (n,) where each site's own result is in them."""
    count = len(along)
    steps = torch.arange(count, device=along.device)
    if count <= window:
        return along[None], steps
    num = -(-count // window)
    edges = torch.arange(num + 1, device=along.device) * count // num
    first = (edges[:-1] + edges[1:]) // 2 - window // 2 + shift  # around the middle of a segment
    place = (first[:, None] + torch.arange(window, device=along.device)) % count
    segment = torch.searchsorted(edges, steps, right=True) - 1
    # Moved along by ``shift``, the segments move too: step s belongs to the run of s - shift.
    owner = segment[(steps - shift) % count]
    offset = (steps - first[owner]) % count
    return along[place], owner * window + offset


class SparseAttention(nn.Module):
    """Multi-head self-attention on a sparse tensor.

    Args:
        channels: C.
        num_heads: H.
        mode: see ``make_plan``.
        window_size: see ``make_plan``.
        block: number of the block in its stack.
        use_rope: turn queries and keys by their coordinates.
        qk_rms_norm: scale queries and keys to a learned length.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        mode: str,
        window_size: int,
        block: int,
        use_rope: bool = False,
        qk_rms_norm: bool = False,
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise InputError(f"num_heads={num_heads} does not divide {channels} channels")
        self.num_heads, self.mode, self.window_size = num_heads, mode, window_size
        self.block, self.use_rope = block, use_rope
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)
        if qk_rms_norm:
            self.q_rms_norm = HeadNorm(num_heads, channels // num_heads)
            self.k_rms_norm = HeadNorm(num_heads, channels // num_heads)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) to (N, C)."""
        plan = make_plan(x.sites, self.mode, window_size=self.window_size, block=self.block)
        qkv_N3HD = self.to_qkv(x.feats).view(len(x.sites), 3, self.num_heads, -1)
        q, k, v = qkv_N3HD.unbind(1)
        if hasattr(self, "q_rms_norm"):
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        if self.use_rope:
            turn = _phases(x.sites, q.shape[-1])
            q, k = _turned(q, turn), _turned(k, turn)
        return x.replace(self.to_out(attend(q, k, v, plan).flatten(1)))


def attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> Tensor:
    """Attention of each group of a plan: (N, H, D) queries, keys, values to (N, H, D)."""
    outs = []
    for rows, valid in plan.groups:
        q_WHLD, k_WHLD, v_WHLD = (part[rows].transpose(1, 2) for part in (q, k, v))
        mask = None if bool(valid.all()) else valid[:, None, None, :]
        out = functional.scaled_dot_product_attention(q_WHLD, k_WHLD, v_WHLD, attn_mask=mask)
        outs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outs)[plan.take]


class HeadNorm(nn.Module):
    """Each head's vector to length ``gamma`` sqrt(D).

    Args:
        num_heads: H.
        width: D.
    """

    def __init__(self, num_heads: int, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(num_heads, width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, D) to (N, H, D)."""
        unit = functional.normalize(x.float(), dim=-1)
        return (unit * self.gamma * x.shape[-1] ** 0.5).to(x.dtype)


class _FeedForward(nn.Module):
    """Two linear layers, under the published names."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, channels)
        )

    def forward(self, feats: Tensor) -> Tensor:
        """(N, C) to (N, C)."""
        out: Tensor = self.mlp(feats)
        return out


class SparseBlock(nn.Module):
    """Pre-norm attention and feed-forward part; the norms have no parameters.

    Args:
        channels: C.
        num_heads: H.
        mlp_ratio: width of the feed-forward part over C.
        mode, window_size, block, use_rope, qk_rms_norm: see ``SparseAttention``.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        mlp_ratio: float,
        mode: str,
        window_size: int,
        block: int,
        use_rope: bool = False,
        qk_rms_norm: bool = False,
    ) -> None:
        super().__init__()
        self.attn = SparseAttention(
            channels, num_heads=num_heads, mode=mode, window_size=window_size, block=block,
            use_rope=use_rope, qk_rms_norm=qk_rms_norm,
        )  # fmt: skip
        hidden = int(channels * mlp_ratio)
        self.mlp = _FeedForward(channels, hidden)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) to (N, C)."""
        x = x.replace(x.feats + self.attn(x.replace(layer_norm(x.feats, 1e-6))).feats)
        return x.replace(x.feats + self.mlp(layer_norm(x.feats, 1e-6)))


def layer_norm(feats: Tensor, eps: float) -> Tensor:
    """(N, C) to mean 0 and variance 1 in each row, computed in float32, without parameters."""
    return functional.layer_norm(feats.float(), feats.shape[-1:], eps=eps).to(feats.dtype)


def absolute_positions(coords: Tensor, channels: int) -> Tensor:
    """Sines, then cosines, of x, y, z at frequencies 10000^(-i/f), f = C // 6; the rest is 0.

    Args:
        coords: (N, 3), whole or not; computed in float32 whatever they are.
        channels: C.
    Returns:
        (N, C) float32.
    """
    num = channels // 6
    steps = torch.arange(num, dtype=torch.float32, device=coords.device) / max(num, 1)
    angles = coords.float()[:, :, None] * ROPE_BASE**-steps
    waves = torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)
    return functional.pad(waves, (0, channels - waves.shape[1]))


def _phases(sites: Sites, width: int) -> Tensor:
    """(N, D // 2) complex turns by x, y and z; 1 where D // 2 is no multiple of three."""

    def make() -> Tensor:
        num = width // 6
        steps = torch.arange(num, dtype=torch.float32, device=sites.coords.device) / max(num, 1)
        angles = (sites.coords[:, 1:, None].float() * ROPE_BASE**-steps).flatten(1)
        angles = functional.pad(angles, (0, width // 2 - 3 * num))
        return torch.polar(torch.ones_like(angles), angles)

    return sites.once(("phases", width), make)


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * turn[:, None]).flatten(2).to(x.dtype)
