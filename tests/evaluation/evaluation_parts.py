"""Golden shapes and their programs, and predictions that make trouble."""

from __future__ import annotations

import json
from pathlib import Path

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
PUBLISHED = json.loads((SHAPES / "metrics.json").read_text())
HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n"


def endless_program(num: int = 300) -> str:
    """Of the dialect, short enough to be read, and minutes of work: rings around rings."""
    planes = "".join(
        f"w{k}=cq.Workplane('{axes}',origin=(0,0,0))\n" for k, axes in enumerate(("XY", "YZ", "ZX"))
    )
    bodies = []
    for k in range(num):
        ring = f".circle({20 + k % 9}).circle({14 + k % 9},mode='s')"
        rings = "".join(f".push([({7 * i - 30},{k % 50 - 25})]){ring}" for i in range(5))
        bodies.append(f"w{k % 3}.sketch(){rings}.finalize().extrude({k % 90 + 5})")
    union = bodies[0] + "".join(f".union({body})" for body in bodies[1:])
    return f"import cadquery as cq\n{planes}r={union}"


def huge_stl(path: Path) -> Path:
    """4.5 million triangles without area, which take a gigabyte to weld; sparse on the disk."""
    num = 4_500_000
    with path.open("wb") as file:
        file.write(b"binary".ljust(80) + num.to_bytes(4, "little"))
        file.truncate(84 + 50 * num)
    return path


def published_program(number: int) -> str:
    """The changed program that metrics.json holds for a target."""
    return str(PUBLISHED[number]["program"])


def true_program(number: int) -> str:
    return (SHAPES / f"{number:02}.py").read_text()
