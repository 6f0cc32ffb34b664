"""``cadwright reconstruct PART... --out DIR``: meshes or points to programs and STEP files.

In: files. Out: ``DIR/NAME/`` with part.py, part.step, part.stl, part.png and report.json for
each part, whole or not at all. A part that fails costs a sentence and the exit status 1; the
others are still done. A model that cannot be loaded ends the call.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadwright.apps.terminal import at_least, print_error, progress_bar, seconds
from cadwright.errors import CadwrightError, CheckpointError, InputError, MissingDependencyError

if TYPE_CHECKING:
    from cadwright.inference.clock import Progress
    from cadwright.inference.pipeline import Reconstructor
    from cadwright.inference.result import Reconstruction

Entry = dict[str, Any]
BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}"


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "reconstruct",
        help="a mesh or point cloud to a program, STEP, STL, picture and report",
        description="Reconstruct parts: each gets a folder DIR/NAME with part.py, part.step, "
        "part.stl, part.png and report.json, in the unit, scale and position of its file.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="+",
        metavar="PART",
        type=Path,
        help="STL, OBJ, PLY, OFF, GLB, STEP, or points as XYZ, TXT, CSV, NPY, PLY",
    )
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="output folder")
    parser.add_argument("--model", default="embedded", help="'embedded', a folder, or a hub id")
    parser.add_argument(
        "--tokenizer", metavar="MODEL", help="where the tokenizer is, if not with the model"
    )
    parser.add_argument("--candidates", type=at_least(1), default=16, help="programs decoded")
    parser.add_argument(
        "--budget",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="search time for each part; 0 switches search off",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="fixes the random choices")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--json", action="store_true", help="print the reports as a JSON array")
    parser.set_defaults(execute=execute)  # fmt: skip


def execute(args: argparse.Namespace) -> int:
    """Reconstruct all parts.

    Returns:
        0, or 1 if a part failed.
    Raises:
        CheckpointError: the model cannot be used.
        MissingDependencyError: a package is missing.
        InputError: the output folder cannot be one.
    """
    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"{args.out}: the output folder is a file")
    from cadwright.inference.pipeline import Reconstructor

    entries: list[Entry] = []
    with (
        Reconstructor(args.model, tokenizer=args.tokenizer, device=args.device) as reconstructor,
        progress_bar(len(args.parts), bar_format=BAR) as bar,
    ):
        for number, (part, name) in enumerate(zip(args.parts, part_names(args.parts), strict=True)):

            def show(what: str, share: float, name: str = name, number: int = number) -> None:
                bar.set_description_str(f"{name}: {what}", refresh=False)
                bar.n = number + share
                bar.refresh()

            entry = _do_part(reconstructor, part, name, args, show)
            if isinstance(entry, BaseException):
                bar.clear()
                entry = {"part": str(part), "error": print_error(entry, about=str(part))}
            elif not args.json:
                bar.write(_summary(entry))
            entries.append(entry)
    if args.json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    return 1 if any("error" in entry for entry in entries) else 0


def part_names(parts: list[Path]) -> list[str]:
    """One name for each part: its file's, numbered where several files have the same."""
    names: list[str] = []
    for part in parts:
        name, number = part.stem or "part", 1
        while name in names:
            number += 1
            name = f"{part.stem}-{number}"
        names.append(name)
    return names


def _do_part(
    reconstructor: Reconstructor, part: Path, name: str, args: argparse.Namespace, show: Progress
) -> Entry | CadwrightError | MemoryError:
    """One part: its report, or what went wrong.

    Raises:
        CheckpointError, MissingDependencyError: no other part would fare better.
    """
    try:
        result: Reconstruction = reconstructor.reconstruct(
            part, candidates=args.candidates, budget_s=args.budget, seed=args.seed, name=name,
            out=args.out, progress=show,
        )  # fmt: skip
    except (CheckpointError, MissingDependencyError):
        raise
    except (CadwrightError, MemoryError) as error:
        return error
    folder = args.out / result.name
    return {"part": str(part), "folder": str(folder), "report": result.report}


def _summary(entry: Entry) -> str:
    """One line for a person."""
    report = entry["report"]
    away, share = report["deviation"], 100 / report["size"]
    fit = "no IoU" if report["iou"] is None else f"IoU {report['iou']:.3f}"
    words = [
        f"{fit}, mean deviation {away['mean']:.3g} ({away['mean'] * share:.2g} % of the size)",
        f"{report['program']['bodies']} bodies",
        f"by {report['source'].replace('_', ' ')}",
    ]
    if report["iou_note"]:
        words.append(report["iou_note"])
    return f"{report['name']}: {', '.join(words)} -> {entry['folder']}"
