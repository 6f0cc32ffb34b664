"""How Cadrille continues prompts: each is read once, and what was read is not handed on.

In: what ``Cadrille.forward`` takes, and the settings of transformers' ``generate``. Out: token
ids. Not covered: reading them (see processor).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, GenerationConfig, GenerationMixin

from cadwright.errors import InputError
from cadwright.models.cad_recode.model import CADRecode, _is_empty
from cadwright.models.cadrille.inputs import check_ids, mark_points, mask_grids

READ_ONCE = ("point_clouds", "is_pc", "is_img", "pixel_values_videos", "video_grid_thw")
"""Arguments of ``forward`` that only the first step of a generation reads."""


class ContinuesPrompts(GenerationMixin):
    """``generate`` for a model that reads points and pictures; before the library's class."""

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict[str, Any]
    ) -> Tensor:
        """Positions of a whole prompt; ``generate`` calls this once and counts on by itself."""
        plain: Tensor = GenerationMixin._prepare_position_ids_for_generation(
            self, inputs_tensor, model_kwargs
        )
        cache = model_kwargs.get("past_key_values")
        if not _is_empty(cache):
            return plain + shifts_of(cache, len(plain))
        grids = model_kwargs.get("video_grid_thw")
        if grids is None or inputs_tensor.ndim != 2:
            return plain
        grids = mask_grids(grids, model_kwargs.get("is_img"))
        check_ids(inputs_tensor, grids, config=self.config)
        grids = grids[grids.prod(dim=-1) > 0]
        if len(grids) == 0:
            return plain
        mask = model_kwargs.get("attention_mask")
        return self._positions_with_pictures(inputs_tensor, mask, grids)[0]

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, past_key_values: Cache | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Hand points and pictures to the first step only (called by ``generate``)."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, past_key_values=past_key_values, **kwargs
        )
        if not _is_empty(past_key_values):
            return {name: value for name, value in inputs.items() if name not in READ_ONCE}
        embeds, mask = inputs.get("inputs_embeds"), kwargs.get("attention_mask")
        num_tokens = (inputs["input_ids"] if embeds is None else embeds).shape[1]
        # Here, because a static cache gets a mask that no longer tells the padding.
        clouds, is_pc = inputs.get("point_clouds"), inputs.get("is_pc")
        inputs["point_mask"] = mark_points(mask, num_tokens, clouds, is_pc)
        return inputs

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Continue prompts; as ``transformers``' ``generate``, with points and pictures.

        With sampling and ``num_return_sequences`` above one each prompt is read once, not
        once per candidate.

        Args:
            inputs: (B, T) token ids, also accepted as ``input_ids``; left-padded.
            generation_config: settings; keyword arguments go before it.
            **kwargs: what ``forward`` takes for points and pictures, and every argument of
                ``generate``.

        Returns:
            What ``generate`` returns: (B * num_return_sequences, T + new) token ids.

        Raises:
            InputError: ids, points, pictures and masks do not fit each other or the model.
        """
        if inputs is not None and "input_ids" not in kwargs:
            inputs, kwargs["input_ids"] = None, inputs
        if inputs is None and self._can_share_prefill(generation_config, kwargs):
            kwargs = self._share_prefill(generation_config, kwargs)
        return super().generate(inputs, generation_config=generation_config, **kwargs)

    def prefill(self, input_ids: Tensor, **kwargs: Any) -> Cache:
        """Read prompts once and return their keys and values.

        Pass a copy on as ``past_key_values`` to ``generate`` with at least one further
        token in ``input_ids``; repeat it with ``batch_repeat_interleave`` for several
        candidates of one prompt.

        Args:
            input_ids: (B, T) token ids.
            **kwargs: ``attention_mask``, points, pictures and the others of ``forward``.
        """
        outputs = self(input_ids=input_ids, use_cache=True, logits_to_keep=1, **kwargs)
        cache: Cache = outputs.past_key_values
        return cache

    _can_share_prefill = CADRecode._can_share_prefill

    def _share_prefill(
        self, generation_config: GenerationConfig | None, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The arguments for one sample of each of the repeated prompts, already read."""
        base = generation_config if generation_config is not None else self.generation_config
        samples = kwargs.pop("num_return_sequences", None) or base.num_return_sequences
        prompt, mask = kwargs.pop("input_ids"), kwargs.pop("attention_mask", None)
        mask = torch.ones_like(prompt) if mask is None else mask
        read = {name: kwargs.pop(name, None) for name in READ_ONCE}
        # All but the last token: generate needs one to begin with.
        read |= {"input_ids": prompt[:, :-1], "attention_mask": mask[:, :-1]}
        cache = self.prefill(
            **{name: value.to(self.device) for name, value in read.items() if value is not None}
        )
        cache.batch_repeat_interleave(samples)
        return kwargs | {
            "input_ids": prompt.repeat_interleave(samples, dim=0),
            "attention_mask": mask.repeat_interleave(samples, dim=0),
            "past_key_values": cache,
            "num_return_sequences": 1,
        }


def shifts_of(cache: Any, num_rows: int) -> Tensor:
    """(B, 1) rotary shifts of the sequences in a cache, which may have been repeated since."""
    shifts: Tensor | None = getattr(cache, "rope_shifts_B1", None)
    if shifts is None:
        raise InputError("a cache that was filled with given position_ids needs them at each call")
    return shifts.repeat_interleave(num_rows // len(shifts), dim=0)
