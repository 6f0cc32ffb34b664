"""Published data sets as they lie on disk: CAD-Recode v1.5, Text2CAD, folders of meshes.

In: the folder as it was downloaded. Out: items of name, program text, mesh path and words, each
where there is one. Programs are read, never executed; no path of an index leads out of the folder.
Not covered: points and pictures (``tree_to_parquet``), and what a program means (``program``).
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadwright.data.plain_pickle import pickle_to_plain
from cadwright.errors import InputError

PROGRAM_FOLDER = "cadquery"  # of Text2CAD
MESH_SUFFIX, PROGRAM_SUFFIX = ".stl", ".py"


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One part of a data set.

    Attributes:
        name: unique in its set and split, "/" between folders.
        program: a program's text, as published.
        mesh_path: a mesh file, UNIT frame in the published sets.
        words: a description.
    """

    name: str
    program: str | None = None
    mesh_path: Path | None = None
    words: str | None = None


class Source(ABC):
    """A data set: as many items as it is long, each read when it is asked for."""

    has_programs = True
    has_shapes = True  # whether points can be made of its items

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root, names

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[SourceItem]:
        return (self[index] for index in range(len(self)))

    @abstractmethod
    def __getitem__(self, index: int) -> SourceItem:
        """Read one item.

        Raises:
            InputError: one of its files is missing or unreadable.
        """


class CADRecodeTree(Source):
    """``train/batch_NN/N.py`` and ``val/N.py``, with ``N.stl`` beside where meshes were made.

    ``train.pkl`` or ``val.pkl``, where there is one, lists the programs whose mesh could be made;
    without it all programs of the split are taken.
    """

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        """Find the programs of a split.

        Raises:
            InputError: there are none, or the index cannot be read.
        """
        root = Path(root)
        index = root / f"{split}.pkl"
        if index.is_file():
            rows = _read_index(index, "py_path")
            paths = [_inside(root, row["py_path"], index) for row in rows]
        else:
            paths = sorted((root / split).rglob(f"*{PROGRAM_SUFFIX}"), key=_by_number)
        if not paths:
            raise InputError(f"{root} has neither {split}.pkl nor programs in {split}/")
        super().__init__(root, [_name(root, path) for path in paths])

    def __getitem__(self, index: int) -> SourceItem:
        """The program and, where it was made, the mesh."""
        name = self.names[index]
        mesh_path = self.root / (name + MESH_SUFFIX)
        return SourceItem(
            name,
            _read_text(self.root / (name + PROGRAM_SUFFIX)),
            mesh_path if mesh_path.is_file() else None,
        )


class Text2CADTree(Source):
    """``{split}.pkl`` with identifiers and descriptions, ``cadquery/UID.py`` with programs.

    A few parts have no program; theirs is None.
    """

    has_shapes = False

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        """Read the index of a split.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        root = Path(root)
        rows = _read_index(root / f"{split}.pkl", "uid", "description")
        self._words = [row["description"] for row in rows]
        super().__init__(root, [row["uid"] for row in rows])

    def __getitem__(self, index: int) -> SourceItem:
        """The description and, where there is one, the program."""
        name = self.names[index]
        relative = f"{PROGRAM_FOLDER}/{name}{PROGRAM_SUFFIX}"
        path = _inside(self.root, relative, self.root / "the index")
        program = _read_text(path) if path.is_file() else None
        return SourceItem(name, program, words=self._words[index])


class MeshFolder(Source):
    """``deepcad_test_mesh``, ``fusion360_test_mesh`` and the like: STL files, nothing else."""

    has_programs = False

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Find the meshes.

        Raises:
            InputError: there are none.
        """
        root = Path(root)
        paths = sorted(root.glob(f"*{MESH_SUFFIX}"), key=_by_number)
        if not paths:
            raise InputError(f"{root} holds no {MESH_SUFFIX} files")
        super().__init__(root, [_name(root, path) for path in paths])

    def __getitem__(self, index: int) -> SourceItem:
        """The mesh."""
        name = self.names[index]
        return SourceItem(name, mesh_path=self.root / (name + MESH_SUFFIX))


def open_source(root: str | os.PathLike[str], split: str = "train") -> Source:
    """Open a folder by what lies in it.

    Args:
        root: the data set's folder.
        split: "train", "val" or "test"; folders of meshes have none.
    Raises:
        InputError: it is none of the known layouts, or has no such split.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"{root} is not a folder")
    if (root / PROGRAM_FOLDER).is_dir():
        return Text2CADTree(root, split)
    if (root / f"{split}.pkl").is_file() or any(
        (root / name).is_dir() for name in (split, "train")
    ):
        return CADRecodeTree(root, split)
    if any(root.glob(f"*{MESH_SUFFIX}")):
        return MeshFolder(root)
    raise InputError(
        f"{root} is laid out as none of the known data sets: CAD-Recode ({split}.pkl or {split}/), "
        f"Text2CAD ({PROGRAM_FOLDER}/ and {split}.pkl), or a folder of {MESH_SUFFIX} files"
    )


def _read_index(path: Path, *fields: str) -> list[dict[str, str]]:
    """The rows of a pickled index, each with text in the fields wanted."""
    rows: Any = pickle_to_plain(path)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path} holds no list of items")
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in fields):
            raise InputError(f"{path}: item {number} has no {' and '.join(fields)} as text")
    return rows


def _inside(root: Path, relative: str, index: Path) -> Path:
    """The path of a file that an index names, if it lies in the data set's folder."""
    # By the words alone: a data set may well be put together with links.
    path = root / os.path.normpath(relative)
    if not path.is_relative_to(root) or ".." in path.relative_to(root).parts:
        raise InputError(f"{index} names '{relative}', which lies outside of {root}")
    return path


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts 2 before 10, in every part of a path."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
