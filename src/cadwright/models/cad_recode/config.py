"""The configuration of CADRecode: Qwen2's, plus the number of points in a prompt.

Reads both what this package saves (model_type 'cad_recode') and what was published
(model_type 'qwen2', architectures ['CADRecode']). Imports transformers, not torch.
"""

from __future__ import annotations

import os
from typing import Any

from transformers import AutoConfig, Qwen2Config

from cadwright.errors import InputError


class CADRecodeConfig(Qwen2Config):
    """Configuration of a Qwen2 decoder that reads a point cloud before the program.

    Published folders call themselves 'qwen2', and so does a plain Qwen2 that one starts a
    training from; both are taken as they are. Saved folders say 'cad_recode', so that the
    Auto classes find them again.

    Attributes:
        num_points: how many points stand in front of the program; the processor samples
            this many. The model itself takes any number.
    """

    model_type = "cad_recode"

    num_points: int = 256

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the point count and let Qwen2 fill in the rest."""
        if not isinstance(self.num_points, int) or self.num_points < 1:
            raise InputError(f"num_points must be a positive integer, not {self.num_points!r}")
        super().__post_init__(**kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read a folder's configuration, calling a Qwen2 one by this class's name."""
        values, rest = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if values.get("model_type") == Qwen2Config.model_type:
            values = {**values, "model_type": cls.model_type}
        return values, rest


AutoConfig.register(CADRecodeConfig.model_type, CADRecodeConfig, exist_ok=True)
