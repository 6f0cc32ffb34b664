"""Which candidate is best where there is no shape to compare with: by picture, or by agreement.

In: the picture that was shown, or the candidates alone. Out: fits in [0, 1] and an order. Neither
is a distance: no number here says how far the result is from the part. Not covered: targets that
are shapes (``candidates.Scorer``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cadwright.errors import GeometryError
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.manifolds import mesh_to_manifold, unite_parts
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.geometry.voxels import Bits, Grid, iou, manifold_to_voxels
from cadwright.inference.candidates import Candidate, Source, parse_texts
from cadwright.inference.prompt import BORDER, VIEW_SIZE
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.types import BuildResult, Mesh, Outcome

PAPER_FROM = 240  # pixels whose every channel is at least this show no part
MOST_COVERED = 0.95  # of a picture; beyond, its background is not white
CELLS = 64  # a side, of the grid on which candidates are compared
BY_PICTURE = "the picture: agreement of the program's four views with those shown, 1 is the same"
NOT_ON_PAPER = "the picture's background is not white, so colours were compared and not outlines"
BY_AGREEMENT = "agreement: mean volume IoU with all valid candidates, itself among them"

Pixels = NDArray[np.int16]


class PictureRanking:
    """Draws candidates as the published renderer does, and compares with the picture shown.

    A fit is the agreement of colour, 1 - difference / 255 in the worst channel, summed over the
    pixels that show a part in both pictures and divided by the number of those that show one in
    either: the IoU of the outlines, less what differs within. 1 is the same picture. Size and
    place of a candidate do not count, since a picture does not tell them.

    Attributes:
        note: what else is to be known of the fits; empty where nothing is.
    """

    def __init__(self, picture: Image.Image) -> None:
        """Make the picture ready. ``picture``: RGB, square, four views two by two."""
        side = 2 * (VIEW_SIZE + 2 * BORDER)
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        self._shown = _windows(np.asarray(picture))
        self._own = _shows_part(self._shown)
        self._on_paper = bool(self._own.mean() <= MOST_COVERED)
        self.note = "" if self._on_paper else NOT_ON_PAPER

    def fit(self, mesh: Mesh) -> float:
        """Fit of a closed mesh, any frame.

        Raises:
            GeometryError: there is nothing to draw.
            MissingDependencyError: numba is not installed.
        """
        drawn = _windows(mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds))))
        agreement = 1.0 - np.abs(drawn - self._shown).max(axis=-1) / 255.0
        if not self._on_paper:
            return float(agreement.mean())
        own = _shows_part(drawn)
        either = int((own | self._own).sum())
        return float(agreement[own & self._own].sum() / either) if either else 0.0

    def candidate(self, program: Program, source: Source) -> Candidate | BuildResult:
        """Build and measure a program; the failed build where it has no mesh."""
        built = program_to_mesh(program)
        if built.mesh is None:
            return built
        try:
            return Candidate(program, built, self.fit(built.mesh), source)
        except GeometryError as error:
            return BuildResult(Outcome.INVALID, message=str(error))

    def ranked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The best first; of equally good ones the first stays first."""
        return sorted(candidates, key=lambda one: -one.fit)


class Agreement:
    """Measures how much a solid is what the other candidates are too.

    A fit is the mean volume IoU with every valid text, so a program counts as often as it was
    written. The best candidate is the one that loses least if the truth is one of them, each as
    likely as the model holds it (minimum Bayes risk; Kumar and Byrne, HLT-NAACL 2004).
    """

    def __init__(self, meshes: Iterable[Mesh], weights: Sequence[int]) -> None:
        """Take the solids of the candidates, PROGRAM frame, and how often each was written."""
        self._grid = Grid(CELLS)
        self._voxels = [self._cells(mesh) for mesh in meshes]
        self._weights = np.asarray(weights, dtype=np.float64)

    def fit(self, mesh: Mesh) -> float:
        """Fit of a closed mesh, PROGRAM frame."""
        own = self._cells(mesh)
        if not self._voxels:
            raise GeometryError("agreement needs at least one candidate that builds")
        return float(np.average([iou(own, one) for one in self._voxels], weights=self._weights))

    def _cells(self, mesh: Mesh) -> Bits:
        return manifold_to_voxels(unite_parts(mesh_to_manifold(mesh)), self._grid)


def read_agreeing(
    texts: Iterable[str],
) -> tuple[list[Candidate], dict[Outcome, int], Agreement]:
    """Parse and build texts, and rank them by each other.

    Returns:
        The candidates that build, the most agreed first, each program once; how many texts gave
        which outcome; and the measure.
    """
    counts, outcomes = parse_texts(texts)
    built = {program: program_to_mesh(program) for program in counts}
    for program, result in built.items():
        outcomes[result.outcome] += counts[program]
    solids: Mapping[Program, Mesh] = {
        program: result.mesh for program, result in built.items() if result.mesh is not None
    }
    agreement = Agreement(solids.values(), [counts[program] for program in solids])
    found = [Candidate(p, built[p], agreement.fit(mesh), "model") for p, mesh in solids.items()]
    return sorted(found, key=lambda one: -one.fit), dict(outcomes), agreement


def _windows(picture: NDArray[np.uint8]) -> Pixels:
    """(4, 128, 128, 3) the views of the published picture without their frames."""
    tile = VIEW_SIZE + 2 * BORDER
    tiles = picture.astype(np.int16).reshape(2, tile, 2, tile, 3).swapaxes(1, 2)
    inside = slice(BORDER, BORDER + VIEW_SIZE)
    return tiles.reshape(4, tile, tile, 3)[:, inside, inside]


def _shows_part(windows: Pixels) -> NDArray[np.bool_]:
    return np.asarray(windows.min(axis=-1) < PAPER_FROM)
