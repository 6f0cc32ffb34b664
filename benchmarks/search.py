"""What search makes of a part, by seconds, by stage and by the state of the input.

In: draws of a stream that training never saw, the 12 parts in ``tests/golden/shapes``, and parts
that no extrusion makes (turned, chamfered, filleted, lofted). Out: markdown tables: volume IoU
against the clean part, without a valid result 0. Search begins from nothing, no model is needed,
unless ``--candidates`` says how many the embedded model decodes first; 0 seconds are then the best
candidate. Seconds are those of one core's own time, so that other work does not count.

    python benchmarks/search.py --tracks clean noise_missing_side --seconds 5 20 --num 20
    python benchmarks/search.py --without slices numbers residual polish between --seconds 5
    python benchmarks/search.py --tracks outside --seconds 20
    python benchmarks/search.py --tracks clean noise_missing_side --candidates 64 --seconds 0 20

A run with ``--rows`` that was stopped goes on where it was; pieces with ``--first`` and ``--rows``
are put together with ``--merge``. Beside each mean stands its standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import manifold3d as m3
import numpy as np
from tqdm import tqdm

from cadwright.errors import GeometryError
from cadwright.geometry.frames import normalise, placement_to_model
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import Shape, load_shape, shape_from_mesh, shape_from_points
from cadwright.geometry.metrics import volume_iou
from cadwright.geometry.scan import TRACKS, degrade_mesh, random_pose
from cadwright.inference.decode import Decoder
from cadwright.inference.embedded import embedded_folder
from cadwright.inference.finding import decode_shape, rank_for_shape
from cadwright.inference.search.search import ALL_STAGES, search
from cadwright.inference.target import PreparedTarget, prepare
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.synth.generate import draw_solid
from cadwright.types import Mesh

HELD_OUT_SEED = 20_261_121  # training's seeds are small numbers
SHAPES = Path(__file__).parent.parent / "tests" / "golden" / "shapes"
OUTSIDE = "outside"  # the track of parts outside the dialect
STAGES = tuple(ALL_STAGES.__dataclass_fields__)


@dataclass(frozen=True)
class Row:
    """One part in one state, searched for so many seconds."""

    group: str
    name: str
    track: str
    without: str
    budget_s: float
    iou: float
    bodies: int
    tries: int
    used_s: float
    candidates: int = 0


@dataclass(frozen=True)
class Method:
    """How a part is reconstructed.

    Attributes:
        budget_s: seconds of search.
        without: the stage of search that is switched off; empty for none.
        candidates: programs that a model decodes first.
    """

    budget_s: float
    without: str
    candidates: int


def parts(first: int, num: int, *, with_real: bool) -> Iterator[tuple[str, str, Mesh, int]]:
    """Group, name, mesh in the MODEL frame, seed."""
    for index in range(first, first + num):
        drawn = draw_solid(HELD_OUT_SEED, index)
        if drawn is not None:
            yield "generated", f"generated-{index:03d}", _model(manifold_to_mesh(drawn[1])), index
    for index, path in enumerate(sorted(SHAPES.glob("*.stl")) if with_real else []):
        mesh = load_shape(path).mesh
        assert mesh is not None
        yield "real programs", path.stem, _model(mesh), 1000 + index


def outside_parts(first: int, num: int) -> Iterator[tuple[str, str, Mesh, int]]:
    """Turned, chamfered, filleted and lofted parts in turn."""
    makers = (_turned, _chamfered, _filleted, _lofted)
    for index in range(first, first + num):
        maker = makers[index % len(makers)]
        solid = maker(np.random.default_rng([HELD_OUT_SEED, 5, index]))
        name = maker.__name__.strip("_")
        yield f"outside: {name}", f"{name}-{index:03d}", _model(manifold_to_mesh(solid)), index


def _model(mesh: Mesh) -> Mesh:
    return normalise(mesh, placement_to_model(mesh.bounds))


def _turned(rng: np.random.Generator) -> m3.Manifold:
    """A shaft of a few steps, cones among them, some bored through."""
    radii = rng.uniform(15, 60, size=2 * int(rng.integers(2, 5)))
    radii[1::2] = np.where(rng.random(len(radii) // 2) < 0.6, radii[::2], radii[1::2])
    ends = np.cumsum([0.0, *rng.uniform(15, 50, size=len(radii) // 2)])
    heights = np.column_stack([ends[:-1], ends[1:]]).ravel()
    bore = float(rng.uniform(4, 10)) if rng.random() < 0.5 else 0.0
    outline = [(bore, heights[0]), *zip(radii, heights, strict=True), (bore, heights[-1])]
    return m3.Manifold.revolve(m3.CrossSection([outline], m3.FillRule.EvenOdd), 128)


def _rimmed(rng: np.random.Generator, insets: list[tuple[float, float]]) -> m3.Manifold:
    """A plate with holes and a boss; its upper rim and its holes' are cut.

    Args:
        rng: draws the part.
        insets: how far in and how far below the top the rim's corners lie, in its size; from its
            lower edge to its upper one.
    """
    height, size = float(rng.uniform(25, 60)), float(rng.uniform(4, 10))
    plate = m3.CrossSection.square(tuple(rng.uniform(80, 160, size=2)), True)
    steps = [(0.0, 0.0), *((size * inset, height - size * down) for inset, down in insets)]
    solid = _stacked(plate, [(-inset, level) for inset, level in steps])
    for _ in range(int(rng.integers(0, 3))):
        hole = m3.CrossSection.circle(float(rng.uniform(5, 14)), 64)
        through = [(0.0, -1.0), *steps[1:], (steps[-1][0], height + 1.0)]
        solid = solid - _stacked(hole, through).translate((*rng.uniform(-30, 30, size=2), 0))
    boss = m3.Manifold.cylinder(float(rng.uniform(15, 40)), float(rng.uniform(10, 25)))
    return solid + boss.translate((0, 0, height - 1))


def _stacked(outline: m3.CrossSection, steps: list[tuple[float, float]]) -> m3.Manifold:
    """A convex outline that is so much wider at each height, with straight walls between them."""
    slices = []
    for wider, level in steps:
        grown = outline.offset(wider, m3.JoinType.Miter)
        corners = np.concatenate(grown.to_polygons())
        slices.append(np.column_stack([corners, np.full(len(corners), level)]))
    parts = [
        m3.Manifold.hull_points(np.concatenate([low, high]))
        for low, high in zip(slices, slices[1:], strict=False)
        if high[0, 2] > low[0, 2]
    ]
    return m3.Manifold.batch_boolean(parts, m3.OpType.Add)


def _chamfered(rng: np.random.Generator) -> m3.Manifold:
    return _rimmed(rng, [(0.0, 1.0), (1.0, 0.0)])


def _filleted(rng: np.random.Generator) -> m3.Manifold:
    angles = np.linspace(0, np.pi / 2, 13)
    return _rimmed(rng, [(1 - float(np.cos(a)), 1 - float(np.sin(a))) for a in angles])


def _lofted(rng: np.random.Generator) -> m3.Manifold:
    """Between a rectangle and one of another size, with a foot."""
    outline = m3.CrossSection.square(tuple(rng.uniform(80, 140, size=2)), True)
    shrink = tuple(rng.uniform(0.3, 0.8, size=2))
    height = float(rng.uniform(50, 120))
    loft = m3.Manifold.extrude(outline, height, 0, 0.0, shrink)
    foot = m3.Manifold.cube((170.0, 150.0, float(rng.uniform(10, 25))), True)
    return loft + foot


def degraded(mesh: Mesh, track: str, name: str, seed: int) -> Shape:
    """The part as search gets it, MODEL frame."""
    if track == OUTSIDE:
        return shape_from_mesh(mesh, name)
    spoiled = degrade_mesh(mesh, track, seed=seed)
    if isinstance(spoiled, Mesh):
        return shape_from_mesh(spoiled, name)
    return shape_from_points(spoiled, name)


def measure(
    part: tuple[str, str, Mesh, int], track: str, method: Method, decoder: Decoder | None
) -> Row:
    """Reconstruct one part and hold the result against the clean one."""
    group, name, mesh, seed = part
    start = time.process_time()
    target = prepare(degraded(mesh, track, name, seed), seed=0)
    program, tries = _reconstructed(target, method, decoder)
    built = None if program is None else program_to_mesh(program).mesh
    iou = 0.0
    if built is not None:
        posed = track == "posed"
        clean = Mesh(mesh.vertices @ random_pose(seed).T, mesh.faces) if posed else mesh
        try:
            iou = volume_iou(clean, normalise(built, target.to_user))
        except GeometryError:
            iou = 0.0
    used_s = time.process_time() - start
    bodies = 0 if program is None else len(program.bodies)
    return Row(
        group, name, track, method.without, method.budget_s, iou, bodies, tries, used_s,
        method.candidates,
    )  # fmt: skip


def _reconstructed(
    target: PreparedTarget, method: Method, decoder: Decoder | None
) -> tuple[Program | None, int]:
    """The program of the stages asked for, and how many search tried."""
    programs: list[Program] = []
    if decoder is not None:
        texts = decode_shape(target.inner, decoder, num_candidates=method.candidates, seed=0)
        programs = [one.program for one in rank_for_shape(texts, target, seed=0)[0]]
    if not method.budget_s:
        return (programs[0] if programs else None), 0
    stages = replace(ALL_STAGES, **{method.without: False}) if method.without else ALL_STAGES
    found = search(
        target.search_target, programs, method.budget_s, 0, stages=stages, clock=time.process_time
    )
    return (None, 0) if found is None else (found.program, found.tries)


def to_table(rows: list[Row]) -> str:
    """Markdown, a line for each group, track, switched-off stage and budget."""
    lines = [
        "| parts | track | candidates | without | s given | s used | mean IoU | +- | median "
        "| worst | none |",
        f"{'|---' * 11}|",
    ]
    keys = sorted({_key(row) for row in rows})
    for key in keys:
        group, track, candidates, without, budget_s = key
        of_key = [row for row in rows if _key(row) == key]
        iou = np.array([row.iou for row in of_key])
        used_s = np.mean([row.used_s for row in of_key])
        error = f"{iou.std(ddof=1) / len(iou) ** 0.5:.3f}" if len(iou) > 1 else "-"
        lines.append(
            f"| {len(iou)} {group} | {track} | {candidates} | {without or '-'} | {budget_s:g} "
            f"| {used_s:.1f} | {iou.mean():.3f} | {error} | {np.median(iou):.3f} | "
            f"{iou.min():.3f} | {int((iou <= 0).sum())} |"
        )
    return "\n".join(lines)


def _key(row: Row) -> tuple[str, str, int, str, float]:
    return (row.group, row.track, row.candidates, row.without, row.budget_s)


def read_rows(paths: list[Path]) -> list[Row]:
    """Rows that earlier runs kept."""
    return [Row(**json.loads(line)) for path in paths for line in path.read_text().splitlines()]


def main() -> None:
    """Measure, print, and keep every row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", nargs="+", default=["clean"], choices=[*TRACKS, OUTSIDE])
    parser.add_argument("--seconds", nargs="+", type=float, default=[5.0], help="a part")
    parser.add_argument("--without", nargs="+", default=[""], choices=["", *STAGES])
    parser.add_argument("--candidates", type=int, default=0, help="that a model decodes first")
    parser.add_argument("--model", default=str(embedded_folder()))
    parser.add_argument("--first", type=int, default=0, help="index of the first generated part")
    parser.add_argument("--num", type=int, default=20, help="generated parts, or outside ones")
    parser.add_argument("--real", action="store_true", help="also the 12 real programs")
    parser.add_argument("--rows", type=Path, help="write every part's figures here, as JSON lines")
    parser.add_argument("--merge", type=Path, nargs="+", help="print the table of these rows")
    options = parser.parse_args()
    if options.merge:
        print(to_table(read_rows(options.merge)))
        return
    rows = read_rows([options.rows]) if options.rows and options.rows.exists() else []
    done = {(row.name, row.track, row.budget_s, row.without, row.candidates) for row in rows}
    jobs = [
        (part, track, Method(budget_s, without, options.candidates))
        for track in options.tracks
        for part in _parts_of(track, options)
        for budget_s in options.seconds
        for without in options.without
        if (part[1], track, budget_s, without, options.candidates) not in done
    ]
    decoder = Decoder.load(options.model, device="cpu") if options.candidates else None
    for part, track, method in tqdm(jobs, disable=not sys.stderr.isatty()):
        rows.append(measure(part, track, method, decoder))
        if options.rows is not None:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(rows[-1])) + "\n")
    print(to_table(rows))


def _parts_of(track: str, options: argparse.Namespace) -> Iterator[tuple[str, str, Mesh, int]]:
    if track == OUTSIDE:
        return outside_parts(options.first, options.num)
    return parts(options.first, options.num, with_real=options.real)


if __name__ == "__main__":
    main()
