"""A flat YAML recipe and words like ``lr=0.001`` to a checked dataclass, and back.

In: the path of a recipe, overrides, and a dataclass whose annotations say what is allowed.
Out: an object of that class; every mistake is named, with the nearest known key. Works for
any frozen dataclass of plain values (config, rl.config). Not covered: what settings mean.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from cadwright.errors import InputError
from cadwright.optional import require

T = TypeVar("T")


def read_recipe(recipe: str | Path, overrides: Sequence[str], kind: type[T]) -> T:
    """Read a recipe and change single settings.

    Args:
        recipe: path of a flat YAML file.
        overrides: words ``key=value``; the value is read as YAML, later words win.
        kind: the dataclass to make.

    Raises:
        InputError: no such file, not flat YAML, an unknown key (with the nearest known
            one), or a value of the wrong type.
    """
    return make_settings(read_values(recipe, overrides), kind)


def read_values(recipe: str | Path, overrides: Sequence[str]) -> dict[str, Any]:
    """What a recipe and the changes to it say, before anything is checked against a dataclass.

    Raises:
        InputError: no such file, not flat YAML, or a change not of the form ``key=value``.
    """
    yaml = require("yaml", extra="train")
    try:
        values = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe '{recipe}' cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"the recipe '{recipe}' is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"the recipe '{recipe}' must be a list of 'key: value' lines")
    return {**values, **dict(_split_override(word) for word in overrides)}


def make_settings(values: Mapping[str, Any], kind: type[T]) -> T:
    """An object of ``kind`` from plain values; its own checks run, too.

    Raises:
        InputError: an unknown or missing key, or a value of the wrong type or range.
    """
    known = field_types(kind)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"the recipe has no setting '{key}'{hint}")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name not in values and field.default is dataclasses.MISSING:
            raise InputError(f"the recipe lacks the setting '{field.name}'")
    return kind(**{key: _widen(value, known[key]) for key, value in values.items()})


def settings_to_yaml(settings: Any) -> str:
    """Every setting written out, readable by ``read_recipe``."""
    text: str = require("yaml", extra="train").safe_dump(
        dataclasses.asdict(settings), sort_keys=False
    )
    return text


def check_types(settings: Any) -> None:
    """Compare each value of a dataclass with its annotation.

    Raises:
        InputError: a value of the wrong type, named.
    """
    for name, kind in field_types(type(settings)).items():
        _check_type(name, getattr(settings, name), kind)


def field_types(kind: type) -> dict[str, Any]:
    """Setting name to its type, in order."""
    return typing.get_type_hints(kind)


def _split_override(word: str) -> tuple[str, Any]:
    """``'lr=1e-3'`` to ``('lr', 0.001)``."""
    yaml = require("yaml", extra="train")
    key, sign, text = word.partition("=")
    if not sign or not key:
        raise InputError(f"the override '{word}' is not of the form key=value")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the value of the override '{word}' is not YAML") from error


def _widen(value: Any, kind: Any) -> Any:
    """Integers where a float is wanted, and YAML 1.1's '1e-3', which it reads as text."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if float not in kinds or str in kinds or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _check_type(name: str, value: Any, kind: Any) -> None:
    """One setting against its annotation."""
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise InputError(f"the setting '{name}' must be one of {choices}, not {value!r}")
        return
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    wrong_bool = isinstance(value, bool) and bool not in kinds
    taken = (*kinds, int) if float in kinds else kinds
    if wrong_bool or not isinstance(value, taken):
        names = ["null" if k is type(None) else k.__name__ for k in kinds]
        raise InputError(
            f"the setting '{name}' must be of type {' or '.join(names)}, not {value!r}"
        )
