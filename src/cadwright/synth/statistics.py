"""What a set of programs looks like, beside what was published of CAD-Recode's set.

In: program texts. Out: shares, lengths and counts, as a dict and as a table.
Published figures: CAD-Recode (arXiv 2412.14042) as measured by third parties
on the released 1M set; None where nobody published one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cadwright.program.grammar import Program
from cadwright.program.text_to_program import text_to_program

# share of programs in which the call occurs
PUBLISHED_SHARES = {
    "extrude": 0.91, "sketch": 0.91, "segment": 0.76, "union": 0.70, "arc": 0.65,
    "workplane": 0.47, "moveTo": 0.39, "circle": 0.38, "rect": 0.29, "cylinder": 0.25, "box": 0.23,
}  # fmt: skip
PUBLISHED = {
    "characters_mean": 377.0, "characters_median": 368.0, "lines_median": 3.0, "bodies_mean": 2.0,
    "faces_mean": 17.0,
}  # fmt: skip


def texts_to_statistics(texts: Sequence[str], faces: Iterable[int] | None = None) -> dict[str, Any]:
    """Count what the published statistics count.

    Args:
        texts: canonical program texts.
        faces: B-rep faces of the same programs' solids, where they are known.

    Returns:
        ``shares`` by call, and lengths and counts under the names of ``PUBLISHED``.
    """
    programs: list[Program] = [text_to_program(text) for text in texts]
    lengths = np.array([len(text) for text in texts])
    known_faces = [] if faces is None else list(faces)
    return {
        "programs": len(texts),
        "shares": {
            call: float(np.mean([f".{call}(" in text for text in texts]))
            for call in PUBLISHED_SHARES
        },
        "characters_mean": float(lengths.mean()),
        "characters_median": float(np.median(lengths)),
        "lines_median": float(np.median([text.count("\n") + 1 for text in texts])),
        "bodies_mean": float(np.mean([len(program.bodies) for program in programs])),
        "faces_mean": float(np.mean(known_faces)) if known_faces else None,
    }


def statistics_to_table(statistics: dict[str, Any]) -> str:
    """Markdown: ours beside the published figure."""
    lines = ["| statistic | ours | published |", "|---|---|---|"]
    for call, published in PUBLISHED_SHARES.items():
        lines.append(
            f"| programs with {call} | {statistics['shares'][call]:.0%} | {published:.0%} |"
        )
    for name, value in PUBLISHED.items():
        ours = statistics[name]
        lines.append(f"| {name} | {'-' if ours is None else f'{ours:.1f}'} | {value:.1f} |")
    return "\n".join(lines)
