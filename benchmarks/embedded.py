"""The embedded default on held-out generated parts and on real programs: is it right, how fast?

In: draws of a stream that training never saw, and the 12 parts in ``tests/golden/shapes``. Out: a
markdown table: volume IoU of the best of 16 candidates without search, and after search, chosen
by the same scorer as in use. IoU is measured in the program frame, nothing renormalised; a part
without a valid result counts as 0.

    python benchmarks/embedded.py --num 300 --budget 5

Several runs side by side, each with its own ``--first``, are put together with ``--merge``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import Shape, load_shape, shape_from_mesh
from cadwright.inference.candidates import Candidate, read_candidates, with_bounds_fitted
from cadwright.inference.decode import Decoder, embedded_folder
from cadwright.inference.finding import decode_shape
from cadwright.inference.fit_levels import with_levels_fitted
from cadwright.inference.search.search import search
from cadwright.inference.target import PreparedTarget, prepare
from cadwright.synth.generate import draw_solid

HELD_OUT_SEED = 20_261_120  # training's seeds are small numbers
SHAPES = Path(__file__).parent.parent / "tests" / "golden" / "shapes"


@dataclass(frozen=True)
class Row:
    """One part: IoU at each stage, and seconds.

    Attributes:
        greedy: of one greedy program, as decoded.
        raw: of the best candidate as decoded.
        bounds: of the best candidate once bounds are fitted.
        candidates: of the best candidate once levels are fitted too, as in use without search.
        searched: after search.
    """

    name: str
    greedy: float
    raw: float
    bounds: float
    candidates: float
    searched: float
    valid: int
    decode_s: float
    search_s: float
    from_slices: bool


def generated_parts(first: int, num: int, seed: int) -> Iterator[Shape]:
    """Held-out parts, PROGRAM frame."""
    for index in range(first, first + num):
        drawn = draw_solid(seed, index)
        if drawn is not None:
            yield shape_from_mesh(manifold_to_mesh(drawn[1]), f"generated-{index:03d}")


def real_parts() -> Iterator[Shape]:
    """Twelve solids of published programs, UNIT frame."""
    for path in sorted(SHAPES.glob("*.stl")):
        yield load_shape(path)


def measure(shape: Shape, decoder: Decoder, num_candidates: int, budget_s: float) -> Row:
    """Reconstruct one part, with the stages of the pipeline."""
    target = prepare(shape, seed=0)
    start = time.perf_counter()
    texts = decode_shape(target.inner, decoder, num_candidates=num_candidates, seed=0)
    raw, _ = read_candidates(texts, target.scorer)
    bound = with_bounds_fitted(raw, target.scorer, target.inner.bounds)
    ranked = with_levels_fitted(bound, target.scorer, target.inner, seed=0)
    greedy, _ = read_candidates(texts[:1], target.scorer)
    decoded = time.perf_counter()
    searched, from_slices = _searched(target, ranked, budget_s)
    return Row(
        shape.name,
        greedy[0].fit if greedy else 0.0,
        raw[0].fit if raw else 0.0,
        bound[0].fit if bound else 0.0,
        ranked[0].fit if ranked else 0.0,
        searched,
        len(ranked),
        decoded - start,
        time.perf_counter() - decoded,
        from_slices,
    )


def _searched(
    target: PreparedTarget, ranked: list[Candidate], budget_s: float
) -> tuple[float, bool]:
    """IoU after search, and whether the winner began without the model."""
    if budget_s <= 0:
        return float("nan"), False
    programs = [one.program for one in ranked]
    found = search(target.search_target, programs, budget_s, seed=0)
    if found is None:
        return 0.0, False
    winner = target.scorer.candidate(found.program, "search")
    fit = winner.fit if isinstance(winner, Candidate) else 0.0
    return max(fit, ranked[0].fit if ranked else 0.0), found.from_slices


def to_table(groups: dict[str, list[Row]]) -> str:
    """Markdown, one line a group and stage."""
    lines = [
        "| parts | stage | mean IoU | median IoU | worst | no valid result | s a part |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in groups.items():
        for stage, values, seconds in (
            ("one greedy program", [row.greedy for row in rows], None),
            ("best candidate as decoded", [row.raw for row in rows], None),
            ("best candidate, bounds fitted", [row.bounds for row in rows], None),
            (
                "best candidate, levels fitted",
                [row.candidates for row in rows],
                [row.decode_s for row in rows],
            ),
            ("after search", [row.searched for row in rows], [row.search_s for row in rows]),
        ):
            iou = np.array(values)
            mean_s = f"{np.mean(seconds):.2f}" if seconds else "-"
            lines.append(
                f"| {len(rows)} {name} | {stage} | {iou.mean():.3f} | {np.median(iou):.3f} | "
                f"{iou.min():.3f} | {int((iou <= 0).sum())} | {mean_s} |"
            )
    return "\n".join(lines)


def merged(paths: list[Path]) -> dict[str, list[Row]]:
    """Rows that earlier runs kept."""
    groups: dict[str, list[Row]] = {"generated": [], "real programs": []}
    for path in paths:
        for line in path.read_text().splitlines():
            values = json.loads(line)
            groups[values.pop("group")].append(Row(**values))
    return groups


def report(groups: dict[str, list[Row]]) -> None:
    """Print the table, and where the winners came from."""
    print(to_table({name: rows for name, rows in groups.items() if rows}))
    slices = [row.from_slices for rows in groups.values() for row in rows]
    print(f"\nsearch's winner began from slices alone in {np.mean(slices):.0%} of parts")


def main() -> None:
    """Measure, print, and keep every row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="index of the first generated part")
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--budget", type=float, default=5.0, help="seconds of search a part")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--model", default=str(embedded_folder()))
    parser.add_argument("--rows", type=Path, help="write every part's figures here, as JSON lines")
    parser.add_argument("--merge", type=Path, nargs="+", help="print the table of these rows")
    options = parser.parse_args()
    if options.merge:
        report(merged(options.merge))
        return
    decoder = Decoder.load(options.model, device="cpu")
    groups: dict[str, list[Row]] = {"generated": [], "real programs": []}
    generated = generated_parts(options.first, options.num, options.seed)
    parts = [("generated", shape) for shape in generated]
    parts += [("real programs", shape) for shape in real_parts() if options.first == 0]
    for group, shape in tqdm(parts, disable=not sys.stderr.isatty()):
        groups[group].append(measure(shape, decoder, options.candidates, options.budget))
    report(groups)
    if options.rows is not None:
        lines = [json.dumps({"group": g, **asdict(r)}) for g, rows in groups.items() for r in rows]
        options.rows.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
