"""``cadwright describe PART [--ask "how many holes?"]``: what a part is, in a sentence.

In: mesh or STEP files, USER frame, and perhaps a question. Out: one line a part on stdout. A part
that fails costs a sentence on stderr and the exit status 1; the others are still described.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from cadwright.apps.terminal import at_least, end_parts, try_part
from cadwright.errors import InputError

TOPICS = ("kind", "bodies", "holes")


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "describe",
        help="say in a sentence what a part is, or answer a question about it",
        description="Tell a language model the shape of a part and let it describe the part. The "
        "embedded small model knows kinds of bodies and counts of bodies and holes; --model takes "
        "any folder of 'cadwright align train'.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="+", metavar="PART", type=Path, help="STL, OBJ, PLY, OFF, GLB or STEP"
    )
    parser.add_argument("--ask", metavar="QUESTION", help="ask this instead")
    parser.add_argument(
        "--model", metavar="FOLDER", default="embedded", help="an aligned model, or 'embedded'"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--max_new_tokens", type=at_least(1), default=64, metavar="N", help="of an answer"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Describe all parts.

    Returns:
        0, or 1 if a part failed.
    Raises:
        InputError: the question is empty.
        CheckpointError: the model cannot be used.
        MissingDependencyError: a package is missing.
    """
    from cadwright.optional import require

    if args.ask is not None and not args.ask.strip():
        raise InputError("--ask needs a question")
    for package, extra in (("torch", "model"), ("transformers", "model"), ("numba", "sdf")):
        require(package, extra=extra)
    from transformers.utils import logging

    from cadwright.models.align3d.aligned import EMBEDDED, load_aligned
    from cadwright.models.align3d.conversation import PROMPT

    logging.disable_progress_bar()  # the answer is one line; a bar would be longer than it
    aligned = load_aligned(args.model, device=args.device)
    if args.model == EMBEDDED:
        print(_warning(aligned.folder), file=sys.stderr)
    entries: list[dict[str, Any]] = []
    for part in args.parts:
        question = args.ask or PROMPT
        entry = try_part(part, partial(_describe, aligned, part, question, args.max_new_tokens))
        entries.append(entry)
        if "text" in entry and not args.json:
            print(entry["text"] if len(args.parts) == 1 else f"{part}: {entry['text']}")
    return end_parts(entries, as_json=args.json)


def _warning(folder: Path) -> str:
    """How far the embedded model can be believed, by its own figures."""
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    shares = ", ".join(f"{name} {figures[f'{name}_right']:.0%}" for name in TOPICS)
    return f"The embedded model is small. Right on held-out parts of the generator: {shares}."


def _describe(aligned: Any, part: Path, question: str, max_new_tokens: int) -> dict[str, Any]:
    from cadwright.models.align3d.describe import describe_mesh
    from cadwright.program.file_to_mesh import file_to_mesh

    mesh = file_to_mesh(part)
    said = describe_mesh(aligned, mesh, question=question, max_new_tokens=max_new_tokens)
    return {"part": str(part), "text": said}
