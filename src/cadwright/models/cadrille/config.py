"""The configurations of Cadrille: those of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, plus num_points.

Reads what was published and what transformers 4 or 5 saved. A Qwen2-VL one is written as it was
published, flat and with model_type 'qwen2_vl', so that the published class reads it again.
Imports transformers, not torch. Not covered: which class belongs to which (see model).
"""

from __future__ import annotations

import os
from typing import Any

from transformers import Qwen2_5_VLConfig, Qwen2VLConfig, Qwen3VLConfig

from cadwright.errors import CheckpointError, InputError

NUM_POINTS = 256
"""How many points the published weights were trained with."""

SPECIAL_IDS = (
    "image_token_id",
    "video_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
)

# Settings that transformers 5 derives from the others, or that had other names when published.
_NOT_PUBLISHED = {"layer_types", "model_type", "dtype", "rope_parameters"}


class _Checked:
    """What the three have in common; stands before the library's class."""

    model_type: str
    num_points: int
    text_config: Any
    vision_config: Any

    def __post_init__(self, **kwargs: Any) -> None:
        """Let the library fill in the rest, and check points and special ids."""
        if self.text_config is None:
            # The library would fill in Qwen2's, which smaller vocabularies do not have.
            kwargs.setdefault("bos_token_id", None)
        super().__post_init__(**kwargs)  # type: ignore[misc]
        if not isinstance(self.num_points, int) or self.num_points < 1:
            raise InputError(f"num_points must be a positive integer, not {self.num_points!r}")
        size = self.text_config.vocab_size
        for name in SPECIAL_IDS:
            if not 0 <= getattr(self, name) < size:
                raise InputError(
                    f"the vocabulary of {size} has no room for {name} {getattr(self, name)}"
                )

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read a folder's configuration, refusing that of another kind of model."""
        values, rest = super().get_config_dict(  # type: ignore[misc]
            pretrained_model_name_or_path, **kwargs
        )
        kind = values.get("model_type", cls.model_type)  # no values where there is no file
        if kind != cls.model_type:
            raise CheckpointError(
                f"{pretrained_model_name_or_path} is of a {kind!r} model, not of {cls.model_type!r}"
            )
        return values, rest


class CadrilleConfig(_Checked, Qwen2VLConfig):
    """Configuration of a Cadrille on Qwen2-VL, the published one.

    Attributes:
        num_points: how many points stand before the text; the processor samples this many.
            The model itself takes any number.
    """

    num_points: int = NUM_POINTS

    def to_diff_dict(self) -> dict[str, Any]:
        """What goes into config.json: the published layout, with the decoder's settings on top."""
        values: dict[str, Any] = super().to_diff_dict()
        decoder, vision = values.pop("text_config"), values.pop("vision_config")
        rope, dtype = dict(decoder["rope_parameters"]), values.pop("dtype", None)
        values |= {name: decoder[name] for name in decoder.keys() - _NOT_PUBLISHED}
        values["rope_theta"] = rope.pop("rope_theta")
        # The published class reads the older of the two names of the kind.
        values["rope_scaling"] = rope | {"type": rope["rope_type"]}
        vision = {name: vision[name] for name in vision.keys() - _NOT_PUBLISHED}
        values["vision_config"] = vision | {"model_type": self.model_type}
        if dtype is not None:
            values["torch_dtype"] = dtype
        # Transformers 4 fills in its own value, and does not take None everywhere.
        return {name: value for name, value in values.items() if value is not None}


class CadrilleQwen25Config(_Checked, Qwen2_5_VLConfig):
    """Configuration of a Cadrille on Qwen2.5-VL; see ``CadrilleConfig``."""

    num_points: int = NUM_POINTS


class CadrilleQwen3Config(_Checked, Qwen3VLConfig):
    """Configuration of a Cadrille on Qwen3-VL; see ``CadrilleConfig``."""

    num_points: int = NUM_POINTS


AnyCadrilleConfig = CadrilleConfig | CadrilleQwen25Config | CadrilleQwen3Config
