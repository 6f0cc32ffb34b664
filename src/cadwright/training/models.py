"""The model and processor that a training starts from.

In: a TrainConfig and a folder or Hub id, or nothing. Out: a model in training mode, float32
weights, and its processor. Starts: random weights, a checkpoint, the language model that the
published ones stand on (the point encoder is then new), a CADRecode for a Cadrille, a Cadrille for
a CADRecode. Not covered: adapters (adapters), the shape of a new Cadrille (cadrille_start).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import safe_open
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from cadwright.errors import CheckpointError, InputError
from cadwright.models import (
    CADRecode,
    CADRecodeConfig,
    CADRecodeProcessor,
    Cadrille,
    CadrilleProcessor,
)
from cadwright.models.cad_recode.checkpoint import load_model
from cadwright.models.cad_recode.tokenizer import load_tokenizer
from cadwright.models.cadrille.checkpoint import load_model as load_cadrille
from cadwright.models.folder import CONFIG_NAME, read_json, to_folder
from cadwright.training.cadrille_start import new_cadrille
from cadwright.training.config import SHAPE, TrainConfig
from cadwright.training.ordered_init import order_numbers
from cadwright.training.transplant import transplant

Model: TypeAlias = CADRecode | Cadrille
Processor: TypeAlias = CADRecodeProcessor | CadrilleProcessor
Tokenizer: TypeAlias = PreTrainedTokenizerBase | str | None

# Setting of the recipe to setting of the model's decoder.
_THEIRS = {
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "intermediate_size": "intermediate_size",
}
_DEFAULTS = {
    "hidden_size": 256,
    "num_layers": 6,
    "num_heads": 4,
    "num_kv_heads": 2,
    "intermediate_size": 688,
    "num_points": 128,
    "picture_size": 112,
}
PUBLISHED_POINTS = 256
_LANGUAGE_MODELS = {"cad_recode": ("qwen2",), "cadrille": ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")}


def make_model(
    config: TrainConfig, source: str | Path | None, tokenizer: Tokenizer = None
) -> tuple[Model, Processor]:
    """A model in training mode, weights in float32, and its processor.

    Args:
        config: kind and shape, and the seed of random weights.
        source: folder or Hub id to load, or None for random weights.
        tokenizer: goes before the one the recipe names, or the folder's, or the default's.

    Raises:
        CheckpointError: the folder cannot be loaded, or its shape is not the recipe's.
    """
    torch.manual_seed(config.seed)
    named = tokenizer if tokenizer is not None else config.tokenizer
    if source is None:
        model, processor = _new_model(with_shape(config, _DEFAULTS), named)
    else:
        model, processor = _load(config, to_folder(source), named)
        _check_shape(config, model, processor, source)
    model.set_attn_implementation(config.attention)
    return model.float().train(), processor


def resolved(config: TrainConfig, model: Any, processor: Processor) -> TrainConfig:
    """The config with the shape that the model has."""
    return dataclasses.replace(config, **_shape_of(model, processor))


def with_shape(config: TrainConfig, shape: dict[str, Any]) -> TrainConfig:
    """The config with what it leaves open filled in."""
    missing = {name: shape[name] for name in SHAPE if getattr(config, name) is None}
    if config.model != "cadrille":
        missing.pop("picture_size", None)
    return dataclasses.replace(config, **missing)


def _new_model(config: TrainConfig, named: Tokenizer) -> tuple[Model, Processor]:
    """Random weights, integers in order."""
    tokenizer = _as_tokenizer(named)
    if config.model == "cadrille":
        model, processor = new_cadrille(config, tokenizer)
        order_numbers(model, processor.tokenizer)
        return model, processor
    assert config.num_points is not None
    reader = CADRecodeProcessor(tokenizer or load_tokenizer(), num_points=config.num_points)
    recode = CADRecode(_recode_config(config, reader))
    order_numbers(recode, reader.tokenizer)
    return recode, reader


def _load(config: TrainConfig, folder: Path, named: Tokenizer) -> tuple[Model, Processor]:
    """The weights of a folder, by what it holds."""
    kind = read_json(folder / CONFIG_NAME).get("model_type")
    complete = _has_point_encoder(folder)
    if not complete and kind in _LANGUAGE_MODELS[config.model]:
        return _from_language_model(config, folder, named)
    if config.model == "cad_recode":
        if kind == "qwen2_vl":
            return _recode_from_cadrille(config, folder, named)
        return load_model(folder, dtype=torch.float32, tokenizer=named)
    if complete and kind in ("cad_recode", "qwen2"):
        source, reader = load_model(folder, dtype=torch.float32, tokenizer=named)
        config = with_shape(with_shape(config, _shape_of(source, reader)), _DEFAULTS)
        model, processor = new_cadrille(config, None, like=reader.tokenizer)
        transplant(source, reader.tokenizer, model, processor.tokenizer)
        return model, processor
    model, processor = load_cadrille(folder, dtype=torch.float32, tokenizer=named)
    if not isinstance(model, Cadrille):
        raise CheckpointError(f"training takes a Cadrille on Qwen2-VL, but {folder} is a {kind}")
    return model, processor


def _recode_from_cadrille(
    config: TrainConfig, folder: Path, named: Tokenizer
) -> tuple[Model, Processor]:
    """What a Cadrille knows of points, in a CADRecode of the same shape."""
    source, reader = load_cadrille(folder, dtype=torch.float32)
    if not isinstance(source, Cadrille):
        raise CheckpointError(f"the model in {folder} is no Cadrille on Qwen2-VL")
    config = with_shape(config, _shape_of(source, reader))
    processor = CADRecodeProcessor(
        _as_tokenizer(named) or load_tokenizer(), num_points=config.num_points or reader.num_points
    )
    model = CADRecode(_recode_config(config, processor))
    transplant(source, reader.tokenizer, model, processor.tokenizer)
    return model, processor


def _from_language_model(
    config: TrainConfig, folder: Path, named: Tokenizer
) -> tuple[Model, Processor]:
    """A published language model with a point encoder from nothing, as the papers start."""
    tokenizer = _as_tokenizer(named) or AutoTokenizer.from_pretrained(folder, local_files_only=True)
    num_points = config.num_points or PUBLISHED_POINTS
    try:
        if config.model == "cad_recode":
            settings = CADRecodeConfig.from_pretrained(folder, num_points=num_points)
            recode = CADRecode.from_pretrained(folder, config=settings, dtype=torch.float32)
            return recode, CADRecodeProcessor(tokenizer, num_points=num_points)
        from cadwright.models import CadrilleConfig
        from cadwright.models.cadrille.checkpoint import config_to_patches

        wide = CadrilleConfig.from_pretrained(folder, num_points=num_points)
        model = Cadrille.from_pretrained(folder, config=wide, dtype=torch.float32)
        limit = wide.text_config.max_position_embeddings
        patches = config_to_patches(wide)
        return model, CadrilleProcessor(tokenizer, num_points, limit, patches=patches)
    except (OSError, ValueError, InputError) as error:
        raise CheckpointError(f"the language model in {folder} cannot be used: {error}") from error


def _has_point_encoder(folder: Path) -> bool:
    """Whether the weights of a folder hold one, by the names in their headers."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if any("point_encoder." in name for name in file.keys()):
                return True
    return False


def _as_tokenizer(named: Tokenizer) -> PreTrainedTokenizerBase | None:
    """The tokenizer itself, or one loaded by name."""
    return AutoTokenizer.from_pretrained(named) if isinstance(named, str) else named


def _recode_config(config: TrainConfig, processor: CADRecodeProcessor) -> CADRecodeConfig:
    """The shape the recipe names, input and output embeddings tied."""
    assert config.num_points is not None and config.hidden_size is not None
    return CADRecodeConfig(
        **{theirs: getattr(config, ours) for ours, theirs in _THEIRS.items()},
        num_points=config.num_points,
        vocab_size=len(processor.tokenizer),
        max_position_embeddings=config.num_points + max(config.max_tokens, 512),
        tie_word_embeddings=True,
        initializer_range=config.hidden_size**-0.5,  # 0.02 is for widths of thousands
        bos_token_id=processor.start_token_id,
        eos_token_id=processor.end_token_id,
        pad_token_id=processor.pad_token_id,
    )


def _shape_of(model: Any, processor: Processor) -> dict[str, Any]:
    """The settings of SHAPE that a model has."""
    decoder = model.config.get_text_config()
    shape = {ours: getattr(decoder, theirs) for ours, theirs in _THEIRS.items()}
    shape["num_points"] = processor.num_points
    if isinstance(processor, CadrilleProcessor):
        shape["picture_size"] = processor.patch_settings.picture_size
    else:
        shape["picture_size"] = None
    return shape


def _check_shape(config: TrainConfig, model: Any, processor: Processor, source: str | Path) -> None:
    """A loaded model must be what the recipe says it is."""
    for name, found in _shape_of(model, processor).items():
        wanted = getattr(config, name)
        if wanted is not None and found is not None and wanted != found:
            raise CheckpointError(
                f"the model in '{source}' has {name}={found}, the recipe says {name}={wanted}"
            )
