"""Cadrille: a Qwen-VL model that reads points, a picture or words and then writes a program.

In: token ids, the points of the rows that have points (MODEL frame), the pictures of those that
have a picture. Out: logits, loss, or generated ids. Not covered: making prompts (see processor).
Shape suffixes: B batch, T tokens of this call, S tokens seen so far, P points, N patches,
R the rows with points or with a picture, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    Qwen2VLDecoderLayer,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration
from transformers.utils.generic import can_return_tuple

from cadwright.errors import InputError
from cadwright.models.cadrille.config import (
    CadrilleConfig,
    CadrilleQwen3Config,
    CadrilleQwen25Config,
)
from cadwright.models.cadrille.generation import ContinuesPrompts, shifts_of
from cadwright.models.cadrille.inputs import (
    Pictures,
    check_ids,
    check_length,
    find_pictures,
    mark_points,
)
from cadwright.models.layers.fourier import FourierPointEncoder
from cadwright.models.layers.last_layer import NarrowsDown, narrow_last_layer, places_to_keep
from cadwright.models.layers.marks import is_empty, is_plain, keep_positions, settle_padding
from cadwright.models.layers.splice import splice

VIDEO = 2
"""What the library calls the tokens of a video where it tells text from pictures."""


class LastQwen2VLLayer(NarrowsDown, Qwen2VLDecoderLayer):
    """The decoder's last layer, at all positions or at some."""


class _ReadsPoints(ContinuesPrompts):
    """What makes a Qwen-VL model of transformers a Cadrille; stands before the library's class.

    State-dict names in files are the published ones: ``visual.*``, ``model.*``,
    ``point_encoder.projection.*`` and, where not tied, ``lm_head.weight``. The point encoder
    stays in float32 when the rest is loaded in half precision, as in the published model.
    """

    _keep_in_fp32_modules_strict = {"point_encoder"}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.point_encoder = FourierPointEncoder(config.text_config.hidden_size)
        self.loss_type = "ForCausalLM"  # the library guesses it from the class name otherwise
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        point_clouds: Tensor | None = None,
        is_pc: Tensor | None = None,
        is_img: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        point_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of the next token at each position, and the loss where labels are given.

        Points and pictures are read only while the cache is empty. Padding may stand on
        either side.

        Args:
            input_ids: (B, T) token ids; a row with points begins with P ids of any value.
            attention_mask: (B, S) 1 at tokens and points, 0 at padding, where S counts the
                cached positions too.
            point_clouds: (B, P, 3) MODEL frame; they take the first P positions of their
                rows that are not padding.
            is_pc: (B,) which rows have points; all where ``point_clouds`` is given without it.
            is_img: (B,) which rows have a picture; those with a grid if left out.
            pixel_values_videos: (B, N, patch) patches of each row's picture.
            video_grid_thw: (B, 3) frames, rows and columns of patches of each row's picture.
            labels: (B, T) token ids, -100 where no loss is wanted; shifted here.
            position_ids: (3, B, T), or (B, T) without pictures; found here if left out.
            past_key_values: keys and values of the positions before this call.
            inputs_embeds: (B, T, D) instead of ``input_ids``; not with pictures.
            use_cache: keep keys and values; off by default where labels are given.
            logits_to_keep: the last so many positions (0: all), or an index into T, or a
                (B, T) bool mask, for which logits and loss are computed.
            point_mask: (B, T) bool, where points go, if ``attention_mask`` does not say.
            **kwargs: passed on to the decoder and the loss.

        Raises:
            InputError: ids, points, pictures and masks do not fit each other or the model.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("forward takes either input_ids or inputs_embeds, and one of them")
        if kwargs.get("pixel_values") is not None:
            raise InputError("pictures go in as pixel_values_videos, not as pixel_values")
        fresh, pictures, shifts = is_empty(past_key_values), None, None
        if fresh:
            pictures = find_pictures(
                is_img, pixel_values_videos, video_grid_thw, config=self.config
            )
            self._check(input_ids, pictures)
        embeds = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        extras: dict[str, Any] = {}
        if fresh:
            check_length(embeds.shape[1], config=self.config)
            if point_mask is None:
                point_mask = mark_points(attention_mask, embeds.shape[1], point_clouds, is_pc)
            embeds = self._with_points(embeds, point_mask, point_clouds)
            embeds, extras = self._with_pictures(embeds, input_ids, pictures)
        if position_ids is None:
            attention_mask, position_ids, shifts = self._place(
                attention_mask, embeds, past_key_values, input_ids, pictures
            )
        if use_cache is None and labels is not None:
            use_cache = False
        outputs = self.model.language_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **extras,
            **places_to_keep(
                self.model.language_model.layers, logits_to_keep, kwargs, config=self.config
            ),
            **kwargs,
        )
        if shifts is not None and outputs.past_key_values is not None:
            # With the cache and not with the model, so that two prompts cannot be mixed up.
            outputs.past_key_values.rope_shifts_B1 = shifts
        hidden, targets = keep_positions(outputs.last_hidden_state, labels, logits_to_keep)
        logits, loss = self.lm_head(hidden), None
        if targets is not None:
            size = self.config.text_config.vocab_size
            loss = self.loss_function(logits, None, vocab_size=size, shift_labels=targets, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _check(self, input_ids: Tensor | None, pictures: Pictures | None) -> None:
        """Refuse ids that do not fit the model or the pictures, before they are looked up."""
        if input_ids is not None:
            grids = None if pictures is None else pictures.grids_B3
            check_ids(input_ids, grids, config=self.config)
        elif pictures is not None:
            raise InputError("pictures need input_ids, to tell where they go")

    def _with_points(
        self, embeds_BTD: Tensor, marked_BT: Tensor | None, point_clouds: Tensor | None
    ) -> Tensor:
        """Embeddings with the points put in; as they are where there are no points."""
        if marked_BT is None:
            return embeds_BTD
        if point_clouds is None:
            raise InputError("point_mask marks positions for points, but point_clouds is missing")
        rows = marked_BT.any(dim=1).nonzero().squeeze(-1)
        if len(rows) == 0:
            return embeds_BTD
        points_RPD = self.point_encoder(point_clouds[rows])
        spliced_RTD = splice(embeds_BTD[rows], marked_BT[rows], points_RPD)
        return embeds_BTD.index_copy(0, rows, spliced_RTD)

    def _with_pictures(
        self, embeds_BTD: Tensor, input_ids: Tensor | None, pictures: Pictures | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Embeddings with the pictures put in, and what else the decoder gets of them."""
        if pictures is None:
            return embeds_BTD, {}
        seen = self.model.get_video_features(pictures.patches, pictures.grids_R3, return_dict=True)
        marked_BT = input_ids == self.config.video_token_id
        inserts = torch.cat(seen.pooler_output).to(embeds_BTD)
        embeds_BTD = embeds_BTD.masked_scatter(marked_BT.unsqueeze(-1), inserts)
        return embeds_BTD, self._deepen(seen, marked_BT)

    def _deepen(self, seen: Any, marked_BT: Tensor) -> dict[str, Any]:
        """What later layers of the decoder get of the pictures: nothing, before Qwen3-VL."""
        return {}

    def _place(
        self,
        mask: Any,
        embeds: Tensor,
        cache: Cache | None,
        input_ids: Tensor | None,
        pictures: Pictures | None,
    ) -> tuple[Any, Tensor | None, Tensor | None]:
        """Mask, positions and rotary shifts of a call that brings no positions of its own.

        A picture takes as many positions as its longer side has tokens, so what comes after it
        is shifted against a plain count.
        """
        num_rows, num_tokens = embeds.shape[:2]
        settled, positions = settle_padding(mask, num_tokens, fresh=is_empty(cache))
        if not is_empty(cache):
            assert cache is not None
            if positions is None:
                past = int(cache.get_seq_length())
                positions = torch.arange(past, past + num_tokens, device=embeds.device)
            return settled, positions + shifts_of(cache, num_rows), None
        if pictures is None:
            return settled, positions, embeds.new_zeros((num_rows, 1), dtype=torch.long)
        assert input_ids is not None
        return settled, *self._positions_with_pictures(input_ids, mask, pictures.grids_R3)

    def _positions_with_pictures(
        self, input_ids: Tensor, mask: Any, grids_R3: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(3, B, T) rotary positions and (B, 1) shifts, as published."""
        positions, shifts = self.model.get_rope_index(
            input_ids,
            mm_token_type_ids=(input_ids == self.config.video_token_id).int() * VIDEO,
            video_grid_thw=grids_R3,
            attention_mask=mask if is_plain(mask) else None,
        )
        return positions, shifts


class Cadrille(_ReadsPoints, Qwen2VLForConditionalGeneration):
    """Cadrille (arXiv 2505.22914): points, pictures or words to CadQuery program, on Qwen2-VL."""

    config_class = CadrilleConfig
    config: CadrilleConfig

    def __init__(self, config: CadrilleConfig) -> None:
        super().__init__(config)
        narrow_last_layer(self, self.model.language_model.layers, LastQwen2VLLayer)


class CadrilleQwen25(_ReadsPoints, Qwen2_5_VLForConditionalGeneration):
    """Cadrille on Qwen2.5-VL."""

    config_class = CadrilleQwen25Config
    config: CadrilleQwen25Config


class CadrilleQwen3(_ReadsPoints, Qwen3VLForConditionalGeneration):
    """Cadrille on Qwen3-VL, whose vision tower also feeds the first layers of the decoder."""

    config_class = CadrilleQwen3Config
    config: CadrilleQwen3Config

    def _deepen(self, seen: Any, marked_BT: Tensor) -> dict[str, Any]:
        layers = [torch.cat(features) for features in seen.deepstack_features]
        return {"visual_pos_masks": marked_BT, "deepstack_visual_embeds": layers}


AnyCadrille = Cadrille | CadrilleQwen25 | CadrilleQwen3

MODELS: dict[str, type[AnyCadrille]] = {
    "qwen2_vl": Cadrille,
    "qwen2_5_vl": CadrilleQwen25,
    "qwen3_vl": CadrilleQwen3,
}
"""The class for each model_type of a configuration."""


# The names in published files. Qwen3-VL's are those of its class already.
for _name in ("Cadrille", "CadrilleQwen25"):
    register_checkpoint_conversion_mapping(
        _name,
        [
            WeightRenaming(r"^visual", "model.visual"),
            WeightRenaming(r"^model(?!\.(language_model|visual))", "model.language_model"),
        ],
        overwrite=True,
    )
