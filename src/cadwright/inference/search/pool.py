"""Programs on their way through a search, with their scores and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass

from cadwright.inference.search.objective import Objective
from cadwright.program.grammar import Program, numbers


@dataclass(slots=True)
class Entry:
    """A program in the pool.

    Attributes:
        program: PROGRAM frame.
        score: its fit by the objective used last.
        price: of one of its numbers, as a share of the fit.
        from_slices: whether it began without the model's candidates.
        read_off: whether its numbers are those that were read off the target, not moved since.
    """

    program: Program
    score: float
    price: float
    from_slices: bool = False
    read_off: bool = False

    @property
    def value(self) -> float:
        """Fit less the price of length: of two equal fits the shorter program wins."""
        return worth(self.program, self.score, price=self.price)


def worth(program: Program, score: float, *, price: float) -> float:
    """Fit less the price of length, each number at ``price``."""
    return score - price * sum(1 for _ in numbers(program))


def score_all(programs: list[Program], objective: Objective, *, price: float) -> list[Entry]:
    """Programs that mean something, best first."""
    pool = [Entry(program, objective.score(program), price) for program in programs]
    return sorted((entry for entry in pool if entry.score > 0), key=lambda entry: -entry.value)
