"""``cadwright reconstruct PART... --out DIR``: meshes, points, pictures or words to programs.

In: files, or ``--views A B C D`` (four pictures of one part), or ``--text "..."``. Out:
``DIR/NAME/`` with part.py, part.step, part.stl, part.png and report.json for each part, whole or
not at all. A part that fails costs a sentence and the exit status 1; the others are still done.
A model that cannot be loaded ends the call.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadwright.apps.terminal import at_least, end_parts, print_error, progress_bar, seconds
from cadwright.errors import CadwrightError, CheckpointError, InputError, MissingDependencyError
from cadwright.inference.embedded import embedded_kinds, name_kinds

if TYPE_CHECKING:
    from cadwright.inference.clock import Progress
    from cadwright.inference.pipeline import Reconstructor
    from cadwright.inference.result import Reconstruction

Entry = dict[str, Any]
BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}"
NUM_VIEWS = 4


@dataclass(frozen=True, slots=True)
class Task:
    """One part of a call.

    Attributes:
        label: what errors and the report in JSON call it.
        name: of its folder.
        given: for ``Reconstructor.reconstruct``.
    """

    label: str
    name: str
    given: dict[str, Any]


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    own = name_kinds(embedded_kinds())
    parser = verbs.add_parser(
        "reconstruct",
        help="a mesh, point cloud, picture or text to a program, STEP, STL, picture and report",
        description="Reconstruct parts: each gets a folder DIR/NAME with part.py, part.step, "
        "part.stl, part.png and report.json, in the unit, scale and position of its file. "
        "A picture and a text have none, so there lengths are those of the program (longest side "
        "about 200), and the report gives no distance. "
        f"The embedded model reads {own}; other inputs need a cadrille model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        type=Path,
        help="STL, OBJ, PLY, OFF, GLB, STEP; points as XYZ, TXT, CSV, NPY, PLY; or one picture "
        "(PNG, JPG, ...) of four views, as 'cadwright render --model-views' draws it",
    )
    parser.add_argument(
        "--views", nargs="*", action="append", default=[], metavar="PICTURE", type=Path,
        help="the four views of one part as four pictures, in the order of that one picture",
    )  # fmt: skip
    parser.add_argument(
        "--text", action="append", default=[], metavar="WORDS", help="a description of one part"
    )
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="output folder")
    parser.add_argument(
        "--model", default="embedded", help=f"'embedded' (for {own}), a folder, or a hub id"
    )
    parser.add_argument(
        "--tokenizer", metavar="MODEL", help="where the tokenizer is, if not with the model"
    )
    parser.add_argument("--candidates", type=at_least(1), default=16, help="programs decoded")
    parser.add_argument(
        "--budget",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="search time for each mesh or point cloud; 0 switches search off",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="fixes the random choices")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--json", action="store_true", help="print the reports as a JSON array")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Reconstruct all parts.

    Returns:
        0, or 1 if a part failed.
    Raises:
        CheckpointError: the model cannot be used.
        MissingDependencyError: a package is missing.
        InputError: there is no part, not four views, or the output folder cannot be one.
    """
    tasks = read_tasks(args.parts, args.views, args.text)
    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"{args.out}: the output folder is a file")
    from cadwright.inference.pipeline import Reconstructor

    entries: list[Entry] = []
    with (
        Reconstructor(args.model, tokenizer=args.tokenizer, device=args.device) as reconstructor,
        progress_bar(len(tasks), bar_format=BAR) as bar,
    ):
        for number, task in enumerate(tasks):

            def show(what: str, share: float, name: str = task.name, number: int = number) -> None:
                bar.set_description_str(f"{name}: {what}", refresh=False)
                bar.n = number + share
                bar.refresh()

            entry = _do_part(reconstructor, task, args, show)
            if isinstance(entry, BaseException):
                bar.clear()
                entry = {"part": task.label, "error": print_error(entry, about=task.label)}
            elif not args.json:
                bar.write(_summary(entry))
            entries.append(entry)
    return end_parts(entries, as_json=args.json)


def read_tasks(parts: list[Path], views: list[list[Path]], texts: list[str]) -> list[Task]:
    """What the words of the command line ask for, each part with a name of its own.

    Raises:
        InputError: there is nothing, or a part has not four views.
    """
    for pictures in views:
        if len(pictures) != NUM_VIEWS:
            raise InputError(f"--views: there must be {NUM_VIEWS} pictures, not {len(pictures)}")
    if not (parts or views or texts):
        raise InputError("nothing to reconstruct: name files, or use --views or --text")
    from cadwright.inference.prompt import words_to_name

    labels = [*map(str, parts), *(str(first) for first, *_ in views), *texts]
    stems = [*(part.stem for part in parts), *(first.stem for first, *_ in views)]
    names = part_names([*stems, *map(words_to_name, texts)])
    given: list[dict[str, Any]] = [{"source": part} for part in parts]
    given += [{"views": pictures} for pictures in views] + [{"text": text} for text in texts]
    return [Task(*row) for row in zip(labels, names, given, strict=True)]


def part_names(stems: list[str]) -> list[str]:
    """One name for each part: its file's, numbered where several have the same."""
    names: list[str] = []
    for stem in stems:
        name, number = stem or "part", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


def _do_part(
    reconstructor: Reconstructor, task: Task, args: argparse.Namespace, show: Progress
) -> Entry | CadwrightError | MemoryError:
    """One part: its report, or what went wrong.

    Raises:
        CheckpointError, MissingDependencyError: no other part would fare better.
    """
    try:
        result: Reconstruction = reconstructor.reconstruct(
            **task.given, candidates=args.candidates, budget_s=args.budget, seed=args.seed,
            name=task.name, out=args.out, progress=show,
        )  # fmt: skip
    except (CheckpointError, MissingDependencyError):
        raise
    except (CadwrightError, MemoryError) as error:
        return error
    folder = args.out / result.name
    return {"part": task.label, "folder": str(folder), "report": result.report}


def _summary(entry: Entry) -> str:
    """One line for a person."""
    report = entry["report"]
    bodies, source = report["program"]["bodies"], report["source"].replace("_", " ")
    if report["deviation"] is None:
        fit = f"{report['chosen_fit']:.3f} by {report['chosen_by'].split(':')[0]}"
        words = [fit, f"{bodies} bodies", f"by {source}", report["iou_note"]]
    else:
        away, share = report["deviation"], 100 / report["size"]
        fit = "no IoU" if report["iou"] is None else f"IoU {report['iou']:.3f}"
        mean = f"mean deviation {away['mean']:.3g} ({away['mean'] * share:.2g} % of the size)"
        words = [fit, mean, f"{bodies} bodies", f"by {source}"]
        words += [report["iou_note"]] if report["iou_note"] else []
    return f"{report['name']}: {', '.join(words)} -> {entry['folder']}"
