"""Optional packages: imported at use, with the exact pip line where one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from cadwright.errors import MissingDependencyError


def require(name: str, *, extra: str) -> ModuleType:
    """Import ``name`` or say which extra brings it.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"this needs the package '{name}': pip install 'cadwright[{extra}]'"
        ) from error
