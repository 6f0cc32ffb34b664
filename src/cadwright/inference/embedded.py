"""The models that come with the package: where they are, and what each reads.

In: a kind of input. Out: a folder. Imports nothing heavy, so that ``--help`` can ask too. Not
covered: loading (see ``decode``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from cadwright.errors import CheckpointError, InputError

InputKind = Literal["points", "views", "words"]

KINDS: tuple[InputKind, ...] = ("points", "views", "words")
READS: dict[InputKind, str] = {
    "points": "meshes and point clouds",
    "views": "pictures",
    "words": "text",
}
"""What a person calls the inputs of each kind."""

_NAMES: dict[InputKind, str] = {
    "points": "embedded",
    "views": "embedded_multimodal",
    "words": "embedded_multimodal",
}


def embedded_folder(kind: InputKind = "points") -> Path:
    """The folder of the embedded model for a kind of input.

    Raises:
        InputError: the package has none for it.
        CheckpointError: the package has none at all.
    """
    kinds = embedded_kinds()
    if not kinds:
        raise CheckpointError(f"this installation has lost its embedded model ({_assets()})")
    if kind not in kinds:
        raise InputError(
            f"the embedded model reads {name_kinds(kinds)}, not {READS[kind]}: name the "
            "folder or Hub id of a cadrille model instead (--model, or model=)"
        )
    return _assets() / _NAMES[kind]


def embedded_kinds() -> tuple[InputKind, ...]:
    """The kinds of input that the package has a model for."""
    return tuple(kind for kind in KINDS if (_assets() / _NAMES[kind] / "config.json").is_file())


def name_kinds(kinds: Iterable[InputKind]) -> str:
    """'meshes and point clouds, pictures and text'."""
    names = [READS[kind] for kind in KINDS if kind in set(kinds)]
    return ", ".join(names[:-1]) + (" and " if names[:-1] else "") + "".join(names[-1:])


def _assets() -> Path:
    import cadwright.assets

    return Path(cadwright.assets.__path__[0])
