"""``generate`` that reads each prompt once, however many candidates are drawn from it.

Prompts of one batch are read in groups of like length, so that words do not pay for the padding
that points need; what was read of them is then laid side by side.
In: token ids, what stands beside them (points, pictures), and the settings of transformers'
``generate``. Out: token ids. Not covered: what a prompt looks like (see the processors).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, GenerationConfig, GenerationMixin

from cadwright.models.layers.marks import PADDING, is_plain

LIKE = 0.7  # rows at least this share as long as the longest of a group are read with it
LEAST_SAVED = 0.15  # share of the positions of a batch, below which groups are not worth it


class ReadsPromptsOnce(GenerationMixin):
    """``generate`` and ``prefill`` of a model; stands before the library's class.

    Attributes:
        READ_ONCE: arguments of ``forward`` that only the first step of a generation reads.
        ALONG_PROMPT: those of them that have a value for each token of the prompt.
        KEPT_BY_ROW: what ``forward`` leaves on a cache, tensors with a row for each prompt.
    """

    READ_ONCE: tuple[str, ...] = ()
    ALONG_PROMPT: tuple[str, ...] = ()
    KEPT_BY_ROW: tuple[str, ...] = ()

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
            **kwargs: what ``forward`` takes beside the ids, and every argument of ``generate``.

        Returns:
            What ``generate`` returns: (B * num_return_sequences, T + new) token ids.

        Raises:
            InputError: ids, points, pictures and masks do not fit each other or the model.
        """
        if inputs is not None and "input_ids" not in kwargs:
            inputs, kwargs["input_ids"] = None, inputs
        base = generation_config if generation_config is not None else self.generation_config
        if inputs is None and self._is_plain_call(base, kwargs):
            samples = kwargs.get("num_return_sequences") or base.num_return_sequences or 1
            mask = None if self._has_windows() else kwargs.get("attention_mask")
            groups = rows_to_groups(mask, len(kwargs["input_ids"]))
            if samples > 1 or len(groups) > 1:
                kwargs = self._read_first(groups, samples, kwargs)
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

    def _is_plain_call(self, base: GenerationConfig, kwargs: dict[str, Any]) -> bool:
        """Whether prompts may be read before the library's ``generate`` is asked to go on."""

        def setting(name: str) -> Any:
            return kwargs.get(name, getattr(base, name, None))

        prompt, samples = kwargs.get("input_ids"), setting("num_return_sequences") or 1
        plain = not (setting("num_beams") or 1) > 1 and setting("cache_implementation") is None
        unusual = ("past_key_values", "inputs_embeds", "position_ids", "assistant_model")
        return (
            (samples == 1 or bool(setting("do_sample")))
            and plain
            and setting("use_cache") is not False
            and prompt is not None
            and prompt.shape[1] > 1
            and all(kwargs.get(name) is None for name in unusual)
        )

    def _has_windows(self) -> bool:
        """Whether some layers keep only the last keys, which then cannot be laid side by side."""
        kinds = getattr(self.config.get_text_config(), "layer_types", None) or ()
        return any(kind != "full_attention" for kind in kinds)

    def _read_first(
        self, groups: Sequence[Tensor], samples: int, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The arguments for one sample of each of the repeated prompts, already read."""
        prompt, mask = kwargs["input_ids"], kwargs.get("attention_mask")
        mask = torch.ones_like(prompt) if mask is None else mask
        read = {name: kwargs.get(name) for name in self.READ_ONCE}
        caches = [self._read_group(rows, prompt, mask, read) for rows in groups]
        cache = caches[0] if len(caches) == 1 else self._side_by_side(caches, groups)
        cache.batch_repeat_interleave(samples)
        rest = {name: value for name, value in kwargs.items() if name not in self.READ_ONCE}
        return rest | {
            "input_ids": prompt.repeat_interleave(samples, dim=0),
            "attention_mask": mask.repeat_interleave(samples, dim=0),
            "past_key_values": cache,
            "num_return_sequences": 1,
        }

    def _read_group(
        self, rows: Tensor, prompt: Tensor, mask: Tensor, read: dict[str, Any]
    ) -> Cache:
        """Read some rows without the padding that is common to them."""
        rows = rows.to(mask.device)
        first = int((mask[rows] != PADDING).any(dim=0).int().argmax())
        # All but the last token: generate needs one to begin with.
        along = slice(first, prompt.shape[1] - 1)
        given: dict[str, Any] = {"input_ids": prompt[rows.to(prompt.device), along]}
        given["attention_mask"] = mask[rows, along]
        for name, value in read.items():
            if value is not None:
                own = value[rows.to(value.device)]
                given[name] = own[:, along] if name in self.ALONG_PROMPT else own
        return self.prefill(**{name: value.to(self.device) for name, value in given.items()})

    def _side_by_side(self, caches: Sequence[Cache], groups: Sequence[Tensor]) -> Cache:
        """One cache of all rows in their order, shorter ones with room on the left.

        What stands in that room is never looked at: the mask is 0 there.
        """
        together: Any = DynamicCache()
        order = torch.cat(list(groups)).argsort().to(self.device)
        length = max(int(cache.get_seq_length()) for cache in caches)
        for k in range(len(caches[0].layers)):
            pair = []
            for part in ("keys", "values"):
                values = [getattr(cache.layers[k], part) for cache in caches]
                padded = [nn.functional.pad(v, (0, 0, length - v.shape[-2], 0)) for v in values]
                pair.append(torch.cat(padded)[order])
            together.update(*pair, k)
        for name in self.KEPT_BY_ROW:
            kept = [getattr(cache, name) for cache in caches]
            setattr(together, name, torch.cat(kept)[order])
        return together


def rows_to_groups(mask: Any, num_rows: int) -> list[Tensor]:
    """Rows that are read together: one group, or several of like length.

    Args:
        mask: (B, T), 0 at padding, which stands on the left; or None.
        num_rows: B.

    Returns:
        Indices of rows, each row once; the longest first. One group where groups save little, or
        where padding stands elsewhere.
    """
    everything = [torch.arange(num_rows)]
    if not is_plain(mask) or num_rows == 1:
        return everything
    valid = mask != PADDING
    if bool((valid[:, :-1] & ~valid[:, 1:]).any()):
        return everything
    lengths = valid.sum(dim=1).cpu()
    order = lengths.argsort(descending=True, stable=True)
    groups: list[list[int]] = []
    for row in order.tolist():
        if groups and lengths[row] >= LIKE * lengths[groups[-1][0]]:
            groups[-1].append(row)
        else:
            groups.append([row])
    read = sum(len(group) * int(lengths[group[0]]) for group in groups)
    if read > (1 - LEAST_SAVED) * num_rows * int(lengths.max()):
        return everything
    return [torch.tensor(group) for group in groups]
