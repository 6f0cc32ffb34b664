"""Files that are handed out so that no browser opens them by itself."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import FileResponse, Response

INACTIVE = "application/octet-stream"  # of geometry and of whatever was uploaded or made of it


def download(path: Path, name: str) -> Response:
    """A file to save under a name, whatever is in it."""
    return FileResponse(path, media_type=INACTIVE, filename=name)
