"""What bodies stand along each axis: what a warm-up can learn picture by picture.

In: a program of the generator. Out: (3, ``HINTS``) whole numbers: for each world axis how many
bodies of each kind are extruded along it, how many in all, the holes of their sketches, and whether
the largest is among them. An aligned model never sees them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cadwright.program.grammar import Program
from cadwright.synth.facts import KINDS, facts

BODIES, HOLES, MAIN = (len(KINDS) + k for k in range(3))
HINTS = len(KINDS) + 3
MOST_BODIES, MOST_HOLES = 3, 4  # along an axis; more are one class
TOLD = len(KINDS) + MOST_BODIES + 1 + MOST_HOLES + 1 + 1
"""Numbers that tell the hints of an axis: kinds, classes of both counts, if it is the main's."""


def program_to_hints(program: Program) -> NDArray[np.int8]:
    """(3, ``HINTS``) along the world's axes.

    Raises:
        InvalidShape: a sketch or body has no meaning.
    """
    known = facts(program)
    table = np.zeros((3, HINTS), dtype=np.int8)
    for number, body in enumerate(known.bodies):
        row = table[body.normal]
        row[KINDS.index(body.kind)] += 1
        row[BODIES] += 1
        row[HOLES] += len(body.holes)
        row[MAIN] |= number == known.main
    return table


def hint_loss(told: Tensor, hints: Tensor) -> Tensor:
    """How far a projector is from knowing the hints.

    Args:
        told: (B, 3, ``TOLD``).
        hints: (B, 3, ``HINTS``) whole numbers.
    """
    cuts = (len(KINDS), MOST_BODIES + 1, MOST_HOLES + 1, 1)
    kinds, bodies, holes, main = told.split(cuts, dim=2)
    hints = hints.long()
    is_there = (hints[..., : len(KINDS)] > 0).to(told.dtype)
    # Of eight kinds hardly one is there: their mean is small beside the other losses.
    loss = 4 * functional.binary_cross_entropy_with_logits(kinds, is_there)
    for scores, column, most in ((bodies, BODIES, MOST_BODIES), (holes, HOLES, MOST_HOLES)):
        wanted = hints[..., column].clamp(max=most)
        loss = loss + functional.cross_entropy(scores.flatten(0, 1), wanted.flatten())
    is_main = hints[..., MAIN].argmax(dim=1)
    return loss + functional.cross_entropy(main.squeeze(2), is_main)
