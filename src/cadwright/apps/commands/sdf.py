"""``cadwright sdf PART... --resolution R``: meshes to sparse signed distance fields.

In: mesh files, USER frame. Out: ``DIR/{sha256}_r{R}.npz`` for each and ``DIR/metadata.csv``; on
stdout samples, seconds and memory. A part that fails costs a sentence, a row with the error, and
the exit status 1; the others are still done. Not covered: point clouds.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from cadwright.apps.terminal import at_least, end_parts, try_part
from cadwright.errors import InputError

Entry = dict[str, Any]


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "sdf",
        help="a mesh to a sparse signed distance field",
        description="Measure signed distances in a band around meshes: divided by the band, "
        "clipped to [-1, 1], negative inside. Each part becomes DIR/SHA256_rR.npz and a row of "
        "DIR/metadata.csv.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="+", metavar="PART", type=Path, help="STL, OBJ, PLY, OFF, GLB or STEP"
    )
    parser.add_argument(
        "--resolution", required=True, type=at_least(8), metavar="R", help="samples a side"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("."), help="output folder")
    parser.add_argument(
        "--band", type=float, default=4.0, help="width of the band over R, as a factor"
    )
    parser.add_argument(
        "--mesh", action="store_true", help="also write the surface that comes back, as STL"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Convert all parts.

    Returns:
        0, or 1 if a part failed.
    Raises:
        MissingDependencyError: numba, or for STEP CadQuery, is not installed.
        InputError: the output folder cannot be one, or holds another metadata.csv.
    """
    from cadwright.geometry.sdf_io import read_metadata, write_metadata

    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"{args.out}: the output folder is a file")
    args.out.mkdir(parents=True, exist_ok=True)
    read_metadata(args.out)  # a table that cannot be read is noticed before the work
    entries: list[Entry] = []
    for part in args.parts:
        entry = try_part(part, partial(_do_part, part, args))
        if row := _row(part, entry, args.resolution):
            write_metadata(args.out, row)
        if "error" not in entry and not args.json:
            print(_summary(entry))
        entries.append(entry)
    return end_parts(entries, as_json=args.json)


def _do_part(part: Path, args: argparse.Namespace) -> Entry:
    """Read, measure, write; what came of it."""
    from cadwright.geometry.mesh_to_sdf import SdfCost, mesh_to_sdf
    from cadwright.geometry.sdf_io import file_to_sha256, save_sdf, sdf_name
    from cadwright.program.file_to_mesh import file_to_mesh

    mesh = file_to_mesh(part)
    cost = SdfCost()
    sdf = mesh_to_sdf(mesh, resolution=args.resolution, threshold_factor=args.band, cost=cost)
    sha256 = file_to_sha256(part)
    path = args.out / sdf_name(sha256, args.resolution)
    save_sdf(path, sdf)
    entry: Entry = {
        "part": str(part), "file": str(path), "sha256": sha256, "resolution": args.resolution,
        "num_points": len(sdf.values), "closed": sdf.closed,
        "inside_share": float((sdf.values < 0).mean()),
        "seconds": cost.seconds, "working_mb": cost.working_mb,
    }  # fmt: skip
    if args.mesh:
        from cadwright.geometry.sdf_to_mesh import sdf_to_mesh
        from cadwright.geometry.stl import save_stl

        entry["mesh"] = str(path.with_suffix(".stl"))
        save_stl(sdf_to_mesh(sdf), path.with_suffix(".stl"))
    return entry


def _row(part: Path, entry: Entry, resolution: int) -> dict[str, dict[str, str]]:
    """The part's row of metadata.csv; none for a file that cannot be read at all."""
    from cadwright.geometry.sdf_io import file_to_sha256

    if not part.is_file():
        return {}
    values = {"file_identifier": part.name, f"r{resolution}_error": entry.get("error", "")}
    if "error" not in entry:
        values |= {"sdf_computed": "True", f"r{resolution}_num_points": str(entry["num_points"])}
    return {file_to_sha256(part): values}


def _summary(entry: Entry) -> str:
    """One line for a person."""
    sides = "" if entry["closed"] else ", open: sides by winding number"
    if entry["inside_share"] == 0:
        sides += ", nothing inside"
    return (
        f"{entry['part']}: {entry['num_points']} samples at {entry['resolution']}, "
        f"{entry['seconds']:.2f} s, {entry['working_mb']:.0f} MB{sides} -> {entry['file']}"
    )
