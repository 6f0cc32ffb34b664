"""Proposed bodies -> a program that covers the target: greedy, largest gain first.

In: a target's cells and bodies that lie inside it. Out: a program whose union
comes close to the target with few bodies. The gain of a body is the target's
cells it newly covers less the cells it wrongly fills, less a price for its
length: of two equal covers the shorter program wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from cadwright.geometry.voxels import Bits
from cadwright.inference.search.cells import Cells
from cadwright.inference.search.slices import Proposal
from cadwright.program.grammar import Body, Plane, Program, numbers
from cadwright.program.outline_to_body import on_plane
from cadwright.program.program_to_mesh import InvalidShape, body_to_manifold
from cadwright.program.program_to_voxels import add_body

PRICE_OF_A_NUMBER = 0.0004  # share of the target's volume that one more number must bring
SMALLEST_GAIN = 0.003  # share of the target's volume
MOST_BODIES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A proposal with the cells it fills.

    Attributes:
        proposal: the body.
        bits: its cells.
        price: of its length, as a share of the target.
        most: the share of the target that it covers alone.
    """

    proposal: Proposal
    bits: Bits
    price: float
    most: float


def proposals_to_blocks(
    proposals: Iterable[Proposal], target: Cells, *, over: Callable[[], bool] = lambda: False
) -> list[Block]:
    """Fill the cells of every proposal; those that mean nothing or nothing new are left out.

    Args:
        proposals: made one after the other.
        target: what is to be covered.
        over: asked before each; true ends it.
    """
    blocks: list[Block] = []
    seen: set[bytes] = set()
    for proposal in proposals:
        if over():
            break
        bits = target.grid.empty()
        try:
            body_to_manifold(proposal.body, proposal.plane)
            add_body(bits, proposal.body, proposal.plane, target.grid)
        except InvalidShape:
            continue  # a loop that crosses itself after rounding: no proposal
        key = bits.tobytes()
        if key not in seen and bits.any():
            seen.add(key)
            price = PRICE_OF_A_NUMBER * sum(1 for _ in numbers(proposal.body))
            most = target.weigh(bits & target.inside) / target.total if target.total else 0.0
            blocks.append(Block(proposal, bits, price, most))
    return blocks


def cover(
    target: Cells, blocks: list[Block], start: Bits, *, caution: float = 1.0
) -> list[Proposal]:
    """Bodies to add to what is already covered, ``MOST_BODIES`` at most.

    Args:
        target: cells of the target.
        blocks: what may be added.
        start: cells covered before.
        caution: price of a cell wrongly filled, in cells rightly filled. A union cannot take
            back, so caution saves holes; too much of it rejects bodies for a rounding.
    """
    covered = start
    chosen: list[Proposal] = []
    # A body covers ever less that is new, so what it could gain before it can never exceed again.
    bounds = np.array([block.most - block.price for block in blocks])
    while len(chosen) < MOST_BODIES:
        best, most = -1, SMALLEST_GAIN
        for k in np.argsort(-bounds, kind="stable").tolist():
            if bounds[k] <= most:
                break
            right, wrong = _new(blocks[k], target, covered)
            bounds[k] = right - blocks[k].price
            if bounds[k] - caution * wrong > most:
                best, most = k, bounds[k] - caution * wrong
        if best < 0:
            break
        chosen.append(blocks[best].proposal)
        covered = covered | blocks[best].bits
    return chosen


def _new(block: Block, target: Cells, covered: Bits) -> tuple[float, float]:
    """What a block adds, rightly and wrongly, as shares of the target."""
    new = block.bits & ~covered
    right = target.weigh(new & target.inside)
    return right / target.total, (target.weigh(new) - right) / target.total


def with_bodies(program: Program | None, proposals: list[Proposal]) -> Program:
    """The program with more bodies, planes shared where they are the same."""
    planes: list[Plane] = list(program.planes) if program else []
    bodies: list[Body] = list(program.bodies) if program else []
    for proposal in proposals:
        if proposal.plane not in planes:
            planes.append(proposal.plane)
        bodies.append(on_plane(proposal.body, planes.index(proposal.plane)))
    return Program(tuple(planes), tuple(bodies))


def without_body(program: Program, index: int) -> Program:
    """The program without one body; planes that nothing stands on go too."""
    bodies = tuple(body for k, body in enumerate(program.bodies) if k != index)
    return in_order_of_use(Program(program.planes, bodies))


def in_order_of_use(program: Program) -> Program:
    """The same solid with its planes in the order in which bodies stand on them, each once."""
    used = list(dict.fromkeys(program.planes[body.plane] for body in program.bodies))
    return Program(
        tuple(used),
        tuple(on_plane(body, used.index(program.planes[body.plane])) for body in program.bodies),
    )
