"""Pairs a second of ``cadwright evaluate`` beside the published procedure, on the same pairs.

In: targets with K programs each: generated parts, and the same with their numbers moved. Out: a
markdown table of milliseconds a pair, and how far the two sets of numbers are apart. The published
procedure is restated from its description: CadQuery builds the program (here in the exact kernel's
own process, already started), tessellates it at (0.001, 0.1) and writes an STL file; trimesh loads
both files, centres and scales the prediction by its own box, draws 8192 points of each for two k-d
trees, and intersects all pairs of bodies with manifold3d. Its process pool and its limit of 3 s are
left out. Both sides take turns on the same target, in one process, so that other work on the
machine slows them alike.

    python benchmarks/evaluation.py --num 20 --k 10
    python benchmarks/evaluation.py --memory 10000      (resident memory over many programs)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from cadwright.evaluation.pool import LocalPool
from cadwright.evaluation.predictions import Part, Prediction
from cadwright.evaluation.scoring import PartScorer, ScoringOptions
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.stl import save_stl
from cadwright.program.grammar import Program, numbers, sizes_are_positive, with_numbers
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_solid import ExactKernel
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw_solid

NUM_POINTS = 8192
HELD_OUT_SEED = 20_261_120
MOVED = 0.15  # share of a program's numbers that a prediction has wrong


@dataclass(frozen=True)
class Case:
    """One target as a file, and its predictions as texts and as files."""

    name: str
    target: Path
    texts: tuple[str, ...]
    files: tuple[Path, ...]


def make_cases(folder: Path, num: int, k: int, kernel: ExactKernel) -> list[Case]:
    """Generated parts, tessellated by the exact kernel as the published targets are."""
    cases: list[Case] = []
    rng = np.random.default_rng(0)
    index = 0
    while len(cases) < num:
        drawn = draw_solid(HELD_OUT_SEED, index)
        index += 1
        exact = None if drawn is None else kernel.build(drawn[0]).mesh
        if drawn is None or exact is None:
            continue
        name = f"{len(cases):04}"
        target = folder / f"{name}.stl"
        save_stl(normalise(exact, placement_to_unit(exact.bounds)), target)
        texts: list[str] = []
        files: list[Path] = []
        while len(files) < k:
            changed = moved(drawn[0], rng)
            built = None if changed is None else kernel.build(changed).mesh
            if changed is not None and built is not None:
                files.append(folder / f"{name}+{len(files)}.stl")
                save_stl(built, files[-1])
                texts.append(program_to_text(changed))
        cases.append(Case(name, target, tuple(texts), tuple(files)))
    return cases


def moved(program: Program, rng: np.random.Generator) -> Program | None:
    """The program with a share of its numbers wrong; None where that makes no solid."""
    values = [n + int(rng.integers(-4, 5)) * (rng.random() < MOVED) for n in numbers(program)]
    changed = with_numbers(program, values)
    if not sizes_are_positive(changed) or program_to_mesh(changed).mesh is None:
        return None
    return changed


def published_pair(target: Path, prediction: Path, rng: np.random.Generator) -> tuple[float, float]:
    """Chamfer distance and IoU of two STL files, the published way."""
    import trimesh
    from scipy.spatial import cKDTree

    goal = trimesh.load_mesh(target)
    result = trimesh.load_mesh(prediction)
    result.apply_translation(-(result.bounds[0] + result.bounds[1]) / 2)
    result.apply_scale(1.0 / float(max(result.extents)))
    result.apply_translation((0.5, 0.5, 0.5))
    clouds = [
        trimesh.sample.sample_surface(mesh, NUM_POINTS, seed=rng)[0] for mesh in (goal, result)
    ]
    there, _ = cKDTree(clouds[0]).query(clouds[1])
    back, _ = cKDTree(clouds[1]).query(clouds[0])
    shared = 0.0
    for one in goal.split():
        for two in result.split():
            both = trimesh.boolean.intersection([one, two], engine="manifold")
            shared += both.volume if both is not None and len(both.faces) else 0.0
    united = sum(abs(mesh.volume) for mesh in (goal, result)) - shared
    return float(np.square(there).mean() + np.square(back).mean()), shared / united


class Ours:
    """All predictions of one target by ``evaluate``'s own scorer, in this process."""

    def __init__(self, **options: Any) -> None:
        self.scorer = PartScorer(ScoringOptions(**options))

    def __call__(self, case: Case, predictions: Iterable[Prediction]) -> list[tuple[float, float]]:
        """Chamfer distance and IoU by the published protocol."""
        part = Part(case.name, case.target, tuple(predictions))
        scores = [event["published"] for event in list(self.scorer.events(part))[1:]]
        return [(score["chamfer"], score["iou"]) for score in scores]


def take_turns(cases: list[Case], kernel: ExactKernel) -> None:
    """Time every way of scoring on every target, and print the table."""
    rng = np.random.default_rng(0)
    alone = Ours(protocols=("published",), surface_iou=False)
    whole = Ours()

    def build(text: str, path: Path) -> Path:
        mesh = kernel.build(text_to_program(text)).mesh
        assert mesh is not None
        save_stl(mesh, path)
        return path

    def texts(case: Case) -> Iterator[Prediction]:
        return (Prediction(k, text=text) for k, text in enumerate(case.texts))

    ways: dict[str, Callable[[Case], list[tuple[float, float]]]] = {
        "published, from programs": lambda case: [
            published_pair(case.target, build(text, case.target.with_suffix(".built.stl")), rng)
            for text in case.texts
        ],
        "ours, published protocol, from programs": lambda case: alone(case, texts(case)),
        "ours, both protocols and surface IoU, from programs": lambda case: whole(
            case, texts(case)
        ),
        "published, from STL files": lambda case: [
            published_pair(case.target, path, rng) for path in case.files
        ],
        "ours, published protocol, from STL files": lambda case: alone(
            case, (Prediction(k, path) for k, path in enumerate(case.files))
        ),
    }
    spent: dict[str, list[float]] = defaultdict(list)
    values: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for way in ways.values():
        way(cases[0])  # what is imported, compiled or started at the first call
    for case in cases:
        for name, way in ways.items():
            start = time.perf_counter()
            found = way(case)
            spent[name].append((time.perf_counter() - start) / len(found))
            values[name] += found
    print(to_table(spent, values))


def to_table(spent: dict[str, list[float]], values: dict[str, list[tuple[float, float]]]) -> str:
    """Markdown; each line of ours is held against the published one of the same input."""
    lines = [
        "| way | ms a pair, mean | median | pairs a second | times as many | IoU apart, at most | "
        "mean CD apart |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, seconds in spent.items():
        base = next(key for key in spent if key.startswith("published") and name[-8:] == key[-8:])
        ratio = np.mean(spent[base]) / np.mean(seconds)
        mine, theirs = np.array(values[name]), np.array(values[base])
        iou = np.abs(mine[:, 1] - theirs[:, 1]).max()
        chamfer = abs(mine[:, 0].mean() / theirs[:, 0].mean() - 1)
        lines.append(
            f"| {name} | {1e3 * np.mean(seconds):.1f} | {1e3 * np.median(seconds):.1f} | "
            f"{1 / np.mean(seconds):.1f} | {ratio:.1f} | {iou:.4f} | {chamfer:.2%} |"
        )
    return "\n".join(lines)


def watch_memory(cases: list[Case], num: int, workers: int) -> None:
    """Resident memory of the workers and of this process, while ``num`` programs are scored."""
    parts = (
        Part(f"{n}", case.target, tuple(Prediction(k, text=t) for k, t in enumerate(case.texts)))
        for n, case in enumerate(islice(cycle(cases), -(-num // len(cases[0].texts))))
    )
    options = ScoringOptions(timeout_s=60, protocols=("published",), surface_iou=False)
    print("| programs | MB of each worker | MB of the parent | seconds |\n|---|---|---|---|")
    start = time.perf_counter()
    with LocalPool(options, num_workers=workers) as pool:
        done, shown = 0, -1
        for row in pool.rows(parts):
            done += len(row["predictions"])
            if done * 10 // num > shown:
                shown = done * 10 // num
                mb = ", ".join(f"{one:.0f}" for one in pool.resident_mb())
                own = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
                seconds = time.perf_counter() - start
                print(f"| {done} | {mb} | {own:.0f} | {seconds:.0f} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=20, help="targets")
    parser.add_argument("--k", type=int, default=10, help="programs a target")
    parser.add_argument("--memory", type=int, metavar="N", help="score N programs, watch memory")
    parser.add_argument("--workers", type=int, default=1, help="with --memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExactKernel() as kernel:
        cases = make_cases(Path(folder), options.num, options.k, kernel)
        if options.memory:
            watch_memory(cases, options.memory, options.workers)
        else:
            take_turns(cases, kernel)


if __name__ == "__main__":
    main()
