"""Points, pictures and words, and programs, to what Cadrille reads; and its token ids to texts.

In: conversations, or lists of points (MODEL frame), pictures, texts and programs. Out: ids and
masks, points, patches, which rows have which and, with programs, labels.
Not covered: drawing views of a mesh, sampling points of it, and parsing the texts that come back.
Shape suffixes: B batch, T tokens, P points, N patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from cadwright.errors import InputError
from cadwright.models.cadrille.config import (
    NUM_POINTS,
    CadrilleConfig,
    CadrilleQwen3Config,
    CadrilleQwen25Config,
)
from cadwright.models.cadrille.conversation import (
    Conversation,
    check_conversation,
    label_of,
    to_conversations,
    views_to_picture,
)
from cadwright.models.cadrille.picture_to_patches import PatchSettings, picture_to_patches
from cadwright.models.cadrille.rows import Row, answer_spans, lay_out, mark_spans
from cadwright.models.layers.clouds import check_points

START, END, PICTURE = "<|im_start|>", "<|im_end|>", "<|video_pad|>"
"""The names of the tokens around a message and of those that a picture takes."""

ANSWER = f"{START}assistant"
"""What stands before an answer in a text made by a chat template of the Qwen family."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For tokenizers without a template of their own: the published form, without a system message."""

UNBOUNDED = 1_000_000
"""Tokenizers that know of no limit claim one beyond this."""


class CadrilleProcessor(ProcessorMixin):
    """Builds the conversations Cadrille reads, mixed in one batch, and reads programs back.

    Args:
        tokenizer: a fast one of transformers with the names of Qwen's special tokens. Its
            chat template is used if it has one.
        num_points: P, how many points each row with points holds.
        max_length: T at most, the model's context; None for what the tokenizer says.
        chat_template: instead of the tokenizer's.
        patches: the fields of ``PatchSettings`` that differ from Qwen2-VL's.

    Raises:
        InputError: the tokenizer lacks a special token, or the patches do not fit a picture.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        num_points: int = NUM_POINTS,
        max_length: int | None = None,
        chat_template: str | None = None,
        patches: dict[str, Any] | None = None,
    ) -> None:
        own = tokenizer.chat_template
        template = chat_template or (own if isinstance(own, str) else None) or CHAT_TEMPLATE
        super().__init__(tokenizer, chat_template=template)
        self.num_points, self.max_length = num_points, max_length
        self.patch_settings = PatchSettings(**(patches or {}))
        self.patches = asdict(self.patch_settings)
        vocabulary = tokenizer.get_vocab()
        for token in (START, END, PICTURE, tokenizer.pad_token):
            if token is None or token not in vocabulary:
                raise InputError(f"the tokenizer has no {token or 'padding token'}")
        self._ids = {name: vocabulary[name] for name in (START, END, PICTURE)}
        self._ids["pad"] = vocabulary[tokenizer.pad_token]
        self._role = tokenizer("assistant\n", add_special_tokens=False)["input_ids"]
        self._special = sorted({*tokenizer.all_special_tokens, START, END, PICTURE})

    @property
    def end_token_id(self) -> int:
        """The id that ends a program."""
        return self._ids[END]

    @property
    def pad_token_id(self) -> int:
        """The id at points and padding."""
        return self._ids["pad"]

    @property
    def picture_token_id(self) -> int:
        """The id at the places of a picture."""
        return self._ids[PICTURE]

    @property
    def model_input_names(self) -> list[str]:
        """The names of what ``__call__`` returns for a prompt with a picture."""
        return [
            "input_ids", "attention_mask", "point_clouds", "is_pc", "is_img",
            "pixel_values_videos", "video_grid_thw",
        ]  # fmt: skip

    def __call__(
        self,
        conversations: Conversation | Sequence[Conversation] | None = None,
        *,
        points: Any = None,
        pictures: Any = None,
        texts: str | Sequence[str | None] | None = None,
        programs: str | Sequence[str] | None = None,
        max_length: int | None = None,
        padding_side: Literal["left", "right"] = "left",
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Make a batch of prompts, or of answered conversations for training.

        Args:
            conversations: one or B, all answered or none; or instead of them lists of
                equal length B with None where a row has no such thing:
            points: (P, 3), (B, P, 3) or a list of (P, 3), MODEL frame.
            pictures: a picture or a list of pictures, or of sequences of four views.
            texts: what is asked; left out, what the published weights are asked.
            programs: the answers.
            max_length: refuse items of more tokens; None for the model's context.
            padding_side: left as ``generate`` wants it; right is faster in training.
            return_tensors: "pt", "np", or None for lists.

        Returns:
            input_ids and attention_mask (B, T), point_clouds (B, P, 3) float32 and is_pc and
            is_img (B,) bool; with a picture among them pixel_values_videos (B, N, patch)
            float32 and video_grid_thw (B, 3); with programs labels (B, T), which are -100
            but from after the word "assistant" to the end token of each answer.

        Raises:
            InputError: naming the item: it is missing something, or its text is too long or
                its answer would be cut off, or points or picture cannot be read.
        """
        if isinstance(conversations, Conversation):
            conversations = [conversations]
        if conversations is None:
            conversations = list(to_conversations(points, pictures, texts, programs))
        elif any(given is not None for given in (points, pictures, texts, programs)):
            raise InputError("the processor takes conversations or lists of their parts, not both")
        if not conversations:
            raise InputError("a batch needs at least one conversation")
        labels = [label_of(i, item) for i, item in enumerate(conversations)]
        learn = any(item.is_answered for item in conversations)
        for item, label in zip(conversations, labels, strict=True):
            check_conversation(item, label, learn=learn, special_tokens=self._special)
        rows = self._tokenize(conversations, labels, learn=learn)
        for row, label in zip(rows, labels, strict=True):
            self._check_length(row, label, max_length)
        batch: dict[str, Any] = lay_out(rows, pad=self.pad_token_id, learn=learn, side=padding_side)
        batch |= self._points(conversations, labels) | self._pictures(conversations, labels)
        return BatchFeature(batch, tensor_type=return_tensors)

    def batch_decode(
        self, token_ids: ArrayLike, prompt_length: int | None = None, **_: Any
    ) -> list[str]:
        """Program texts of generated sequences, cut at the end token, otherwise untouched.

        Args:
            token_ids: (B, T) ids as ``generate`` returns them, or B rows of ids.
            prompt_length: how many ids of each row to skip; None to skip up to the last answer.

        Returns:
            B texts.
        """
        return [self.decode(row, prompt_length) for row in token_ids]  # type: ignore[union-attr]

    def decode(self, token_ids: ArrayLike, prompt_length: int | None = None, **_: Any) -> str:
        """The program text of one sequence (T,); see ``batch_decode``."""
        row = token_ids.tolist() if hasattr(token_ids, "tolist") else list(token_ids)  # type: ignore[arg-type]
        start, stops = self._ids[START], {self.end_token_id, self.pad_token_id}
        if prompt_length is None and start in row:
            row = row[len(row) - row[::-1].index(start) :]
            # The role and its line end belong to the prompt.
            row = row[len(self._role) :] if row[: len(self._role)] == self._role else row
        row = row[prompt_length or 0 :]
        length = next((i for i, token in enumerate(row) if token in stops), len(row))
        text: str = self.tokenizer.decode(
            row[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _tokenize(
        self, conversations: Sequence[Conversation], labels: Sequence[str], *, learn: bool
    ) -> list[Row]:
        """Ids with places for points and pictures, and which of them are learned."""
        texts = self.tokenizer.apply_chat_template(
            [item.to_messages() for item in conversations],
            chat_template=self.chat_template,
            tokenize=False,
            add_generation_prompt=not learn,
        )
        for i, item in enumerate(conversations):
            if texts[i].count(PICTURE) != (item.picture is not None):
                raise InputError(f"the chat template has no place for the picture of {labels[i]}")
            texts[i] = texts[i].replace(PICTURE, PICTURE * self.patch_settings.num_tokens)
        found = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=learn)
        rows = []
        for i, (item, ids) in enumerate(zip(conversations, found["input_ids"], strict=True)):
            learned = np.zeros(len(ids), dtype=bool)
            if learn:
                spans = answer_spans(texts[i], before=ANSWER, end=END)
                if len(spans) != len(item.answers):
                    raise InputError(f"the chat template loses an answer of {labels[i]}")
                learned = mark_spans(found["offset_mapping"][i], spans)
            num_points = 0 if item.points is None else self.num_points
            ids = [self.pad_token_id] * num_points + ids
            rows.append(Row(ids, np.pad(learned, (num_points, 0))))
            if learn and not learned.any():
                raise InputError(f"nothing is left to learn of the answer of {labels[i]}")
        return rows

    def _check_length(self, row: Row, label: str, max_length: int | None) -> None:
        """Refuse rather than cut."""
        limits = (max_length, self.max_length, self.tokenizer.model_max_length)
        limit = min((n for n in limits if n is not None and n < UNBOUNDED), default=UNBOUNDED)
        if len(row.ids) <= limit:
            return
        if row.prompt_length > limit:
            raise InputError(
                f"{label} has a text of {row.prompt_length} tokens, longer than the {limit} allowed"
            )
        raise InputError(
            f"the answer of {label} would be cut off: {len(row.ids)} tokens are more than the "
            f"{limit} allowed"
        )

    def _points(
        self, conversations: Sequence[Conversation], labels: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Point clouds and the rows that have them."""
        clouds = np.zeros((len(conversations), self.num_points, 3), dtype=np.float32)
        for i, item in enumerate(conversations):
            if item.points is not None:
                try:
                    clouds[i] = check_points(item.points, self.num_points)
                except InputError as error:
                    raise InputError(f"{labels[i]}: {error}") from error
        return {
            "point_clouds": clouds,
            "is_pc": np.array([item.points is not None for item in conversations]),
            "is_img": np.array([item.picture is not None for item in conversations]),
        }

    def _pictures(
        self, conversations: Sequence[Conversation], labels: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Patches and grids, zeros in rows without a picture; nothing where no row has one."""
        if all(item.picture is None for item in conversations):
            return {}
        settings = self.patch_settings
        shape = (len(conversations), settings.num_patches, settings.patch_width)
        patches = np.zeros(shape, dtype=np.float32)
        grids = np.zeros((len(conversations), 3), dtype=np.int64)
        for i, item in enumerate(conversations):
            if item.picture is not None:
                try:
                    patches[i] = picture_to_patches(views_to_picture(item.picture), settings)
                except InputError as error:
                    raise InputError(f"{labels[i]}: {error}") from error
                grids[i] = settings.grid
        return {"pixel_values_videos": patches, "video_grid_thw": grids}


for _config in (CadrilleConfig, CadrilleQwen25Config, CadrilleQwen3Config):
    AutoProcessor.register(_config, CadrilleProcessor, exist_ok=True)
