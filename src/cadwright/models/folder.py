"""A model folder on disk: find it, read its JSON, check its tensors, load its tokenizer.

In: a folder or Hub id with config.json and safetensors, saved here or published. Out: what
the ``load_model`` of each model puts together. A folder that exists is read without any
network. Not covered: pickled weights (pytorch_model.bin), optimiser states, adapters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from cadwright.errors import CheckpointError

CONFIG_NAME = "config.json"
PROCESSOR_NAME = "processor_config.json"
TOKENIZER_NAMES = ("tokenizer.json", "tokenizer_config.json", "vocab.json")
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]

Shapes = dict[str, tuple[int, ...]]
Tokenizer: TypeAlias = PreTrainedTokenizerBase | str | Path


def to_folder(path_or_id: str | Path) -> Path:
    """The folder itself, or that of a downloaded Hub repository.

    Raises:
        CheckpointError: there is neither, or it is a file.
    """
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


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder.

    Raises:
        CheckpointError: the file is missing or holds no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} has no {path.name}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return values


def check_tensors(
    folder: Path, model: PreTrainedModel, *, rename: Callable[[str], str] = str
) -> None:
    """Compare names and shapes in the files with those of a model.

    Args:
        folder: the model folder; only the headers of its files are read.
        model: best on the meta device.
        rename: brings the names of both sides into one layout, where several are in use.

    Raises:
        CheckpointError: a tensor is missing, unexpected, of another shape or cut off.
    """
    found: Shapes = {}
    for path in _weight_files(folder):
        found |= {rename(name): shape for name, shape in _read_shapes(path).items()}
    values = model.state_dict().items()
    wanted: Shapes = {rename(name): tuple(value.shape) for name, value in values}
    optional = {rename(name) for name in model.all_tied_weights_keys}
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


def read_num_points(folder: Path, num_points: int) -> int:
    """How many points the folder's processor is for: as many as its model's configuration says.

    Raises:
        CheckpointError: they do not agree.
    """
    own = num_points
    if (folder / PROCESSOR_NAME).is_file():
        own = read_json(folder / PROCESSOR_NAME).get("num_points", num_points)
    if own != num_points:
        raise CheckpointError(
            f"{folder} is for {num_points} points by its {CONFIG_NAME} "
            f"but for {own} by its {PROCESSOR_NAME}"
        )
    return own


def load_tokenizer(
    folder: Path, tokenizer: Tokenizer | None, *, vocab_size: int, published: str
) -> PreTrainedTokenizerBase:
    """What was handed in, or what stands in the folder; folders without network.

    Args:
        folder: the model folder.
        tokenizer: a tokenizer, or its folder or Hub id; None for the folder's own.
        vocab_size: how many ids the model knows.
        published: for the message where there is none: whose tokenizer it has to be.

    Raises:
        CheckpointError: there is none, or it cannot be read or has too many tokens.
    """
    found = _find_tokenizer(folder, tokenizer, published)
    if len(found) > vocab_size:
        raise CheckpointError(
            f"the tokenizer has {len(found)} tokens but the model in {folder} only {vocab_size}"
        )
    return found


def check_special_ids(folder: Path, special_ids: Iterable[int], *, vocab_size: int) -> None:
    """Refuse a tokenizer whose special tokens have ids that the model does not know.

    Raises:
        CheckpointError: naming the largest such id.
    """
    if (largest := max(special_ids)) >= vocab_size:
        raise CheckpointError(
            f"the vocabulary of {vocab_size} in {folder} has no token id {largest}"
        )


def _find_tokenizer(
    folder: Path, tokenizer: Tokenizer | None, published: str
) -> PreTrainedTokenizerBase:
    """The tokenizer itself, or one loaded from a folder or the Hub."""
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        return tokenizer
    if tokenizer is None and not any((folder / name).is_file() for name in TOKENIZER_NAMES):
        raise CheckpointError(f"{folder} has no tokenizer: pass tokenizer=, {published}")
    source = folder if tokenizer is None else tokenizer
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=Path(source).is_dir())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"there is no usable tokenizer in {source}: {error}") from error


def _weight_files(folder: Path) -> Sequence[Path]:
    """The safetensors files of a folder: one, or the shards its index names."""
    if (folder / WEIGHTS_NAME).is_file():
        return [folder / WEIGHTS_NAME]
    if not (folder / INDEX_NAME).is_file():
        raise CheckpointError(f"{folder} has neither {WEIGHTS_NAME} nor {INDEX_NAME}")
    weight_map = read_json(folder / INDEX_NAME).get("weight_map")
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
