"""A folder or Hub id to whichever model it holds, checked, with its processor.

In: a folder with config.json and safetensors. Out: a CADRecode or a Cadrille on any of its
backbones, by the configuration's model_type. Not covered: how each is checked (its checkpoint
module). Only the packages of the model found are imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from cadwright.errors import CheckpointError
from cadwright.models.folder import CONFIG_NAME, Tokenizer, read_json, to_folder

if TYPE_CHECKING:
    from cadwright.models.cad_recode import CADRecode, CADRecodeProcessor
    from cadwright.models.cadrille import CadrilleProcessor
    from cadwright.models.cadrille.model import AnyCadrille

    AnyModel: TypeAlias = CADRecode | AnyCadrille
    AnyProcessor: TypeAlias = CADRecodeProcessor | CadrilleProcessor

CAD_RECODE_TYPES = ("cad_recode", "qwen2")
CADRILLE_TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def load_any_model(
    path_or_id: str | Path,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "auto",
    attn: str | None = None,
    *,
    tokenizer: Tokenizer | None = None,
) -> tuple[AnyModel, AnyProcessor]:
    """Load a model and its processor; arguments and errors are those of each ``load_model``.

    Raises:
        CheckpointError: as ``load_model``, or the folder holds another kind of model.
    """
    folder = to_folder(path_or_id)
    kind = read_json(folder / CONFIG_NAME).get("model_type")
    if kind in CAD_RECODE_TYPES:
        from cadwright.models.cad_recode.checkpoint import load_model as load_cad_recode

        return load_cad_recode(folder, device, dtype, attn, tokenizer=tokenizer)
    if kind in CADRILLE_TYPES:
        from cadwright.models.cadrille.checkpoint import load_model as load_cadrille

        return load_cadrille(folder, device, dtype, attn, tokenizer=tokenizer)
    known = ", ".join(CAD_RECODE_TYPES + CADRILLE_TYPES)
    raise CheckpointError(
        f"{folder / CONFIG_NAME} is of a {kind!r} model; what can be used here is one of {known}"
    )
