"""Folders of extracted shapes: integer codes with coordinates, the codebook once, and texts.

In: shapes as codes with their pairs. Out: ``codes-00000.npz`` with ``texts-00000.jsonl`` for every
``SHARD`` shapes, each pair whole or absent, ``codebook.npy`` and ``extract.json``; read back as
codebook vectors (form A of the seed), or as depth maps of what the VAE decodes from them. Not
covered: encoding (training.align.extract).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cadwright.errors import InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.align3d.depth_maps import DEPTH
from cadwright.models.align3d.hints import HINTS
from cadwright.models.align3d.pairs import Pair
from cadwright.models.align3d.sources import Shape
from cadwright.models.vqvae.model import Code

SHARD = 64  # shapes in a file
INFO, CODEBOOK = "extract.json", "codebook.npy"


class DepthRows(NamedTuple):
    """Depth maps of a shape.

    Attributes:
        rows: (N, ``DEPTH``) uint8.
        places: (N, 3) int16 axes and places of these patches.
    """

    rows: NDArray[np.uint8]
    places: NDArray[np.int16]


def codes_name(number: int) -> str:
    """File of a shard's codes."""
    return f"codes-{number:05d}.npz"


def texts_name(number: int) -> str:
    """File of a shard's texts, written after its codes."""
    return f"texts-{number:05d}.jsonl"


def open_latents(folder: Path, info: Mapping[str, Any], codebook: Tensor) -> None:
    """Make a folder for shards, or check that the one that is there is of the same extraction.

    Raises:
        InputError: it is of another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / INFO
    if path.is_file():
        if read_info(folder) != dict(info):
            raise InputError(f"{folder} holds another extraction; choose another --output_dir")
        return
    with atomic_write(folder / CODEBOOK) as draft:
        np.save(draft, codebook.detach().cpu().numpy())
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(dict(info), indent=2), encoding="utf-8")


def read_info(folder: Path) -> dict[str, Any]:
    """What ``extract.json`` says.

    Raises:
        InputError: it is not there or not readable.
    """
    try:
        values = json.loads((folder / INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is no folder of 'cadwright align extract': {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{folder / INFO} holds no JSON object")
    return values


def write_shard(
    folder: Path, number: int, codes: Sequence[Code], names: Sequence[str],
    pairs: Sequence[Sequence[Pair]], hints: Sequence[NDArray[np.int8]] | None = None,
    depth: Sequence[DepthRows] | None = None,
) -> None:  # fmt: skip
    """Write a shard.

    Args:
        folder: opened.
        number: of the shard.
        codes: of one shape each.
        names: of the shapes.
        pairs: what is said of each.
        hints: (3, ``HINTS``) of each, where the source knows them.
        depth: depth maps of each, where they were asked for.
    """
    lengths = np.array([len(code.indices) for code in codes], dtype=np.int32)
    none = np.zeros((0, 3), np.int16), np.zeros(0, np.int32)
    cells = [code.coords[:, 1:].cpu().numpy().astype(np.int16) for code in codes]
    rows = [code.indices.cpu().numpy().astype(np.int32) for code in codes]
    extra: dict[str, Any] = {"hints": np.stack(hints)} if hints else {}
    if depth:
        extra["depth"] = np.concatenate([one.rows for one in depth])
        extra["depth_places"] = np.concatenate([one.places for one in depth])
        extra["depth_lengths"] = np.array([len(one.rows) for one in depth], dtype=np.int32)
    with atomic_write(folder / codes_name(number)) as draft:
        np.savez_compressed(
            draft, lengths=lengths, cells=np.concatenate(cells or [none[0]]),
            indices=np.concatenate(rows or [none[1]]), **extra,
        )  # fmt: skip
    with atomic_write(folder / texts_name(number)) as draft:
        lines = [
            json.dumps({"name": name, "pairs": [[p.question, p.answer] for p in said]})
            for name, said in zip(names, pairs, strict=True)
        ]
        draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


class LatentFolder:
    """The shapes of a folder, in memory as integers.

    Args:
        folder: of ``cadwright align extract``.
        most: only the first so many.
        depth: give depth maps in place of codebook vectors.
    Raises:
        InputError: it is none, it is empty, a file is damaged, a code is out of range, or it
            has no depth maps.
    """

    def __init__(self, folder: str | Path, *, most: int | None = None, depth: bool = False) -> None:
        self.folder, self.depth = Path(folder), depth
        self.info = read_info(self.folder)
        try:
            table = np.load(self.folder / CODEBOOK, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.folder / CODEBOOK} cannot be read: {error}") from error
        self.codebook = torch.from_numpy(table).float()
        self._cells: list[NDArray[np.int16]] = []
        self._indices: list[NDArray[np.int32]] = []
        self._hints: list[NDArray[np.int8]] = []
        self._depth: list[DepthRows] = []
        self._texts: list[tuple[str, tuple[Pair, ...]]] = []
        for path in sorted(self.folder.glob("texts-*.jsonl")):
            self._read(path)
        if not self._texts:
            raise InputError(f"{self.folder} holds no shapes yet")
        if depth and len(self._depth) != len(self._texts):
            raise InputError(f"{self.folder} was extracted without --depth")
        self.num = min(len(self._texts), most or len(self._texts))

    @property
    def latent_dim(self) -> int:
        """Width of the codebook."""
        return int(self.codebook.shape[1])

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Shape:
        name, pairs = self._texts[index]
        hints = self._hints[index] if len(self._hints) == len(self._texts) else None
        if self.depth:
            rows, places = self._depth[index]
            coords = torch.from_numpy(np.insert(places.astype(np.int64), 0, 0, axis=1))
            return Shape(name, pairs, None, torch.from_numpy(rows), coords, hints)
        code = self.code(index)
        return Shape(name, pairs, None, code.feats, code.coords, hints)

    def code(self, index: int) -> Code:
        """One shape as ``vae.Encode`` gave it; what ``decode_mesh`` takes."""
        if not 0 <= index < self.num:
            raise IndexError(index)
        indices = torch.from_numpy(self._indices[index].astype(np.int64))
        cells = torch.from_numpy(self._cells[index].astype(np.int64))
        coords = torch.cat([cells[:, :1] * 0, cells], dim=1)
        return Code(self.codebook[indices], coords, indices)

    def _read(self, path: Path) -> None:
        number = int(path.stem.partition("-")[2])
        try:
            with np.load(self.folder / codes_name(number), allow_pickle=False) as content:
                lengths, cells, indices = (
                    content[name] for name in ("lengths", "cells", "indices")
                )
                hints = content["hints"] if "hints" in content.files else None
                depth = _read_depth(content) if self.depth and "depth" in content.files else []
            texts = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            said = [(str(row["name"]), tuple(Pair(q, a) for q, a in row["pairs"])) for row in texts]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: this shard cannot be read: {error}") from error
        if len(said) != len(lengths) or not lengths.sum() == len(cells) == len(indices):
            raise InputError(f"{path}: codes and texts of this shard do not fit")
        if hints is not None and hints.shape != (len(lengths), 3, HINTS):
            raise InputError(f"{path}: codes and hints of this shard do not fit")
        if depth and len(depth) != len(lengths):
            raise InputError(f"{path}: codes and depth maps of this shard do not fit")
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self.codebook):
            raise InputError(f"{path}: a code lies outside the codebook of {len(self.codebook)}")
        ends = np.cumsum(lengths)[:-1]
        self._cells += np.split(cells, ends) if len(lengths) else []
        self._indices += np.split(indices, ends) if len(lengths) else []
        self._texts += said
        self._hints += [] if hints is None else list(hints)
        self._depth += depth


def _read_depth(content: Any) -> list[DepthRows]:
    """Of each shape of a shard.

    Raises:
        ValueError: the rows are not those of its shapes.
    """
    lengths, rows, places = (content[f"depth{end}"] for end in ("_lengths", "", "_places"))
    if not lengths.sum() == len(rows) == len(places) or rows.shape[1:] != (DEPTH,):
        raise ValueError("its depth maps do not fit")
    ends = np.cumsum(lengths)[:-1]
    return [
        DepthRows(*one) for one in zip(np.split(rows, ends), np.split(places, ends), strict=True)
    ]
