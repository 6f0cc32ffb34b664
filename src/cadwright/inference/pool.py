"""Programs on their way through a search, with their scores and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass

from cadwright.inference.cover import PRICE_OF_A_NUMBER
from cadwright.inference.objective import Objective
from cadwright.program.grammar import Program, numbers


@dataclass(slots=True)
class Entry:
    """A program in the pool.

    Attributes:
        program: PROGRAM frame.
        score: its fit by the objective used last.
        from_slices: whether it began without the model's candidates.
    """

    program: Program
    score: float
    from_slices: bool

    @property
    def value(self) -> float:
        """Fit less the price of length: of two equal fits the shorter program wins."""
        return worth(self.program, self.score)


def worth(program: Program, score: float) -> float:
    """Fit less the price of length."""
    return score - PRICE_OF_A_NUMBER * sum(1 for _ in numbers(program))


def score_all(programs: list[Program], objective: Objective) -> list[Entry]:
    """Programs that mean something, best first."""
    pool = [Entry(program, objective.score(program), False) for program in programs]
    return sorted((entry for entry in pool if entry.score > 0), key=lambda entry: -entry.value)
