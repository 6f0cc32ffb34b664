"""How Cadrille continues prompts: positions of pictures, and nothing that was read goes on.

In: what ``Cadrille.forward`` takes, and the settings of transformers' ``generate``. Out: token
ids. Not covered: reading them (see processor).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import Cache, GenerationMixin

from cadwright.errors import InputError
from cadwright.models.cadrille.inputs import check_ids, mark_points, mask_grids
from cadwright.models.layers.marks import is_empty
from cadwright.models.layers.prompts import ReadsPromptsOnce


class ContinuesPrompts(ReadsPromptsOnce):
    """``generate`` for a model that reads points and pictures; before the library's class."""

    READ_ONCE = ("point_clouds", "is_pc", "is_img", "pixel_values_videos", "video_grid_thw")
    KEPT_BY_ROW = ("rope_shifts_B1",)

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict[str, Any]
    ) -> Tensor:
        """Positions of a whole prompt; ``generate`` calls this once and counts on by itself."""
        plain: Tensor = GenerationMixin._prepare_position_ids_for_generation(
            self, inputs_tensor, model_kwargs
        )
        cache = model_kwargs.get("past_key_values")
        if not is_empty(cache):
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
        if not is_empty(past_key_values):
            return {name: value for name, value in inputs.items() if name not in self.READ_ONCE}
        embeds, mask = inputs.get("inputs_embeds"), kwargs.get("attention_mask")
        num_tokens = (inputs["input_ids"] if embeds is None else embeds).shape[1]
        # Here, because a static cache gets a mask that no longer tells the padding.
        clouds, is_pc = inputs.get("point_clouds"), inputs.get("is_pc")
        inputs["point_mask"] = mark_points(mask, num_tokens, clouds, is_pc)
        return inputs


def shifts_of(cache: Any, num_rows: int) -> Tensor:
    """(B, 1) rotary shifts of the sequences in a cache, which may have been repeated since."""
    shifts: Tensor | None = getattr(cache, "rope_shifts_B1", None)
    if shifts is None:
        raise InputError("a cache that was filled with given position_ids needs them at each call")
    return shifts.repeat_interleave(num_rows // len(shifts), dim=0)
