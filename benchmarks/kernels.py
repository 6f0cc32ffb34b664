"""Both kernels on the same generated programs: do they agree, and how much faster is the fast one?

In: draws of ``cadwright.synth.generate`` from an explicit seed. Out: a markdown table, and
each program on which the two disagree. The exact solid's mesh has polygons too (63 sides and
more); where they seem to show, the comparison is made again with finer ones. Times are CPU
time where the system tells that of the worker (Linux), so that other load does not count; else
wall-clock time. Needs the extra ``cad``.

    python benchmarks/kernels.py --num 500 --seed 0
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadwright.geometry.metrics import volume_iou
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_solid import ExactKernel
from cadwright.program.program_to_text import program_to_text
from cadwright.synth.generate import draw_program
from cadwright.types import BuildResult, Outcome

LARGEST_VOLUME_DIFFERENCE = 0.005
SMALLEST_IOU = 0.995
FINER_BELOW, FINE_ANGLE = 0.997, 0.02  # rad
SHOW_EVERY = 100  # programs between two tables of a long run


@dataclass(frozen=True)
class Row:
    """One program, built by both kernels; ``iou`` and ``difference`` are NaN unless both are OK."""

    program: Program
    exact: BuildResult
    fast: BuildResult
    exact_s: float
    fast_s: float
    difference: float
    iou: float

    @property
    def agrees(self) -> bool:
        """Same outcome and, where that is OK, the same solid within the bounds of this file."""
        if self.exact.outcome is not self.fast.outcome:
            return False
        return self.exact.outcome is not Outcome.OK or (
            self.difference <= LARGEST_VOLUME_DIFFERENCE and self.iou >= SMALLEST_IOU
        )


def build_both(program: Program, kernel: ExactKernel) -> Row:
    """Both results of one program, their times, their volume difference and IoU."""
    pids = kernel.worker_pids
    before = cpu_seconds(pids)
    exact = kernel.build(program)
    exact_s = cpu_seconds(pids) - before if before > 0 else exact.seconds
    before = time.process_time()
    fast = program_to_mesh(program)
    fast_s = time.process_time() - before
    if exact.mesh is None or fast.mesh is None:
        return Row(program, exact, fast, exact_s, fast_s, float("nan"), float("nan"))
    difference = abs(exact.volume - fast.volume) / exact.volume
    iou = volume_iou(exact.mesh, fast.mesh)
    if iou < FINER_BELOW:  # thin rings: is it the exact mesh's polygons that differ?
        finer = kernel.build(program, angular=FINE_ANGLE)
        iou = iou if finer.mesh is None else volume_iou(finer.mesh, fast.mesh)
    return Row(program, exact, fast, exact_s, fast_s, difference, iou)


def cpu_seconds(pids: list[int]) -> float:
    """CPU time of all threads of some processes so far; 0 where the system does not tell."""
    total = 0.0
    for pid in pids:
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(file.read_text().split()[0]) / 1e9
    return total


def draw_programs(seed: int, num: int) -> Iterator[Program]:
    """The first programs of a stream."""
    index = 0
    while num > 0:
        program = draw_program(seed, index)
        index += 1
        if program is not None:
            num -= 1
            yield program


def measure(seed: int, num: int) -> tuple[list[Row], float]:
    """Build each program by both kernels in turn, so that other load strikes both alike.

    Returns:
        The rows, and the seconds that drawing took (they are not part of any build).
    """
    started = time.perf_counter()
    programs = list(draw_programs(seed, num))
    drawing_s = time.perf_counter() - started
    with ExactKernel() as kernel:
        kernel.build(programs[0])  # the first build of a worker loads what the import left out
        program_to_mesh(programs[0])
        rows: list[Row] = []
        for program in programs:
            rows.append(build_both(program, kernel))
            if len(rows) % SHOW_EVERY == 0 and len(rows) < num:
                print_table(rows)
    return rows, drawing_s


def print_table(rows: list[Row]) -> None:
    """The table of the README."""
    both = [row for row in rows if not np.isnan(row.iou)]
    differences = np.array([row.difference for row in both])
    exact_ms = 1000 * statistics.median(row.exact_s for row in rows)
    fast_ms = 1000 * statistics.median(row.fast_s for row in rows)
    same = sum(row.exact.outcome is row.fast.outcome for row in rows)
    print("| what | value |\n|---|---|")
    print(f"| programs | {len(rows)} |")
    print(f"| same outcome | {same} |")
    print(f"| both OK | {len(both)} |")
    print(f"| volume difference, max | {100 * differences.max():.3f} % |")
    print(f"| volume difference, p99 | {100 * np.quantile(differences, 0.99):.3f} % |")
    print(f"| IoU, min | {min(row.iou for row in both):.5f} |")
    print(f"| exact kernel, median CPU time | {exact_ms:.1f} ms |")
    print(f"| fast kernel, median CPU time | {fast_ms:.2f} ms |")
    print(f"| ratio of the medians | {exact_ms / fast_ms:.0f} |", flush=True)


def print_disagreements(rows: list[Row]) -> None:
    """Each program on which the kernels disagree, with what they said."""
    for row in rows:
        if not row.agrees:
            print(
                f"\n# exact: {row.exact.outcome.value} {row.exact.volume:.3f} {row.exact.message}"
            )
            print(f"# fast: {row.fast.outcome.value} {row.fast.volume:.3f} {row.fast.message}")
            print(f"# volume difference {row.difference:.5f}, IoU {row.iou:.5f}")
            print(program_to_text(row.program))


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--num", type=int, default=500, help="programs to draw")
    parser.add_argument("--seed", type=int, default=0, help="stream of the generator")
    arguments = parser.parse_args()
    rows, drawing_s = measure(arguments.seed, arguments.num)
    print_table(rows)
    print(f"\nDrawing took {1000 * drawing_s / len(rows):.1f} ms a program.")
    print_disagreements(rows)


if __name__ == "__main__":
    main()
