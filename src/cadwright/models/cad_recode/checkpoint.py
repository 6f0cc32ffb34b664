"""A folder or Hub id to a checked CADRecode and its processor.

In: a folder with config.json and safetensors, saved here or published. Out: the model in
evaluation mode, and the processor. A folder that exists is read without any network.
Not covered: pickled weights (pytorch_model.bin), optimiser states, adapters.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from cadwright.errors import CheckpointError, InputError
from cadwright.models.cad_recode.config import CADRecodeConfig
from cadwright.models.cad_recode.model import CADRecode
from cadwright.models.cad_recode.processor import CADRecodeProcessor
from cadwright.models.folder import (
    CONFIG_NAME,
    check_special_ids,
    check_tensors,
    load_tokenizer,
    read_json,
    read_num_points,
    to_folder,
)


def load_model(
    path_or_id: str | Path,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "auto",
    attn: str | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | str | Path | None = None,
) -> tuple[CADRecode, CADRecodeProcessor]:
    """Load a model and its processor, after checking that every tensor is there and fits.

    What ends a program is the processor's end token, whatever the folder's generation
    settings say.

    Args:
        path_or_id: a folder, or the id of a Hub repository, which is downloaded.
        device: where the model goes.
        dtype: "auto" for the dtype in the configuration, or a dtype or its name.
        attn: "sdpa", "eager", "flash_attention_2", ...; None for the library's choice.
        tokenizer: a tokenizer, or its folder or Hub id. Needed where the folder has none,
            as the published CAD-Recode weights: theirs is that of Qwen/Qwen2-1.5B.

    Returns:
        The model, in evaluation mode, and the processor.

    Raises:
        CheckpointError: a file or tensor is missing, unexpected, of the wrong shape or cut
            off; or there is no tokenizer, or one that does not fit the model.
    """
    folder = to_folder(path_or_id)
    config = _read_config(folder)
    with torch.device("meta"):
        check_tensors(folder, CADRecode(config))
    processor = _load_processor(folder, config, tokenizer)
    model: CADRecode = CADRecode.from_pretrained(
        folder, config=config, dtype=dtype, attn_implementation=attn, local_files_only=True
    )
    settings = model.generation_config
    settings.bos_token_id = processor.start_token_id
    settings.eos_token_id = processor.end_token_id
    settings.pad_token_id = processor.pad_token_id
    model.to(torch.device(device))
    return model.eval(), processor


def _read_config(folder: Path) -> CADRecodeConfig:
    """The configuration, if it is that of a CADRecode or of a Qwen2."""
    kind = read_json(folder / CONFIG_NAME).get("model_type")
    if kind not in ("cad_recode", "qwen2"):
        raise CheckpointError(f"{folder / CONFIG_NAME} is of a {kind!r} model, not of CADRecode")
    try:
        config: CADRecodeConfig = CADRecodeConfig.from_pretrained(folder, local_files_only=True)
    except (InputError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG_NAME} cannot be used: {error}") from error
    return config


def _load_processor(
    folder: Path, config: CADRecodeConfig, tokenizer: PreTrainedTokenizerBase | str | Path | None
) -> CADRecodeProcessor:
    """The processor with the folder's tokenizer, or the one handed in."""
    num_points = read_num_points(folder, config.num_points)
    own = load_tokenizer(
        folder,
        tokenizer,
        vocab_size=config.vocab_size,
        published="which for the published CAD-Recode weights is that of Qwen/Qwen2-1.5B",
    )
    try:
        processor = CADRecodeProcessor(own, num_points=num_points)
    except InputError as error:
        raise CheckpointError(f"the tokenizer for {folder} cannot be used: {error}") from error
    special = (processor.start_token_id, processor.end_token_id, processor.pad_token_id)
    check_special_ids(folder, special, vocab_size=config.vocab_size)
    return processor
