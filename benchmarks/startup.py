"""How long a person waits: the command line's help, and the example part from a cold start.

In: nothing. Out: a markdown table of wall-clock seconds, the median and the worst of a few runs
of each command as a whole process.

    python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "bracket.stl"


def seconds_of(command: list[str]) -> float:
    """Wall-clock seconds of one process that must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    base = [sys.executable, "-m", "cadwright"]
    print("| command | median s | worst s |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, command in (
            ("cadwright --help", [*base, "--help"]),
            (
                "the example part, start to STEP",
                [*base, "reconstruct", str(EXAMPLE), "--out", folder],
            ),
        ):
            times = [seconds_of(command) for _ in range(runs)]
            print(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} |")


if __name__ == "__main__":
    main()
