"""The parts that come with the package, to try the service without one's own.

In: nothing. Out: files of ``cadwright/assets/examples`` with what the page says of them. Not
covered: how they were made (``examples/make_served.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cadwright.apps.http.problem_details import not_found


@dataclass(frozen=True, slots=True)
class Example:
    """One part.

    Attributes:
        name: in addresses.
        title: for people.
        kind: of file.
        file: its name.
    """

    name: str
    title: str
    kind: Literal["mesh", "points"]
    file: str

    @property
    def path(self) -> Path:
        """The file."""
        return folder() / self.file

    @property
    def thumbnail(self) -> Path:
        """Its picture."""
        return folder() / f"{self.name}.png"

    def entry(self) -> dict[str, Any]:
        """What the API says of it."""
        base = f"/api/examples/{self.name}"
        return {
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "bytes": self.path.stat().st_size,
            "href": f"{base}/file",
            "thumbnail": f"{base}/thumbnail",
        }


EXAMPLES = (
    Example("bracket", "Angle bracket", "mesh", "bracket.stl"),
    Example("flange", "Flange", "mesh", "flange.stl"),
    Example("housing", "Open housing", "mesh", "housing.stl"),
    Example("bracket-scan", "Scan of the bracket", "points", "bracket-scan.ply"),
)


def folder() -> Path:
    """Where they are."""
    import cadwright.assets

    return Path(cadwright.assets.__path__[0]) / "examples"


def find_example(name: str) -> Example:
    """The example of a name.

    Raises:
        Problem: 404, there is none.
    """
    for example in EXAMPLES:
        if example.name == name:
            return example
    names = ", ".join(example.name for example in EXAMPLES)
    raise not_found(f"there is no example of that name; there are {names}")
