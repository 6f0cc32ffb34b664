"""Rewards a second from the fast kernel and from the exact one: same programs, one run.

In: draws of ``cadwright.synth.generate`` as targets; for each its own program and changed ones,
as a policy would write them. Out: a markdown table, and how far the rewards of the two kernels lie
apart. Both are asked in turn, group by group, so that other load strikes them alike. Needs the
extra ``cad``.

    python benchmarks/rewards.py --targets 25 --programs 8 --workers 1
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cadwright.program.program_to_solid import ExactKernel
from cadwright.program.program_to_text import program_to_text
from cadwright.synth.generate import draw_program
from cadwright.training.rl.parts import GeneratedParts
from cadwright.training.rl.rewards import Grade, RewardPool, mesh_to_scorer, text_to_grade
from cadwright.types import Mesh

NUMBER = re.compile(r"(?<![\w.])-?\d+")
CHANGED_SHARE, LARGEST_CHANGE = 0.2, 20


@dataclass(frozen=True)
class Group:
    """A target and the programs tried on it."""

    target: Mesh
    texts: list[str]


def changed(text: str, rng: np.random.Generator) -> str:
    """The text with a share of its integers moved; some such programs mean nothing."""

    def move(match: re.Match[str]) -> str:
        if rng.random() >= CHANGED_SHARE:
            return match[0]
        return str(int(match[0]) + int(rng.integers(-LARGEST_CHANGE, LARGEST_CHANGE + 1)))

    return NUMBER.sub(move, text)


def draw_groups(seed: int, num: int, num_programs: int) -> Iterator[Group]:
    """Targets of a stream, each with its own program first."""
    source, number = GeneratedParts(seed), 0
    while num > 0:
        program, target = draw_program(seed, number), source.part(number)
        number += 1
        if program is None or target is None:
            continue
        num -= 1
        text = program_to_text(program)
        rng = np.random.default_rng((seed, number))
        yield Group(target, [text, *(changed(text, rng) for _ in range(num_programs - 1))])


def measure(
    groups: list[Group], workers: int
) -> tuple[dict[str, float], list[tuple[Grade, Grade]]]:
    """Seconds of each way, and the grades of both kernels."""
    seconds = dict.fromkeys(("fast, here", "fast, workers", "exact"), 0.0)
    pairs: list[tuple[Grade, Grade]] = []
    with ExactKernel() as kernel, RewardPool(workers) as pool, RewardPool(0) as here:
        kernel.build(next(_programs(groups)))  # loads what the import left out
        for future in [pool.submit(groups[0].target, groups[0].texts) for _ in range(workers)]:
            future.result()
        for group in groups:
            started = time.perf_counter()
            fast = here.grade(group.target, group.texts)
            seconds["fast, here"] += time.perf_counter() - started
            started = time.perf_counter()
            scorer = mesh_to_scorer(group.target)
            exact = [text_to_grade(text, scorer, build=kernel.build) for text in group.texts]
            seconds["exact"] += time.perf_counter() - started
            pairs += zip(fast, exact, strict=True)
        started = time.perf_counter()
        for future in [pool.submit(group.target, group.texts) for group in groups]:
            future.result()
        seconds["fast, workers"] = time.perf_counter() - started
    return seconds, pairs


def _programs(groups: list[Group]) -> Iterator:
    from cadwright.program.text_to_program import text_to_program

    for group in groups:
        yield text_to_program(group.texts[0])


def report(seconds: dict[str, float], pairs: list[tuple[Grade, Grade]], workers: int) -> None:
    """Print the table."""
    num = len(pairs)
    same = sum(a.outcome is b.outcome for a, b in pairs)
    gaps = np.array([abs(a.reward - b.reward) for a, b in pairs if a.outcome is b.outcome])
    valid = sum(a.outcome.value == "ok" for a, _ in pairs)
    print("| what | value |\n|---|---|")
    print(f"| rewards | {num}, of them {valid} of valid programs |")
    for name, value in seconds.items():
        label = f"fast, {workers} worker(s)" if name == "fast, workers" else name
        print(f"| {label} | {num / value:.1f} a second |")
    ratio = seconds["exact"] / seconds["fast, here"]
    print(f"| fast (one process) against exact (one worker) | {ratio:.1f} times |")
    print(f"| same outcome by both kernels | {same} of {num} |")
    print(f"| difference of rewards (scale -10 to 10), mean | {gaps.mean():.4f} |")
    print(f"| difference of rewards, largest | {gaps.max():.3f} |")


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--targets", type=int, default=25)
    parser.add_argument("--programs", type=int, default=8, help="tried on each target")
    parser.add_argument("--workers", type=int, default=1, help="processes of the fast kernel")
    parser.add_argument("--seed", type=int, default=0, help="stream of the generator")
    options = parser.parse_args()
    groups = list(draw_groups(options.seed, options.targets, options.programs))
    seconds, pairs = measure(groups, options.workers)
    report(seconds, pairs, options.workers)


if __name__ == "__main__":
    main()
