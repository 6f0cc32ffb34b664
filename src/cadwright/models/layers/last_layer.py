"""The decoder's last layer, worked out only where something is read off it.

In: hidden states, and which positions matter. Out: what the layer makes of those alone. Keys and
values come from all positions; what a point, a picture or padding turns into at the very end
nobody reads. Not covered: the layers of one library's model or another (see the models).
Shape suffixes: B batch, T tokens, N positions kept, D width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class NarrowsDown(nn.Module):
    """A last layer; stands before the library's class of layers."""

    self_attn: Any
    mlp: Any
    input_layernorm: Any
    post_attention_layernorm: Any

    def forward(
        self, hidden_states: Tensor, *, kept_N: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """What the library's layer gives, at some positions.

        Args:
            hidden_states: (B, T, D).
            kept_N: places in the rows laid end to end, each in [0, B T); None for all.
            **kwargs: what the library's layer takes.

        Returns:
            (N, D), or (B, T, D) where all are kept.
        """
        if kept_N is None:
            whole: Tensor = super().forward(hidden_states, **kwargs)
            return whole
        normed = self.input_layernorm(hidden_states)
        attended = self.self_attn(hidden_states=normed, **kwargs)[0]
        hidden_ND = (hidden_states + attended).flatten(0, 1).index_select(0, kept_N)
        narrow: Tensor = hidden_ND + self.mlp(self.post_attention_layernorm(hidden_ND))
        return narrow


def narrow_last_layer(model: Any, layers: nn.ModuleList, kind: type[NarrowsDown]) -> None:
    """Let the last layer of a decoder be told which positions matter.

    Only the layer's class changes: weights, their names and the random numbers they came from
    stay as they are.

    Args:
        model: the whole model, which may no more split that layer over devices than others.
        layers: of its decoder.
        kind: ``NarrowsDown`` before the class that the layer has.
    """
    layers[-1].__class__ = kind
    model._no_split_modules = {*model._no_split_modules, kind.__name__}


def places_to_keep(
    layers: nn.ModuleList, logits_to_keep: int | Tensor, settings: dict[str, Any], *, config: Any
) -> dict[str, Tensor]:
    """What a decoder is told, so that its last layer leaves out what nobody reads.

    Args:
        layers: of the decoder.
        logits_to_keep: as ``forward`` takes it; only a (B, T) bool mask narrows anything.
        settings: further arguments of ``forward``.
        config: of the model.

    Returns:
        ``kept_N``, places in the rows laid end to end; or nothing, where all are wanted.
    """
    asked = settings.get("output_hidden_states")
    wants_all = config.output_hidden_states if asked is None else asked
    if isinstance(logits_to_keep, int) or logits_to_keep.ndim == 1 or wants_all:
        return {}
    if not isinstance(layers[-1], NarrowsDown):
        return {}
    return {"kept_N": logits_to_keep.flatten().nonzero().squeeze(-1)}
