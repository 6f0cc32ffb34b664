"""A folder or Hub id to a checked Cadrille and its processor.

In: a folder with config.json and safetensors, saved here or published, on Qwen2-VL, Qwen2.5-VL
or Qwen3-VL. Out: the model in evaluation mode, and the processor. A folder that exists is read
without any network. Not covered: pickled weights, optimiser states, adapters.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from cadwright.errors import CheckpointError, InputError
from cadwright.models.cadrille.config import AnyCadrilleConfig
from cadwright.models.cadrille.model import MODELS, AnyCadrille
from cadwright.models.cadrille.processor import CadrilleProcessor
from cadwright.models.folder import (
    CONFIG_NAME,
    PROCESSOR_NAME,
    Tokenizer,
    check_special_ids,
    check_tensors,
    load_tokenizer,
    read_json,
    read_num_points,
    to_folder,
)

VIEWS_SIZE = 268
"""Side in pixels of the published picture of four views."""

QWEN3_COLOURS = (0.5, 0.5, 0.5)
"""Mean and deviation of the colours that Qwen3-VL was trained with."""


def load_model(
    path_or_id: str | Path,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "auto",
    attn: str | None = None,
    *,
    tokenizer: Tokenizer | None = None,
) -> tuple[AnyCadrille, CadrilleProcessor]:
    """Load a model and its processor, after checking that every tensor is there and fits.

    What ends a program is the processor's end token, whatever the folder's generation
    settings say.

    Args:
        path_or_id: a folder, or the id of a Hub repository, which is downloaded.
        device: where the model goes.
        dtype: "auto" for the dtype in the configuration, or a dtype or its name.
        attn: "sdpa", "eager", "flash_attention_2", ...; None for the library's choice.
        tokenizer: a tokenizer, or its folder or Hub id. Needed where the folder has none;
            that of the published weights is Qwen/Qwen2-VL-2B-Instruct's.

    Returns:
        The model, in evaluation mode, of the class its configuration's model_type asks for,
        and the processor.

    Raises:
        CheckpointError: a file or tensor is missing, unexpected, of the wrong shape or cut
            off; or there is no tokenizer, or one that does not fit the model.
    """
    folder = to_folder(path_or_id)
    config = _read_config(folder)
    kind = MODELS[config.model_type]
    with torch.device("meta"):
        check_tensors(folder, kind(config), rename=to_published_name)
    processor = _load_processor(folder, config, tokenizer)
    model: AnyCadrille = kind.from_pretrained(
        folder, config=config, dtype=dtype, attn_implementation=attn, local_files_only=True
    )
    settings = model.generation_config
    settings.eos_token_id = processor.end_token_id
    settings.pad_token_id = processor.pad_token_id
    model.to(torch.device(device))
    return model.eval(), processor


def to_published_name(tensor: str) -> str:
    """A tensor's published name: ``visual.*`` and ``model.*`` also where newer files nest them."""
    return re.sub(
        r"^model\.language_model\.", "model.", re.sub(r"^model\.visual\.", "visual.", tensor)
    )


def _read_config(folder: Path) -> AnyCadrilleConfig:
    """The configuration, if it is that of one of the three backbones."""
    kind = read_json(folder / CONFIG_NAME).get("model_type")
    if kind not in MODELS:
        raise CheckpointError(f"{folder / CONFIG_NAME} is of a {kind!r} model, not of Cadrille")
    try:
        config: AnyCadrilleConfig = MODELS[kind].config_class.from_pretrained(
            folder, local_files_only=True
        )
    except (InputError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG_NAME} cannot be used: {error}") from error
    return config


def _load_processor(
    folder: Path, config: AnyCadrilleConfig, tokenizer: Tokenizer | None
) -> CadrilleProcessor:
    """The processor with the folder's tokenizer, or the one handed in, fitting the model."""
    num_points = read_num_points(folder, config.num_points)
    own = load_tokenizer(
        folder,
        tokenizer,
        vocab_size=config.text_config.vocab_size,
        published="which for the published cadrille weights is that of Qwen/Qwen2-VL-2B-Instruct",
    )
    saved: dict[str, Any] = {}
    if (folder / PROCESSOR_NAME).is_file():
        saved = read_json(folder / PROCESSOR_NAME)
    limits = (saved.get("max_length"), config.text_config.max_position_embeddings)
    try:
        processor = CadrilleProcessor(
            own,
            num_points=num_points,
            max_length=min(limit for limit in limits if limit is not None),
            patches=saved.get("patches") or config_to_patches(config),
        )
    except (InputError, TypeError) as error:
        raise CheckpointError(f"the processor for {folder} cannot be made: {error}") from error
    _check_agreement(folder, config, processor)
    return processor


def config_to_patches(config: AnyCadrilleConfig) -> dict[str, Any]:
    """The fields of ``PatchSettings`` for a model: pictures as large as four views, or larger."""
    vision = config.vision_config
    side = vision.patch_size * vision.spatial_merge_size
    fields: dict[str, Any] = {
        "picture_size": -(-VIEWS_SIZE // side) * side,
        "patch_size": vision.patch_size,
        "merge_size": vision.spatial_merge_size,
        "num_frames": vision.temporal_patch_size,
    }
    if config.model_type == "qwen3_vl":
        fields |= {"mean": QWEN3_COLOURS, "deviation": QWEN3_COLOURS}
    return fields


def _check_agreement(folder: Path, config: AnyCadrilleConfig, processor: CadrilleProcessor) -> None:
    """Refuse a processor whose picture tokens or patches are not those of the model."""
    if processor.picture_token_id != config.video_token_id:
        raise CheckpointError(
            f"pictures have token id {processor.picture_token_id} in the tokenizer but "
            f"{config.video_token_id} in the model in {folder}"
        )
    special = (processor.end_token_id, processor.pad_token_id)
    check_special_ids(folder, special, vocab_size=config.text_config.vocab_size)
    settings, wanted = processor.patch_settings, config_to_patches(config)
    for name in ("patch_size", "merge_size", "num_frames"):
        if getattr(settings, name) != wanted[name]:
            raise CheckpointError(
                f"{name} is {getattr(settings, name)} in the processor but {wanted[name]} in the "
                f"model in {folder}"
            )
