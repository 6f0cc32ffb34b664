"""The generator: samples a second from seed to finished sample, and its statistics.

In: an explicit seed. Out: two markdown tables. A finished sample is a drawn program, its
solid, 8192 surface points, 256 of them by farthest-point sampling, and token ids. Faces are
counted by the exact kernel (extra ``cad``) on the first ``--faces`` programs; 0 leaves them out.

    python benchmarks/generator.py --num 1000
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
    tokenizer = load_tokenizer()
    sample_at(options.seed, 0, num_points=256)
    seconds, texts, tokens = [], [], []
    for index in range(options.num):
        start = time.process_time()
        sample = sample_at(options.seed, index, num_points=256)
        if sample is None:
            continue
        tokens.append(len(tokenizer(sample.text)["input_ids"]))
        seconds.append(time.process_time() - start)
        texts.append(sample.text)
    print("| samples | a second on one core | median ms | tokens a program | failed draws |")
    print("|---|---|---|---|---|")
    print(
        f"| {len(texts)} | {len(texts) / sum(seconds):.0f} "
        f"| {statistics.median(seconds) * 1e3:.1f} | {statistics.mean(tokens):.1f} "
        f"| {options.num - len(texts)} |\n"
    )
    faces = count_faces(texts[: options.faces]) if options.faces else None
    print(statistics_to_table(texts_to_statistics(texts, faces)))


if __name__ == "__main__":
    main()
