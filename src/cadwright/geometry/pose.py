"""A part in an arbitrary pose -> the rotation that puts its own axes along x, y and z.

In: directions of its surface with their areas. Out: a rotation, or None where the part stands
straight already or shows no three axes at right angles to each other. Made parts have most of
their area across few directions; the frame is sought that most of the area is along. Not
covered: which axis should be up: of the 24 ways the one nearest to the given pose is taken.
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from cadwright.types import FloatArray

SHARP = np.cos(np.deg2rad(6.0))  # normals within this of an axis count as along it
LEAST_SHARE = 0.3  # of the area that must be along the axes found
BETTER = 1.1  # by how much more area than along x, y and z, so that a part is turned at all
NUM_TRIED = 12  # normals drawn, and as many of the largest areas
MOST_NORMALS = 3000
ROUNDS = 5


def find_axes(
    normals: FloatArray, areas: FloatArray, *, straight_degrees: float = 0.3, seed: int = 0
) -> FloatArray | None:
    """Find the axes of a part.

    Args:
        normals: (N, 3) unit, of either sign.
        areas: (N,) what each stands for.
        straight_degrees: a part turned by less than this is left as it is.
        seed: of the normals tried.

    Returns:
        (3, 3) rotation R, ``points @ R.T`` stand straight; None if they do already, or if too
        little of the surface is along any three axes.
    """
    kept = areas > 0
    if not kept.any():
        return None
    normals, areas = normals[kept], areas[kept] / areas[kept].sum()
    rng = np.random.default_rng([seed, 17])
    if len(normals) > MOST_NORMALS:
        chosen = rng.choice(len(normals), MOST_NORMALS, p=areas)
        normals, areas = normals[chosen], np.full(MOST_NORMALS, 1 / MOST_NORMALS)
    tried = rng.choice(len(normals), min(NUM_TRIED, len(normals)), replace=False)
    heavy = np.argsort(-areas, kind="stable")[:NUM_TRIED]
    best, most = np.eye(3), _along(np.eye(3), normals, areas)
    start = most
    for first in np.unique(np.concatenate([tried, heavy])).tolist():
        frame = _frame(normals[first], normals, areas)
        share = _along(frame, normals, areas)
        if share > most + 1e-6:
            best, most = frame, share
    if most < LEAST_SHARE or most < BETTER * start:
        if start < LEAST_SHARE:
            return None
        best = _settled(np.eye(3), normals, areas)  # off its axes by a few degrees at most
    frame = _nearest_to_given(best)
    angle = np.rad2deg(np.arccos(np.clip((np.trace(frame) - 1) / 2, -1, 1)))
    return frame if angle > straight_degrees else None


def _along(frame: FloatArray, normals: FloatArray, areas: FloatArray) -> float:
    """Share of the area along the rows of a frame, the more exactly the more it counts."""
    cosines = np.abs(normals @ frame.T).max(axis=1)
    return float(areas @ np.clip((cosines - SHARP) / (1 - SHARP), 0, 1))


def _frame(first: FloatArray, normals: FloatArray, areas: FloatArray) -> FloatArray:
    """The best frame with one axis near ``first``."""
    across = normals - np.outer(normals @ first, first)
    lengths = np.linalg.norm(across, axis=1)
    flat = lengths > 0.98
    if flat.any():
        heading = across[flat] / lengths[flat, None]
        second = heading[np.argmax(_crowd(heading, areas[flat]))]
    else:  # nothing at right angles: any second axis does
        second = np.eye(3)[np.argmin(np.abs(first))]
        second = second - (second @ first) * first
        second /= np.linalg.norm(second)
    return _settled(np.stack([first, second, np.cross(first, second)]), normals, areas)


def _crowd(headings: FloatArray, areas: FloatArray) -> FloatArray:
    """How much area is near each heading, of a few hundred at most."""
    step = max(1, len(headings) // 300)
    near = np.abs(headings[::step] @ headings.T) > SHARP
    crowd = np.zeros(len(headings))
    crowd[::step] = near @ areas
    return crowd


def _settled(frame: FloatArray, normals: FloatArray, areas: FloatArray) -> FloatArray:
    """Turn a frame to the middle of the normals near its axes."""
    for _ in range(ROUNDS):
        cosines = normals @ frame.T
        nearest = np.abs(cosines).argmax(axis=1)
        rows = np.arange(len(normals))
        chosen = cosines[rows, nearest]
        near = np.abs(chosen) > SHARP
        signed = normals[near] * np.sign(chosen[near])[:, None]
        pull = np.stack(
            [
                (signed * (areas[near] * (nearest[near] == axis))[:, None]).sum(axis=0)
                for axis in range(3)
            ]
        )
        u, _, v = np.linalg.svd(pull + 1e-9 * frame)
        frame = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v
    return np.asarray(frame)


def _nearest_to_given(frame: FloatArray) -> FloatArray:
    """The same axes in the order and with the signs that turn the part least."""
    best, most = frame, -np.inf
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turned = frame[list(order)] * np.array(signs)[:, None]
            if np.linalg.det(turned) > 0 and np.trace(turned) > most:
                best, most = turned, float(np.trace(turned))
    return best
