"""The models: each has a config, a model, a processor and a checkpoint module.

Importing this package imports neither torch nor transformers; using a class does, and
registers it, so that the Auto classes of transformers find folders saved with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cadwright.models.cad_recode import CADRecode, CADRecodeConfig, CADRecodeProcessor
    from cadwright.models.cadrille import Cadrille, CadrilleConfig, CadrilleProcessor

__all__ = [
    "CADRecode",
    "CADRecodeConfig",
    "CADRecodeProcessor",
    "Cadrille",
    "CadrilleConfig",
    "CadrilleProcessor",
]

_PACKAGES = {
    "CADRecode": "cad_recode",
    "CADRecodeConfig": "cad_recode",
    "CADRecodeProcessor": "cad_recode",
    "Cadrille": "cadrille",
    "CadrilleConfig": "cadrille",
    "CadrilleProcessor": "cadrille",
}


def __getattr__(name: str) -> Any:
    """Import a class at first use."""
    if name not in _PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PACKAGES[name]}"), name)
