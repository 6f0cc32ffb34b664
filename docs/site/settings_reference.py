"""The dataclasses of recipes -> the page "Settings": every key, its default and what it means.

In: the classes' own docstrings (section ``Attributes``) and defaults. Out: Markdown. A key without
words, or words without a key, is an error, so the page cannot fall behind.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from typing import Any

from command_reference import _cell

CLASSES = {
    "Supervised training (`task` not set)": "cadwright.training.config:TrainConfig",
    "Reinforcement learning (`task: rl`)": "cadwright.training.rl.config:RLConfig",
    "VQ-VAE (`task: vqvae`)": "cadwright.training.vqvae.config:VqVaeTrainConfig",
    "The VQ-VAE's network (under `model:`)": "cadwright.models.vqvae.config:VqVaeConfig",
}
_KEYS = re.compile(r"^    (?P<keys>\w+(?:, \w+)*): (?P<words>.*)$")


def settings_to_markdown() -> str:
    """The whole page."""
    lines = [
        "# Settings of recipes",
        "",
        "Keys of the YAML files in `recipes/`, and of `key=value` in the call. Made from the",
        "classes that check them when this site was built.",
    ]
    for title, name in CLASSES.items():
        lines += ["", f"## {title}", "", "| key | default | what |", "|---|---|---|"]
        for key, default, words in settings(load(name)):
            lines.append(f"| `{key}` | {default} | {_cell(words)} |")
    return "\n".join(lines) + "\n"


def load(name: str) -> type[Any]:
    """The class behind ``module:name``."""
    module, _, attribute = name.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def settings(kind: type[Any]) -> list[tuple[str, str, str]]:
    """Key, default and meaning of each field.

    Raises:
        ValueError: the docstring's attributes are not the fields.
    """
    meanings = attributes(inspect.getdoc(kind) or "")
    fields = dataclasses.fields(kind)
    if names := {field.name for field in fields} ^ set(meanings):
        raise ValueError(f"{kind.__name__}: field or words missing for {sorted(names)}")
    return [(field.name, _default(field), meanings[field.name]) for field in fields]


def attributes(doc: str) -> dict[str, str]:
    """The section ``Attributes`` of a Google-style docstring; one line may explain several."""
    found: dict[str, str] = {}
    keys: list[str] = []
    for line in doc.partition("Attributes:\n")[2].splitlines():
        if match := _KEYS.match(line):
            keys = match["keys"].split(", ")
            found |= dict.fromkeys(keys, match["words"])
        elif line.startswith("        "):
            found |= {key: f"{found[key]} {line.strip()}" for key in keys}
        elif line.strip():
            break
    return found


def _default(field: Any) -> str:
    if field.default is not dataclasses.MISSING:
        return "" if field.default is None else f"`{field.default}`"
    if field.default_factory is not dataclasses.MISSING:
        return "see below"
    return "required"
