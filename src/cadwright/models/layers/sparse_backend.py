"""Which code computes submanifold convolutions: plain PyTorch, or spconv on a GPU.

In: the switch ``CADWRIGHT_SPARSE_BACKEND`` (torch or spconv) or ``set_sparse_backend``. Out: the
convolution of spconv, once per process compared with plain PyTorch on that very device, and
refused where the two differ. Not covered: spconv on a CPU, whose results race between threads.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cadwright.errors import CadwrightError, InputError
from cadwright.models.layers.sites import OFFSETS, SparseTensor, make_sites
from cadwright.models.layers.submanifold import submanifold_convolution
from cadwright.optional import require

SWITCH = "CADWRIGHT_SPARSE_BACKEND"
BACKENDS = ("torch", "spconv")
TOLERANCE = 1e-2  # of the largest value: TF32 rounds to 10 bits; another layout is off by all
_chosen: list[str] = []


class BackendError(CadwrightError):
    """spconv gives other numbers than the reference on this machine."""


def set_sparse_backend(name: str) -> None:
    """Choose 'torch' or 'spconv' for this process, over the environment's choice.

    Raises:
        InputError: no such backend.
    """
    if name not in BACKENDS:
        raise InputError(f"the sparse backend must be one of {BACKENDS}, not '{name}'")
    _chosen[:] = [name]


def use_spconv(device: torch.device) -> bool:
    """Whether spconv computes on this device; checks it at the first yes.

    Raises:
        InputError: the environment names no backend.
        MissingDependencyError: spconv is asked for and not installed.
        BackendError: it does not agree with the reference.
    """
    name = _chosen[0] if _chosen else os.environ.get(SWITCH, "torch")
    if name not in BACKENDS:
        raise InputError(f"{SWITCH} must be one of {BACKENDS}, not '{name}'")
    if name == "torch" or device.type != "cuda":
        return False
    _check(str(device))
    return True


def spconv_convolution(x: SparseTensor, kernel: Tensor) -> Tensor:
    """(N, Cout) submanifold convolution by spconv, without bias, differentiable.

    Args:
        x: (N, Cin) on a GPU.
        kernel: (27, Cin, Cout), x fastest.
    """
    spconv = require("spconv.pytorch", extra="spconv")
    layer = x.sites.once(("spconv", kernel.shape), lambda: _layer(spconv, kernel))
    coords = x.coords.int().contiguous()  # other memory orders are read wrongly, without an error
    side = [x.sites.resolution] * 3
    given = spconv.SparseConvTensor(x.feats.contiguous(), coords, side, x.sites.batch_size)
    given.indice_dict = x.sites.once("spconv pairs", dict)  # found once per set of sites
    weight = kernel_to_spconv(kernel).contiguous()
    out: Tensor = torch.func.functional_call(layer, {"weight": weight}, (given,)).features
    return out


def kernel_to_spconv(kernel: Tensor) -> Tensor:
    """(27, Cin, Cout), x fastest, to spconv's (Cout, 3, 3, 3, Cin); (Cin, Cout) to (Cout, 1..)."""
    if kernel.ndim == 2:
        return kernel.t()[:, None, None, None, :]
    cin, cout = kernel.shape[1:]
    return kernel.view(3, 3, 3, cin, cout).permute(4, 2, 1, 0, 3)


def spconv_to_kernel(weight: Tensor) -> Tensor:
    """The way back: (Cout, 3, 3, 3, Cin) to (27, Cin, Cout), (Cout, 1.., Cin) to (Cin, Cout)."""
    if weight.shape[1] == 1:
        return weight[:, 0, 0, 0].t().contiguous()
    return weight.permute(3, 2, 1, 4, 0).reshape(27, weight.shape[4], weight.shape[0]).contiguous()


def _layer(spconv: Any, kernel: Tensor) -> Any:
    cin, cout = kernel.shape[1:]
    return spconv.SubMConv3d(cin, cout, 3, bias=False, indice_key="all").to(kernel.device)


@cache
def _check(device: str) -> None:
    """Compare with plain PyTorch on a small random case whose answer depends on every offset."""
    random = torch.Generator().manual_seed(0)
    cells = torch.argwhere(torch.rand((2, 6, 6, 6), generator=random) < 0.5)
    sites, _ = make_sites(cells.to(device), resolution=6)
    feats = torch.randn((len(sites), 8), generator=random).to(device)
    kernel = torch.randn((len(OFFSETS), 8, 16), generator=random).to(device)
    wanted = submanifold_convolution(feats, kernel, sites.neighbours)
    found = spconv_convolution(SparseTensor(feats, sites), kernel)
    error = float((found - wanted).abs().max() / wanted.abs().max())
    if not error <= TOLERANCE:
        raise BackendError(
            f"spconv differs from plain PyTorch by {error:.1e} of the largest value on {device}; "
            f"set {SWITCH}=torch"
        )
