"""First weights of a VQ-VAE by what its layers make of parts: each channel mean 0, variance 1.

In: a new model and a batch. Out: the same model, rescaled in place, layer by layer during one
forward pass (data-dependent initialisation: Salimans and Kingma 2016, section 3). Without it the
latents hardly vary at first and the decoder, which has no norms, fades them further. Only where
training starts from nothing; loaded weights are never touched.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cadwright.models.layers.sites import Sites, SparseTensor
from cadwright.models.layers.sparse_convolution import SparseConvolution
from cadwright.models.vqvae.model import SparseSDFVQVAE

SMALLEST = 1e-3  # of a channel's spread; one that is always the same stays as it is


@torch.no_grad()
def fit_scales(model: SparseSDFVQVAE, x: SparseTensor, *, truth: Sites | None) -> None:
    """Rescale convolutions and the linear layers at both ends of the latents.

    Args:
        model: with random weights.
        x: (N, 1) SDF of some parts.
        truth: voxels that the pruning must keep.
    """
    # Different thresholds, or all channels of the first layer say the same.
    nn.init.uniform_(model.encoder.input_layer1.bias, -1.0, 1.0)
    layers: list[nn.Module] = [
        module for module in model.modules() if isinstance(module, SparseConvolution)
    ]
    layers += [model.encoder.input_layer, model.encoder.out_layer, model.decoder.input_layer]
    hooks = [layer.register_forward_hook(_rescale) for layer in layers]
    try:
        model(x, quantize=False, truth=truth)
    finally:
        for hook in hooks:
            hook.remove()


def _rescale(layer: Any, _: Any, out: Any) -> SparseTensor | Tensor:
    """Shift and divide each output channel, in the weights and in what was just computed."""
    feats: Tensor = out.feats if isinstance(out, SparseTensor) else out
    mean, spread = feats.mean(0), feats.std(0)
    spread = torch.where(spread > SMALLEST, spread, torch.ones_like(spread))
    if isinstance(layer, SparseConvolution):
        layer.conv.kernel.div_(spread)  # the last axis is that of the output channels
        bias = layer.conv.bias
    else:
        layer.weight.div_(spread[:, None])
        bias = layer.bias
    bias.sub_(mean).div_(spread)
    scaled: Tensor = (feats - mean) / spread
    return out.replace(scaled) if isinstance(out, SparseTensor) else scaled
