"""Draws the pictures of the page "How it works": one for each stage, made by the stage itself.

In: the example part, the embedded model, fixed seeds. Out: small PNG files in docs/images/stages.
Needs the extras ``model``, ``cad`` and ``render``, and about a minute. Search counts tries instead
of seconds, so the same weights give the same pictures. Not covered: docs/images/bracket.png, which
is the ``part.png`` of ``make demo``.

    python docs/site/make_pictures.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cadwright.geometry.frames import (
    normalise,
    placement_to_model,
    placement_to_unit,
)
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.mesh_to_sdf import mesh_to_sdf
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.geometry.pictures import comparison_picture, render_mesh
from cadwright.geometry.scan import degrade_mesh
from cadwright.geometry.voxels import Grid, manifold_to_voxels
from cadwright.inference.candidates import Candidate
from cadwright.inference.decode import Decoder
from cadwright.inference.embedded import embedded_folder
from cadwright.inference.exact import Goal, build_best
from cadwright.inference.finding import decode_shape, rank_for_shape
from cadwright.inference.search.search import ALL_STAGES, Stages, search
from cadwright.inference.target import PreparedTarget, prepare, shape_to_point_sets
from cadwright.program.program_to_solid import ExactKernel
from cadwright.synth.generate import draw_solid
from cadwright.types import Mesh

FOLDER = Path(__file__).parents[1] / "images" / "stages"
BRACKET = Path(__file__).parents[2] / "examples" / "bracket.stl"
SIZE, SEED = 200, 0
SCAN_SEED = 8  # one whose missing side can be seen from the camera
PAPER, INK = (250, 250, 251), (40, 44, 52)
COLOURS = 64  # of a picture's palette: keeps the files small
Picture = NDArray[np.uint8]
Panel = tuple[str, Picture]  # with its title


def main() -> None:
    """Draw all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    target = prepare(load_shape(BRACKET), seed=SEED)
    decoder = Decoder.load(embedded_folder("points"), device="cpu")
    _draw_input(target, decoder)
    ranked = _draw_candidates(target, decoder)
    found = _draw_search(target, ranked)
    _draw_exact(target, found)
    _draw_generated()
    _draw_scans()
    _draw_views_and_sdf()


def _draw_input(target: PreparedTarget, decoder: Decoder) -> None:
    """The mesh as it came, and the points of it that the model reads."""
    (points,) = shape_to_point_sets(
        target.inner, num_sets=1, num_points=decoder.num_points, seed=SEED
    )
    assert target.shape.mesh is not None
    panels = [
        ("the mesh, USER frame", render_mesh(target.shape.mesh, size=SIZE)),
        (f"{len(points)} points, MODEL frame", render_mesh(_dots(points, 0.035), size=SIZE)),
    ]
    _save("points", panels)


def _draw_candidates(target: PreparedTarget, decoder: Decoder) -> list[Candidate]:
    """The best eight of sixteen, by IoU with the target."""
    texts = decode_shape(target.inner, decoder, num_candidates=16, seed=SEED)
    ranked, _ = rank_for_shape(texts, target, seed=SEED)
    panels = [(f"IoU {one.fit:.2f}", render_mesh(one.mesh, size=SIZE)) for one in ranked[:8]]
    _save("candidates", panels[:4], panels[4:])
    return ranked


def _draw_search(target: PreparedTarget, ranked: Sequence[Candidate]) -> Candidate:
    """The best candidate, the target's cells, the cover by its slices, and the winner."""
    solid, inner = target.search_target.solid, target.inner.mesh
    assert solid is not None and inner is not None
    programs = [one.program for one in ranked]
    only_slices = Stages(numbers=False, residual=False, polish=False, between=False, rounding=False)
    steps: list[Candidate] = [ranked[0]]
    for stages in (only_slices, ALL_STAGES):
        result = search(target.search_target, programs, 5.0, SEED, stages=stages, clock=None)
        assert result is not None
        one = target.scorer.candidate(result.program, "search")
        assert isinstance(one, Candidate)
        steps.append(one)
    cells = Grid(48).unpack(manifold_to_voxels(solid, Grid(48)))
    words = ("best candidate", "bodies from slices", "after all stages")
    panels = [("cells of the target", render_mesh(_cells(cells), size=SIZE))]
    for word, step in zip(words, steps, strict=True):
        panels.append((f"{word}: {step.fit:.3f}", _difference(inner, step.mesh)))
    _save("search", panels)
    return steps[-1]


def _draw_exact(target: PreparedTarget, winner: Candidate) -> None:
    """The winner as OpenCASCADE builds it, in the user's frame, beside the mesh."""
    with ExactKernel() as kernel:
        built, _ = build_best([winner], Goal.of_target(target), kernel)
    assert target.shape.mesh is not None
    picture = comparison_picture(
        target.shape.mesh, built.mesh, size=SIZE, titles=("mesh", "exact solid", "difference")
    )
    _write("exact", picture)


def _draw_generated() -> None:
    """Eight draws of the generator."""
    drawn = [draw_solid(SEED, index) for index in range(8)]
    panels = [
        (f"seed {SEED}, draw {index}", render_mesh(manifold_to_mesh(one[1]), size=SIZE))
        for index, one in enumerate(drawn)
        if one is not None
    ]
    _save("generator", panels[:4], panels[4:])


def _draw_scans() -> None:
    """The example part as scanners would have given it."""
    mesh = load_shape(BRACKET).mesh
    assert mesh is not None
    part = normalise(mesh, placement_to_model(mesh.bounds))
    panels: list[Panel] = []
    for track in ("clean", "noise", "missing_side", "scan"):
        worse = degrade_mesh(part, track, seed=SCAN_SEED)
        shown = worse if isinstance(worse, Mesh) else _dots(worse, 0.012)
        panels.append((track.replace("_", " "), render_mesh(shown, size=SIZE)))
    _save("scans", panels)


def _draw_views_and_sdf() -> None:
    """What cadrille reads, and what the VQ-VAE reads."""
    mesh = load_shape(BRACKET).mesh
    assert mesh is not None
    views = mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds)))
    sdf = mesh_to_sdf(mesh, resolution=64)
    inside = np.zeros((64, 64, 64), dtype=np.bool_)
    inside[tuple(sdf.index[sdf.values < 0].T)] = True
    shown = Image.fromarray(views).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    panels = [
        ("four views", np.asarray(shown)),
        ("inner half of a band of signed distances", render_mesh(_cells(inside), size=SIZE)),
    ]
    _save("views_and_sdf", panels)


def _difference(target: Mesh, result: Mesh) -> Picture:
    """The third panel of a comparison: grey the same, red missing, blue too much."""
    picture = comparison_picture(target, result, size=SIZE)
    bar = (picture.shape[0] - SIZE) // 2
    return picture[bar : bar + SIZE, 2 * SIZE + 1 :]


def _dots(points: NDArray[np.floating], radius: float) -> Mesh:
    """An octahedron of a radius at each of (P, 3) points, same frame."""
    corners = np.concatenate([np.eye(3), -np.eye(3)]) * radius
    pairs = [(0, 1), (1, 3), (3, 4), (4, 0)]
    faces = np.array([(a, b, 2) for a, b in pairs] + [(b, a, 5) for a, b in pairs])
    vertices = np.asarray(points, dtype=np.float64)[:, None] + corners
    every = faces + 6 * np.arange(len(points))[:, None, None]
    return Mesh(vertices.reshape(-1, 3), every.reshape(-1, 3).astype(np.int32))


def _cells(mask: NDArray[np.bool_]) -> Mesh:
    """The outer walls of (n, n, n) cells as a mesh, a cell being 1."""
    padded = np.pad(mask, 1)
    corners: list[NDArray[np.float64]] = []
    for axis in range(3):
        u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
        for side in (1, -1):
            seen = padded & ~np.roll(padded, -side, axis)
            low = np.argwhere(seen) + np.eye(3)[axis] * (side == 1)
            square = (u * 0, u, u + v, v) if side == 1 else (u * 0, v, u + v, u)
            corners.append(low[:, None] + np.array(square))
    squares = np.concatenate(corners)
    first = 4 * np.arange(len(squares))[:, None, None]
    faces = (first + np.array([(0, 1, 2), (0, 2, 3)])).reshape(-1, 3)
    vertices, index = np.unique(squares.reshape(-1, 3), axis=0, return_inverse=True)
    return Mesh(vertices, index.reshape(-1)[faces].astype(np.int32))


def _save(name: str, *rows: list[Panel]) -> None:
    """Panels under their titles, in rows."""
    bar, font = 22, ImageFont.load_default(12)
    width = max(sum(panel.shape[1] for _, panel in row) for row in rows)
    canvas = Image.new("RGB", (width, len(rows) * (SIZE + bar)), PAPER)
    pen = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        x, y = 0, number * (SIZE + bar)
        for title, panel in row:
            canvas.paste(Image.fromarray(panel), (x, y + bar))
            pen.text((x + panel.shape[1] / 2, y + bar / 2), title, fill=INK, font=font, anchor="mm")
            x += panel.shape[1]
    _write(name, np.asarray(canvas))


def _write(name: str, picture: Picture) -> None:
    image = Image.fromarray(picture).quantize(
        COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    image.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
