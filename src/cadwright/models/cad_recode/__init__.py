"""CAD-Recode: points to program. Importing the classes registers them with transformers.

``from cadwright.models.cad_recode import CADRecode`` makes the Auto classes of transformers
find saved folders. Importing this package alone imports neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cadwright.models.cad_recode.checkpoint import load_model
    from cadwright.models.cad_recode.config import CADRecodeConfig
    from cadwright.models.cad_recode.model import CADRecode
    from cadwright.models.cad_recode.processor import CADRecodeProcessor

__all__ = ["CADRecode", "CADRecodeConfig", "CADRecodeProcessor", "load_model"]

_MODULES = {
    "CADRecode": "model",
    "CADRecodeConfig": "config",
    "CADRecodeProcessor": "processor",
    "load_model": "checkpoint",
}


def __getattr__(name: str) -> Any:
    """Import a class at first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # All three, so that using any one class registers config, model and processor.
    for module in ("config", "model", "processor"):
        import_module(f"{__name__}.{module}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
