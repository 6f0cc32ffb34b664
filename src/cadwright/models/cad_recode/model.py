"""CADRecode: a Qwen2 decoder that reads points first and then writes a program.

In: token ids whose first positions are marked for points, and the points (MODEL frame).
Out: logits, loss, or generated ids. Not covered: making prompts and texts (see processor).
Shape suffixes: B batch, T tokens of this call, S tokens seen so far, P points, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    Cache,
    GenerationConfig,
    GenerationMixin,
)
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2DecoderLayer,
    Qwen2Model,
    Qwen2PreTrainedModel,
)
from transformers.utils.generic import can_return_tuple

from cadwright.errors import InputError
from cadwright.models.cad_recode.config import CADRecodeConfig
from cadwright.models.layers.fourier import FourierPointEncoder
from cadwright.models.layers.last_layer import NarrowsDown, narrow_last_layer, places_to_keep
from cadwright.models.layers.marks import (
    PADDING,
    POINT_MARK,
    is_empty,
    is_plain,
    keep_positions,
    settle_padding,
)
from cadwright.models.layers.prompts import ReadsPromptsOnce
from cadwright.models.layers.splice import splice


class LastQwen2Layer(NarrowsDown, Qwen2DecoderLayer):
    """The decoder's last layer, at all positions or at some."""


class CADRecode(ReadsPromptsOnce, Qwen2PreTrainedModel, GenerationMixin):
    """CAD-Recode (arXiv 2412.14042): point cloud to CadQuery program.

    State-dict names are the published ones: ``model.*``, ``lm_head.weight`` (tied where the
    configuration says so) and ``point_encoder.projection.*``. The point encoder stays in
    float32 when the rest is loaded in half precision, as in the published model.
    """

    config_class = CADRecodeConfig
    config: CADRecodeConfig
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _keep_in_fp32_modules_strict = {"point_encoder"}
    READ_ONCE = ("point_cloud", "point_mask")
    ALONG_PROMPT = ("point_mask",)

    def __init__(self, config: CADRecodeConfig) -> None:
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.point_encoder = FourierPointEncoder(config.hidden_size)
        self.loss_type = "ForCausalLM"  # the library guesses it from the class name otherwise
        self.post_init()
        narrow_last_layer(self, self.model.layers, LastQwen2Layer)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        point_cloud: Tensor | None = None,
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

        Padding may stand on either side; only the mask tells it from points and text.

        Args:
            input_ids: (B, T) token ids; what stands at points and padding does not matter.
            attention_mask: (B, S) 1 at tokens, -1 at points, 0 at padding, where S counts
                the cached positions too.
            point_cloud: (B, P, 3) MODEL frame. Read only while the cache is empty.
            labels: (B, T) token ids, -100 where no loss is wanted; shifted here.
            position_ids: (B, T); counted from the mask if left out, points like tokens.
            past_key_values: keys and values of the positions before this call.
            inputs_embeds: (B, T, D) instead of ``input_ids``.
            use_cache: keep keys and values; off by default where labels are given.
            logits_to_keep: the last so many positions (0: all), or an index into T, or a
                (B, T) bool mask, for which logits and loss are computed.
            point_mask: (B, T) bool, where points go, if ``attention_mask`` does not say.
            **kwargs: passed on to Qwen2 and the loss (``output_attentions``,
                ``num_items_in_batch``, ``cache_position``, ...).

        Raises:
            InputError: the marked positions do not fit the points.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("forward takes either input_ids or inputs_embeds, and one of them")
        embeds = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        fresh = is_empty(past_key_values)
        # Ready embeddings without a point cloud already hold the points.
        if fresh and (input_ids is not None or point_cloud is not None):
            point_mask = _mask_to_marks(attention_mask) if point_mask is None else point_mask
            embeds = self._with_points(embeds, point_mask, point_cloud)
        if position_ids is None:
            attention_mask, position_ids = settle_padding(
                attention_mask, embeds.shape[1], fresh=fresh
            )
        if use_cache is None and labels is not None:
            use_cache = False
        outputs = self.model(
            inputs_embeds=embeds,
            attention_mask=_mask_to_valid(attention_mask),
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **places_to_keep(self.model.layers, logits_to_keep, kwargs, config=self.config),
            **kwargs,
        )
        hidden, targets = keep_positions(outputs.last_hidden_state, labels, logits_to_keep)
        logits = self.lm_head(hidden)
        loss = None
        if targets is not None:
            loss = self.loss_function(
                logits, None, vocab_size=self.config.vocab_size, shift_labels=targets, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _with_points(
        self, embeds_BTD: Tensor, marked_BT: Tensor | None, point_cloud: Tensor | None
    ) -> Tensor:
        """Embeddings with the points put in; as they are where there are no points."""
        if point_cloud is None:
            if marked_BT is not None and bool(marked_BT.any()):
                raise InputError("the attention_mask marks points but no point_cloud was given")
            return embeds_BTD
        if marked_BT is None:
            raise InputError(
                "point_cloud needs an attention_mask with -1 at the positions of the points"
            )
        return splice(embeds_BTD, marked_BT, self.point_encoder(point_cloud))

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, past_key_values: Cache | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Hand points and their marks to the first step only (called by ``generate``)."""
        cloud, marks = kwargs.pop("point_cloud", None), kwargs.pop("point_mask", None)
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids,
            past_key_values=past_key_values,
            **kwargs,
        )
        if is_empty(past_key_values):
            if marks is not None:
                # Without a cache each step reads all tokens so far, with a chunked prefill fewer.
                embeds = inputs.get("inputs_embeds")
                num_read = (inputs["input_ids"] if embeds is None else embeds).shape[1]
                marks = nn.functional.pad(marks, (0, num_read - marks.shape[1]))
            inputs |= {"point_cloud": cloud, "point_mask": marks}
        return inputs

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Continue prompts; as ``transformers``' ``generate``, with points.

        With sampling and ``num_return_sequences`` above one the prompt is read once per
        point cloud, not once per candidate.

        Args:
            inputs: (B, T) token ids, also accepted as ``input_ids``; left-padded.
            generation_config: settings; keyword arguments go before it.
            **kwargs: ``point_cloud`` (B, P, 3) MODEL frame, ``attention_mask`` (B, T) with
                -1 at points and 0 at padding, and every argument of ``generate``.

        Returns:
            What ``generate`` returns: (B * num_return_sequences, T + new) token ids.

        Raises:
            InputError: the marked positions do not fit the points.
        """
        mask = kwargs.get("attention_mask")
        if mask is not None:
            # The library counts positions by summing the mask, so it must not see the -1.
            kwargs.setdefault("point_mask", mask == POINT_MARK)
            kwargs["attention_mask"] = (mask != PADDING).to(mask.dtype)
        return super().generate(inputs, generation_config=generation_config, **kwargs)


def _mask_to_marks(mask: Any) -> Tensor | None:
    """(B, T) bool, true at points, from a mask with -1 there; None if it cannot be told."""
    return mask == POINT_MARK if is_plain(mask) else None


def _mask_to_valid(mask: Any) -> Any:
    """The mask the decoder wants: points count as tokens."""
    return mask != PADDING if is_plain(mask) else mask


AutoModel.register(CADRecodeConfig, CADRecode, exist_ok=True)
AutoModelForCausalLM.register(CADRecodeConfig, CADRecode, exist_ok=True)
