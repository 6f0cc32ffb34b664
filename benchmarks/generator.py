"""The generator: samples a second from seed to finished sample, and its statistics.

In: an explicit seed. Out: two markdown tables. A finished sample is a drawn program, 8192
points of its solid's surface, 256 of them by farthest-point sampling, and token ids. The speed is
that of one core in processor time, in runs of 100 samples: the best run, the median run and the
slowest, since other work on the machine can only slow a run down. Faces are counted by the exact
kernel (extra ``cad``) on the first ``--faces`` programs; 0 leaves them out.

    taskset -c 1 python benchmarks/generator.py --num 1000
"""

from __future__ import annotations

import argparse
import statistics
import time

from cadwright.models.cad_recode.tokenizer import load_tokenizer
from cadwright.program.program_to_solid import ExactKernel
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import sample_at
from cadwright.synth.statistics import statistics_to_table, texts_to_statistics

RUN = 100


def count_faces(texts: list[str]) -> list[int]:
    """B-rep faces of the programs that the exact kernel builds."""
    with ExactKernel() as kernel:
        results = list(kernel.build_many([text_to_program(text) for text in texts]))
    return [result.num_faces for result in results if result.num_faces]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--faces", type=int, default=200)
    options = parser.parse_args()
    tokenizer = load_tokenizer().backend_tokenizer
    sample_at(options.seed, 0, num_points=256)
    rates, texts, tokens = [], [], []
    for first in range(0, options.num, RUN):
        start, before = time.process_time(), len(texts)
        for index in range(first, min(first + RUN, options.num)):
            sample = sample_at(options.seed, index, num_points=256)
            if sample is not None:
                tokens.append(len(tokenizer.encode(sample.text, add_special_tokens=False).ids))
                texts.append(sample.text)
        rates.append((len(texts) - before) / (time.process_time() - start))
    print("| samples | a second on one core: best run | median run | slowest | tokens a program |")
    print("|---|---|---|---|---|")
    print(
        f"| {len(texts)} of {options.num} draws | {max(rates):.0f} "
        f"| {statistics.median(rates):.0f} | {min(rates):.0f} | {statistics.mean(tokens):.1f} |\n"
    )
    faces = count_faces(texts[: options.faces]) if options.faces else None
    print(statistics_to_table(texts_to_statistics(texts, faces)))


if __name__ == "__main__":
    main()
