"""cadwright: from a mesh or a point cloud to an editable CadQuery program and a STEP file.

``cadwright.reconstruct(path_or_mesh)`` does the whole; ``cadwright.Reconstructor`` keeps model
and kernel for several parts. Importing this package loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cadwright.inference.pipeline import Reconstructor, reconstruct
    from cadwright.inference.result import Reconstruction

__version__ = "0.1.0"
__all__ = ["Reconstruction", "Reconstructor", "__version__", "reconstruct"]

_MODULES = {"Reconstruction": "result", "Reconstructor": "pipeline", "reconstruct": "pipeline"}


def __getattr__(name: str) -> Any:
    """Import at first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"cadwright.inference.{_MODULES[name]}"), name)
