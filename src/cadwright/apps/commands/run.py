"""``cadwright run PROGRAM.py --out X.step``: a program's text to a solid, without executing it.

In: a text of the CAD-Recode dialect, also a part.py. Out: a STEP or STL file in the program's
own lengths, whole or not at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadwright.errors import CadwrightError, InputError, ProgramError

if TYPE_CHECKING:
    from cadwright.program.program_to_user import UserProgram
    from cadwright.types import BuildResult

STEP_SUFFIXES, STL_SUFFIXES = (".step", ".stp"), (".stl",)


def add_to(verbs: Any) -> None:
    """Describe the command to argparse."""
    parser = verbs.add_parser(
        "run",
        help="build a program: PROGRAM.py to STEP or STL",
        description="Build a program of the CAD-Recode dialect. Its text is read, never executed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("program", metavar="PROGRAM.py", type=Path)
    parser.add_argument(
        "--out", required=True, metavar="FILE", type=Path, help="a .step, .stp or .stl file"
    )
    parser.add_argument(
        "--kernel",
        choices=("exact", "fast"),
        default="exact",
        help="OpenCASCADE, or manifold3d (STL only)",
    )
    parser.set_defaults(execute=execute)  # fmt: skip


def execute(args: argparse.Namespace) -> int:
    """Read, build, write.

    Raises:
        InputError: a file cannot be read or written, or its suffix fits no format.
        CadwrightError: the text is not a program, or gives no solid.
    """
    suffix = args.out.suffix.lower()
    if suffix not in STEP_SUFFIXES + STL_SUFFIXES:
        raise InputError(f"{args.out}: the output must end in .step, .stp or .stl")
    if suffix in STEP_SUFFIXES and args.kernel == "fast":
        raise InputError(f"{args.out}: the fast kernel makes meshes only, so write an .stl file")
    user = _read(args.program)
    built = _build(user, args.out if suffix in STEP_SUFFIXES else None, args.kernel)
    if built.mesh is None:
        raise CadwrightError(f"{args.program}: {built.outcome.value}: {built.message}")
    if suffix in STL_SUFFIXES:
        from cadwright.geometry.frames import normalise
        from cadwright.geometry.stl import save_stl

        mesh = built.mesh if user.rest is None else normalise(built.mesh, user.rest)
        save_stl(mesh, args.out)
    print(f"{args.program}: volume {built.volume:.6g}, {built.seconds:.3g} s -> {args.out}")
    return 0


def _read(path: Path) -> UserProgram:
    from cadwright.program.program_to_user import text_to_user_program

    try:
        return text_to_user_program(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is not a text file") from error
    except ProgramError as error:
        raise CadwrightError(f"{path}: {error}") from error


def _build(user: UserProgram, step_path: Path | None, kernel: str) -> BuildResult:
    if kernel == "fast":
        from cadwright.program.program_to_mesh import program_to_mesh

        return program_to_mesh(user.program)
    from cadwright.program.program_to_solid import ExactKernel

    placement = user.rest if step_path is not None else None
    with ExactKernel() as exact:
        return exact.build(user.program, step_path=step_path, placement=placement)
