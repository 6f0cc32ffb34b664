"""Cadrille: points, pictures and words to program, mixed in one batch.

``from cadwright.models.cadrille import Cadrille`` is the published model, on Qwen2-VL; its
siblings stand on Qwen2.5-VL and Qwen3-VL, and ``load_model`` picks the one a folder is for.
Importing this package alone imports neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cadwright.models.cadrille.checkpoint import load_model
    from cadwright.models.cadrille.config import (
        CadrilleConfig,
        CadrilleQwen3Config,
        CadrilleQwen25Config,
    )
    from cadwright.models.cadrille.conversation import Conversation
    from cadwright.models.cadrille.model import Cadrille, CadrilleQwen3, CadrilleQwen25
    from cadwright.models.cadrille.processor import CadrilleProcessor

__all__ = [
    "Cadrille",
    "CadrilleConfig",
    "CadrilleProcessor",
    "CadrilleQwen25",
    "CadrilleQwen25Config",
    "CadrilleQwen3",
    "CadrilleQwen3Config",
    "Conversation",
    "load_model",
]

_MODULES = {
    "Cadrille": "model",
    "CadrilleConfig": "config",
    "CadrilleProcessor": "processor",
    "CadrilleQwen25": "model",
    "CadrilleQwen25Config": "config",
    "CadrilleQwen3": "model",
    "CadrilleQwen3Config": "config",
    "Conversation": "conversation",
    "load_model": "checkpoint",
}


def __getattr__(name: str) -> Any:
    """Import a class at first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # All three, so that using any one class registers model and processor.
    for module in ("config", "model", "processor"):
        import_module(f"{__name__}.{module}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
