"""Programs that do not build -> the same programs without the bodies that are to blame.

In: candidate texts. Out: texts of what is left, for where none of the candidates builds as it was
written: a long program fails as a whole for one outline that crosses itself. Not covered: texts
that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable

from cadwright.errors import ProgramError
from cadwright.inference.search.cover import without_body
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program

MENDED = "no candidate builds as it was written, so bodies that do not build were left out"


def without_broken_bodies(texts: Iterable[str]) -> list[str]:
    """Leave out what does not build.

    Args:
        texts: as a model wrote them, none of which builds.
    Returns:
        One text for each of those that can be read and have a body that builds.
    """
    mended = []
    for text in texts:
        try:
            program = _mended(text_to_program(text))
        except ProgramError:
            continue
        if program is not None:
            mended.append(program_to_text(program))
    return mended


def _mended(program: Program) -> Program | None:
    """Body after body, the first that does not build on those before it is left out."""
    k = 0
    while k < len(program.bodies):
        if _builds(_first(program, k + 1)):
            k += 1
        elif len(program.bodies) == 1:
            return None
        else:
            program = without_body(program, k)
    return program


def _first(program: Program, count: int) -> Program:
    """The program up to some body."""
    for k in reversed(range(count, len(program.bodies))):
        program = without_body(program, k)
    return program


def _builds(program: Program) -> bool:
    return program.bodies[0].mode == "a" and program_to_mesh(program).mesh is not None
