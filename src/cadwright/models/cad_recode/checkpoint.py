"""A folder or Hub id to a checked CADRecode and its processor.

In: a folder with config.json and safetensors, saved here or published. Out: the model in
evaluation mode, and the processor. A folder that exists is read without any network.
Not covered: pickled weights (pytorch_model.bin), optimiser states, adapters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from cadwright.errors import CheckpointError, InputError
from cadwright.models.cad_recode.config import CADRecodeConfig
from cadwright.models.cad_recode.model import CADRecode
from cadwright.models.cad_recode.processor import CADRecodeProcessor

CONFIG_NAME = "config.json"
PROCESSOR_NAME = "processor_config.json"
TOKENIZER_NAMES = ("tokenizer.json", "tokenizer_config.json", "vocab.json")
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]

Shapes = dict[str, tuple[int, ...]]


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
    folder = _to_folder(path_or_id)
    config = _read_config(folder)
    _check_tensors(folder, config)
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


def _to_folder(path_or_id: str | Path) -> Path:
    """The folder itself, or that of a downloaded Hub repository."""
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{folder} is a file, but a model is a folder")
    name = str(path_or_id)
    if isinstance(path_or_id, Path) or name.count("/") != 1 or name[0] in "./~":
        raise CheckpointError(f"there is no folder {name}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"there is no folder {name}, and as a Hub repository it cannot be had: {error}"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} has no {path.name}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return values


def _read_config(folder: Path) -> CADRecodeConfig:
    """The configuration, if it is that of a CADRecode or of a Qwen2."""
    kind = _read_json(folder / CONFIG_NAME).get("model_type")
    if kind not in ("cad_recode", "qwen2"):
        raise CheckpointError(f"{folder / CONFIG_NAME} is of a {kind!r} model, not of CADRecode")
    try:
        config: CADRecodeConfig = CADRecodeConfig.from_pretrained(folder, local_files_only=True)
    except (InputError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG_NAME} cannot be used: {error}") from error
    return config


def _check_tensors(folder: Path, config: CADRecodeConfig) -> None:
    """Compare names and shapes in the files with what the configuration asks for."""
    found: Shapes = {}
    for path in _weight_files(folder):
        found |= _read_shapes(path)
    with torch.device("meta"):
        model = CADRecode(config)
    wanted: Shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    optional = set(model.all_tied_weights_keys)
    if missing := wanted.keys() - found.keys() - optional:
        raise CheckpointError(f"{folder} lacks the {_name(missing)}")
    if unexpected := found.keys() - wanted.keys():
        raise CheckpointError(f"{folder} has the unexpected {_name(unexpected)}")
    if wrong := [name for name in found if found[name] != wanted[name]]:
        first = min(wrong)
        raise CheckpointError(
            f"{folder} has another shape than its configuration asks for in the {_name(wrong)} "
            f"({first}: {found[first]} instead of {wanted[first]})"
        )


def _weight_files(folder: Path) -> Sequence[Path]:
    """The safetensors files of a folder: one, or the shards its index names."""
    if (folder / WEIGHTS_NAME).is_file():
        return [folder / WEIGHTS_NAME]
    if not (folder / INDEX_NAME).is_file():
        raise CheckpointError(f"{folder} has neither {WEIGHTS_NAME} nor {INDEX_NAME}")
    weight_map = _read_json(folder / INDEX_NAME).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{folder / INDEX_NAME} has no weight_map")
    shards = [folder / name for name in sorted(set(weight_map.values()))]
    for shard in shards:
        if not shard.is_file():
            lost = [name for name, file in weight_map.items() if file == shard.name]
            raise CheckpointError(f"{folder} has no {shard.name} with the {_name(lost)}")
    return shards


def _read_shapes(path: Path) -> Shapes:
    """Names and shapes in a safetensors file, from its header.

    The header is an 8-byte length and a JSON object; every tensor names the bytes it takes,
    so the tensors that a broken download lost can be told.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        if header_size > size - 8:
            raise CheckpointError(f"{path} is cut off in its header, or is no safetensors file")
        try:
            header = json.loads(file.read(header_size))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
            ends = {name: int(entry["data_offsets"][1]) for name, entry in entries.items()}
        except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
            raise CheckpointError(f"{path} has an unreadable header: {error}") from error
    if lost := [name for name, end in ends.items() if 8 + header_size + end > size]:
        raise CheckpointError(f"{path} is cut off and has lost the {_name(lost)}")
    return shapes


def _name(tensors: Iterable[str], limit: int = 5) -> str:
    """'tensor a' or 'tensors a, b and 7 more'."""
    names = sorted(tensors)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"tensor{'s' if len(names) > 1 else ''} {', '.join(names[:limit])}{more}"


def _load_processor(
    folder: Path, config: CADRecodeConfig, tokenizer: PreTrainedTokenizerBase | str | Path | None
) -> CADRecodeProcessor:
    """The processor with the folder's tokenizer, or the one handed in."""
    num_points = config.num_points
    if (folder / PROCESSOR_NAME).is_file():
        num_points = _read_json(folder / PROCESSOR_NAME).get("num_points", num_points)
    if num_points != config.num_points:
        raise CheckpointError(
            f"{folder} is for {config.num_points} points by its {CONFIG_NAME} "
            f"but for {num_points} by its {PROCESSOR_NAME}"
        )
    own = _load_tokenizer(folder, tokenizer)
    if len(own) > config.vocab_size:
        raise CheckpointError(
            f"the tokenizer has {len(own)} tokens but the model in {folder} only "
            f"{config.vocab_size}"
        )
    try:
        return CADRecodeProcessor(own, num_points=num_points)
    except InputError as error:
        raise CheckpointError(f"the tokenizer for {folder} cannot be used: {error}") from error


def _load_tokenizer(
    folder: Path, tokenizer: PreTrainedTokenizerBase | str | Path | None
) -> PreTrainedTokenizerBase:
    """What was handed in, or what stands in the folder; folders without network."""
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        return tokenizer
    if tokenizer is None and not any((folder / name).is_file() for name in TOKENIZER_NAMES):
        raise CheckpointError(
            f"{folder} has no tokenizer: pass tokenizer=, which for the published "
            "CAD-Recode weights is that of Qwen/Qwen2-1.5B"
        )
    source = folder if tokenizer is None else tokenizer
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=Path(source).is_dir())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"there is no usable tokenizer in {source}: {error}") from error
