"""The small multimodal model on held-out parts: as points, as a picture, and in words.

In: draws of a stream that training never saw, each shown in three ways (points; the published four
views; its dimensioned description), and the weights. Out: a markdown table of the volume IoU of
the candidate that is chosen as in use: by the shape, by agreement with the picture, by agreement
of the candidates with each other. No search; IoU in the program frame, nothing renormalised; a
part without a valid result counts as 0.

    python benchmarks/multimodal.py --num 300 [--model FOLDER] [--rows rows.jsonl]

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

from cadwright.errors import InputError
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import shape_from_mesh
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.inference.candidates import Candidate
from cadwright.inference.clock import StageClock
from cadwright.inference.decode import Decoder
from cadwright.inference.embedded import embedded_folder
from cadwright.inference.finding import decode_shape, find_prompt, rank_for_shape
from cadwright.inference.prompt import Prompt, views_to_prompt, words_to_prompt
from cadwright.inference.target import PreparedTarget, prepare
from cadwright.program.grammar import Program
from cadwright.synth.describe import describe
from cadwright.synth.generate import draw_solid

HELD_OUT_SEED = 20_261_120  # training's seeds are small numbers
KINDS = ("points", "picture", "words")


@dataclass(frozen=True)
class Row:
    """One part, shown in one way.

    Attributes:
        chosen: IoU of the candidate that use would take.
        best: of the best of the candidates, which use cannot know without the shape.
        valid: candidates that build.
    """

    name: str
    kind: str
    chosen: float
    best: float
    valid: int
    seconds: float


def parts(first: int, num: int) -> Iterator[tuple[Program, PreparedTarget]]:
    """Held-out parts, PROGRAM frame."""
    for index in range(first, first + num):
        drawn = draw_solid(HELD_OUT_SEED, index)
        if drawn is not None:
            mesh = manifold_to_mesh(drawn[1])
            shape = shape_from_mesh(mesh, f"generated-{index:03d}")
            yield drawn[0], prepare(shape, seed=0)


def measure(
    program: Program, target: PreparedTarget, kind: str, decoder: Decoder, num_candidates: int
) -> Row:
    """Show a part in one way and hold what comes of it against the part."""
    prompt = None if kind == "points" else to_prompt(program, target, kind)
    start = time.perf_counter()
    ranked = _find(target, prompt, decoder, num_candidates)
    seconds = time.perf_counter() - start
    fits = [_iou(target, one.program) for one in ranked]
    return Row(
        target.shape.name,
        kind,
        fits[0] if fits else 0.0,
        max(fits, default=0.0),
        len(ranked),
        seconds,
    )


def to_prompt(program: Program, target: PreparedTarget, kind: str) -> Prompt:
    """The part in words, or its four views."""
    if kind == "words":
        return words_to_prompt(describe(program, style="dimensioned", seed=0), name="part")
    mesh = target.inner.mesh
    assert mesh is not None
    return views_to_prompt(mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds))), name="p")


def _find(
    target: PreparedTarget, prompt: Prompt | None, decoder: Decoder, num: int
) -> list[Candidate]:
    """What builds, in the order of use."""
    if prompt is None:
        texts = decode_shape(target.inner, decoder, num_candidates=num, seed=0)
        return rank_for_shape(texts, target, seed=0)[0]
    try:
        clock = StageClock(None, 0.0)
        return find_prompt(prompt, decoder, candidates=num, seed=0, clock=clock).ranked
    except InputError as error:  # a description longer than the context: counts as no result
        sys.stderr.write(f"{target.shape.name}: {error}\n")
        return []


def _iou(target: PreparedTarget, program: Program) -> float:
    found = target.scorer.candidate(program, "model")
    return found.fit if isinstance(found, Candidate) else 0.0


def to_table(rows: list[Row]) -> str:
    """Markdown, one line a way of showing."""
    lines = [
        "| shown as | parts | mean IoU | median | best of all | no result | s a part |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        mine = [row for row in rows if row.kind == kind]
        if not mine:
            continue
        chosen = [row.chosen for row in mine]
        lines.append(
            f"| {kind} | {len(mine)} | {np.mean(chosen):.3f} | {np.median(chosen):.3f} "
            f"| {np.mean([row.best for row in mine]):.3f} "
            f"| {sum(row.valid == 0 for row in mine)} "
            f"| {np.mean([row.seconds for row in mine]):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and keep every row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="first draw of the stream")
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--model", help="default: the embedded multimodal model")
    parser.add_argument("--rows", type=Path, help="write each row here, too")
    parser.add_argument("--merge", type=Path, nargs="+", help="only put these rows together")
    args = parser.parse_args()
    if args.merge:
        lines = [line for path in args.merge for line in path.read_text().splitlines()]
        print(to_table([Row(**json.loads(line)) for line in lines]))
        return
    decoder = Decoder.load(args.model or embedded_folder("views"), device="cpu")
    rows = []
    for program, target in tqdm(parts(args.first, args.num), total=args.num, unit="part"):
        for kind in args.kinds:
            rows.append(measure(program, target, kind, decoder, args.candidates))
            if args.rows:
                with args.rows.open("a") as file:
                    file.write(json.dumps(asdict(rows[-1])) + "\n")
    print(to_table(rows))


if __name__ == "__main__":
    main()
