"""Where shapes with texts come from: the generator's stream, or a captions file beside shapes.

In: a seed, or a JSONL or CSV file of captions with meshes, SDF files or latents. Out: ``Shape``
one by one: a sparse SDF for a VAE, or codebook vectors that were extracted before, and what can
be asked. Not covered: folders of ``cadwright align extract`` (see latents).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cadwright.errors import InputError
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_sdf import SparseSdf, mesh_to_sdf
from cadwright.geometry.sdf_io import load_sdf
from cadwright.models.align3d.captions_file import Row, read_captions
from cadwright.models.align3d.depth_maps import SYMMETRIES, Symmetry
from cadwright.models.align3d.hints import program_to_hints
from cadwright.models.align3d.pairs import Pair, said_to_pairs
from cadwright.models.align3d.visible import program_to_slabs, slabs_to_said
from cadwright.models.vqvae.config import VqVaeConfig
from cadwright.program.file_to_mesh import file_to_mesh
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_manifold
from cadwright.synth.generate import draw_program
from cadwright.types import Mesh

LATENT_KEYS = ("feats_3d", "coords_3d")


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One shape and what can be asked about it.

    Attributes:
        name: for messages and output names.
        pairs: questions with answers; the first is the caption.
        sdf: for a VAE; None where vectors were extracted before.
        feats: (N, D) codebook vectors extracted before, or rows of depth maps, or None.
        coords: (N, 4) theirs.
        hints: (3, ``HINTS``) for a warm-up, where they are known.
    """

    name: str
    pairs: tuple[Pair, ...]
    sdf: SparseSdf | None = None
    feats: Tensor | None = None
    coords: Tensor | None = None
    hints: NDArray[np.int8] | None = None


class GeneratedShapes:
    """Parts of the generator, and in words what their looks decide (``visible``).

    Args:
        config: of the VAE that will read them.
        num: how many, turned copies included.
        seed: of the stream.
        turns: of each part so many copies, each in another of the 24 positions of a cube; the
            first stands as drawn. What is said of them does not change.
        wordings: captions a part, each with a question of every topic.
    """

    def __init__(
        self, config: VqVaeConfig, *, num: int, seed: int, turns: int = 1, wordings: int = 3
    ) -> None:
        if not 1 <= turns <= len(TURNS) or num < 1 or wordings < 1:
            raise InputError(
                f"the generator gives at least one shape in 1 to {len(TURNS)} positions, not "
                f"{num} in {turns}"
            )
        self.config, self.num, self.seed = config, num, seed
        self.turns, self.wordings = turns, wordings
        self._last: tuple[int, Shape] | None = None

    @property
    def description(self) -> dict[str, Any]:
        """What decides which shapes these are."""
        return {
            "generator_seed": self.seed, "turns": self.turns, "wordings": self.wordings,
            "texts": "what is visible",
        }  # fmt: skip

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Shape:
        if not 0 <= index < self.num:
            raise IndexError(index)
        number, turn = divmod(index, self.turns)
        if self._last is None or self._last[0] != number:
            self._last = number, self._draw(number)
        shape = self._last[1]
        if turn == 0:
            return shape
        assert shape.sdf is not None and shape.hints is not None
        order = np.random.default_rng((self.seed, number)).permutation(len(TURNS) - 1)
        place = 1 + int(order[turn - 1])
        return replace(
            shape,
            name=f"{shape.name}-{turn}",
            sdf=turn_sdf(shape.sdf, place),
            hints=shape.hints[list(TURNS[place][0])],
        )

    def _draw(self, number: int) -> Shape:
        program = draw_program(self.seed, number)
        if program is None:
            raise InputError(f"the generator gives no part {number} for seed {self.seed}")
        solid = program_to_manifold(program)
        sdf = mesh_to_vae_sdf(manifold_to_mesh(solid), self.config)
        return self.program_to_shape(program, solid, sdf, number)

    def program_to_shape(self, program: Program, solid: Any, sdf: SparseSdf, number: int) -> Shape:
        """A part of the stream from what was computed of it."""
        slabs = program_to_slabs(program)
        said = slabs_to_said(slabs, solid, sdf)
        pairs = [
            pair for k in range(self.wordings) for pair in said_to_pairs(said, seed=number + k)
        ]
        name = f"part-{self.seed}-{number:06d}"
        return Shape(name, tuple(dict.fromkeys(pairs)), sdf, hints=program_to_hints(program))


class ListedShapes:
    """Shapes that a captions file names.

    Args:
        path: .jsonl or .csv, see ``captions_file``.
        config: of the VAE that will read meshes and SDFs; None where all are latents.
        shapes: folder of the shapes; that of the file by default.
    Raises:
        InputError: the file cannot be read, a caption is missing or empty, or a shape is.
    """

    def __init__(
        self, path: str | Path, config: VqVaeConfig | None = None, *, shapes: Path | None = None
    ) -> None:
        side = config.voxel_resolution if config is not None else None
        self.rows: list[Row] = read_captions(path, shapes=shapes, resolution=side)
        self.path, self.config = Path(path), config

    @property
    def description(self) -> dict[str, Any]:
        """What decides which shapes these are."""
        return {"captions": self.path.name, "num": len(self.rows)}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Shape:
        row = self.rows[index]
        if row.path.suffix.lower() == ".npz" and _holds_latents(row.path):
            return _latents(row)
        if self.config is None:
            raise InputError(f"{row.path}: a mesh or SDF needs a VAE: --vae_config and --vae_ckpt")
        return Shape(row.path.stem, row.pairs, file_to_sdf(row.path, self.config))


Source = Sequence[Shape] | GeneratedShapes | ListedShapes


def mesh_to_vae_sdf(mesh: Mesh, config: VqVaeConfig) -> SparseSdf:
    """A mesh of any frame as a VAE reads it."""
    return mesh_to_sdf(
        mesh, resolution=config.voxel_resolution, threshold_factor=config.threshold_factor
    )


def file_to_sdf(path: Path, config: VqVaeConfig) -> SparseSdf:
    """A mesh or an SDF file as a VAE reads it.

    Raises:
        InputError: unreadable, a point cloud, or an SDF of another resolution or band.
    """
    if path.suffix.lower() == ".npz":
        sdf, side = load_sdf(path), config.voxel_resolution
        band = config.threshold_factor / side * (side - 1)
        if sdf.resolution != side or not np.isclose(sdf.band, band, rtol=1e-3):
            raise InputError(
                f"{path}: an SDF of resolution {sdf.resolution} and band {sdf.band:.3g} steps; "
                f"the VAE reads {side} and {band:.3g}"
            )
        return sdf
    return mesh_to_vae_sdf(file_to_mesh(path), config)


def _is_turn(symmetry: Symmetry) -> bool:
    """Whether nothing is mirrored."""
    axes, flips = symmetry
    matrix = np.eye(3)[list(axes)] * np.where(flips, -1, 1)[:, None]
    return bool(np.linalg.det(matrix) > 0)


TURNS = tuple(symmetry for symmetry in SYMMETRIES if _is_turn(symmetry))
"""Axes and flips of the 24 rotations of a cube, the identity first."""


def turn_sdf(sdf: SparseSdf, turn: int) -> SparseSdf:
    """The same shape in another position; its placement is no longer that of the user's part.

    Args:
        sdf: any.
        turn: 0 to 23, 0 leaves it as it is.
    """
    axes, flips = TURNS[turn]
    index = sdf.index[:, list(axes)]
    index = np.where(flips, sdf.resolution - 1 - index, index).astype(np.int32)
    order = np.lexsort(index.T[::-1])
    return replace(sdf, values=sdf.values[order], index=index[order])


def _holds_latents(path: Path) -> bool:
    try:
        with np.load(path, allow_pickle=False) as content:
            return LATENT_KEYS[0] in content.files
    except (OSError, ValueError, EOFError):
        return False  # the reader of SDFs says what is wrong with it


def _latents(row: Row) -> Shape:
    """Codebook vectors of a file of the seed's form A."""
    with np.load(row.path, allow_pickle=False) as content:
        missing = [name for name in LATENT_KEYS if name not in content.files]
        if missing:
            raise InputError(f"{row.path}: the file lacks '{missing[0]}'")
        feats, coords = (torch.from_numpy(content[name]) for name in LATENT_KEYS)
    return Shape(row.path.stem, row.pairs, None, feats.float(), coords)
