"""Sparse SDF files: ``{sha256}_r{R}.npz`` and the ``metadata.csv`` beside them.

In and out: ``SparseSdf`` and rows of the published table (sha256, captions, sdf_computed,
r{R}_num_points, r{R}_error, file_identifier). Arrays are read without pickle. A folder may hold
several resolutions; a row keeps what other calls and other programs wrote into it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.geometry.frames import Placement
from cadwright.geometry.mesh_to_sdf import SparseSdf

# What stands in every file, so that nobody has to guess which of the conventions in use it has.
CONVENTION = (
    "signed distance / band, clipped to [-1, 1], negative inside, missing samples beyond the band; "
    "sample i of R at i / (R - 1) - 0.5, longest side centred and 0.95; band = threshold_factor / R"
)
METADATA = "metadata.csv"
COLUMNS = ("sha256", "file_identifier", "captions", "sdf_computed")


def save_sdf(path: str | Path, sdf: SparseSdf) -> None:
    """Write a ``.npz`` of the published keys, and what the way back needs.

    Args:
        path: ends in .npz.
        sdf: ``sparse_sdf`` becomes (N, 1) float32, ``sparse_index`` (N, 3) int32.
    """
    with atomic_write(path) as draft:
        np.savez_compressed(
            draft,
            sparse_sdf=sdf.values[:, None].astype(np.float32),
            sparse_index=sdf.index.astype(np.int32),
            resolution=np.int64(sdf.resolution),
            convention=np.array(CONVENTION),
            band_steps=np.float64(sdf.band),
            scale=np.float64(sdf.placement.scale),
            offset=sdf.placement.offset,
            closed=np.bool_(sdf.closed),
        )


def load_sdf(path: str | Path) -> SparseSdf:
    """Read a ``.npz`` of ``sparse_sdf``, ``sparse_index`` and ``resolution``.

    Files of others lack the rest: their band counts as 4 steps and their frame as the grid's.

    Raises:
        InputError: unreadable, a key is missing, or a convention other than this one; unsigned
            distances and raw lengths are refused, since a model would read them wrongly.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as content:
            found = {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no readable .npz file ({error})") from error
    for name in ("sparse_sdf", "sparse_index", "resolution"):
        if name not in found:
            raise InputError(f"{path}: the file lacks '{name}'")
    if "convention" in found and str(found["convention"]) != CONVENTION:
        raise InputError(f"{path}: another convention: {found['convention']}")
    values = np.asarray(found["sparse_sdf"], dtype=np.float32).reshape(-1)
    if "convention" not in found and len(values) and values.min() >= 0:
        raise InputError(f"{path}: no distance is negative: these are not signed distances")
    resolution = int(found["resolution"])
    try:
        return SparseSdf(
            values,
            np.asarray(found["sparse_index"], dtype=np.int32),
            resolution,
            float(found.get("band_steps", 4.0 * (resolution - 1) / resolution)),
            Placement(float(found.get("scale", 1.0)), found.get("offset", np.zeros(3))),
            bool(found.get("closed", True)),
        )
    except (InputError, GeometryError) as error:
        raise InputError(f"{path}: {error}") from error


def file_to_sha256(path: str | Path) -> str:
    """The name of a part in the published tables."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sdf_name(sha256: str, resolution: int) -> str:
    """File name of a part at a resolution."""
    return f"{sha256}_r{resolution}.npz"


def read_metadata(folder: str | Path) -> dict[str, dict[str, str]]:
    """Rows of ``metadata.csv`` by sha256; none where there is no file.

    Raises:
        InputError: the file is no such table.
    """
    path = Path(folder) / METADATA
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {row["sha256"]: {key: value or "" for key, value in row.items()} for row in rows}
    except (KeyError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise InputError(f"{path}: no table with a column 'sha256'") from error


def write_metadata(folder: str | Path, new: Mapping[str, Mapping[str, str]]) -> Path:
    """Put rows into ``metadata.csv``; what they do not name stays as it was.

    Args:
        folder: exists.
        new: sha256 to some columns.
    Raises:
        InputError: the file that is there is no such table.
    """
    rows = read_metadata(folder)
    for sha256, values in new.items():
        empty = {"sha256": sha256, "captions": json.dumps([]), "sdf_computed": "False"}
        rows[sha256] = {**empty, **rows.get(sha256, {}), **values}
    names = list(COLUMNS)
    for row in rows.values():
        names += [name for name in row if name not in names]
    path = Path(folder) / METADATA
    with atomic_write(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows.values())
    return path
