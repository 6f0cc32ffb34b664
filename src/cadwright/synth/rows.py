"""Rows of a data set, drawn in order of their index: here, in worker processes, or on Ray.

In: a seed, what a row holds, and where to draw. Out: (index, row or None) without end, the same
for any place and number of workers, since a row is a function of seed and index alone. Work that
is lost with a worker on Ray is done again. Not covered: what becomes of the rows (``shards``).
"""

from __future__ import annotations

import io
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from cadwright.errors import InputError
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.optional import require
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.describe import STYLES, describe
from cadwright.synth.generate import sample_at
from cadwright.types import Sample

CHUNK = 16  # draws a worker makes before it hands them over
AHEAD = 4  # chunks per worker that may wait to be handed on
LOCAL = "local"  # the address that starts a cluster of this machine for one run


@dataclass(frozen=True, slots=True)
class RowContent:
    """What a row holds beside index and program.

    Attributes:
        num_points: P.
        views: the published four views as one PNG picture.
        words: a description in each of ``STYLES``.
    """

    num_points: int
    views: bool = False
    words: bool = False


class Row(NamedTuple):
    """One sample as it goes to disk; ``views`` is a PNG file's bytes, ``words`` one a style."""

    sample: Sample
    views: bytes | None = None
    words: tuple[str, ...] | None = None


Drawn = tuple[int, Row | None]
Chunk = list[Drawn]


def draw_row(seed: int, index: int, content: RowContent) -> Row | None:
    """Row ``index`` of stream ``seed``; None where the draw failed.

    Raises:
        MissingDependencyError: views are wanted and numba is not installed.
    """
    sample = sample_at(seed, index, num_points=content.num_points)
    if sample is None:
        return None
    words = None
    if content.words:
        program = text_to_program(sample.text)
        words = tuple(describe(program, style=style, seed=index) for style in STYLES)
    return Row(sample, _views(sample.text) if content.views else None, words)


def _views(text: str) -> bytes:
    from PIL import Image

    mesh = program_to_mesh(text_to_program(text)).mesh
    if mesh is None:
        raise AssertionError(f"a drawn program cannot be built: {text}")
    picture = mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds)))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


def _draw_chunk(first: int, *, seed: int, content: RowContent) -> Chunk:
    return [(index, draw_row(seed, index, content)) for index in range(first, first + CHUNK)]


class DrawnRows:
    """Context: (index, row or None) in order of index, without end.

    Args:
        seed: of the stream.
        first: index of the first draw.
        content: what a row holds.
        workers: processes, here or on the cluster; 1 draws in this process, and on a cluster 0
            takes all of its processors.
        ray: address of a Ray cluster, "auto" or "local"; None for this machine without Ray.
    """

    def __init__(
        self, seed: int, first: int, content: RowContent, *, workers: int, ray: str | None = None
    ) -> None:
        self.draw = partial(_draw_chunk, seed=seed, content=content)
        self.first, self.workers, self.address = first, workers, ray
        self._pool: Any = None
        self._ray: Any = None

    def __enter__(self) -> Iterator[Drawn]:
        """Start the workers, if any.

        Raises:
            InputError: there is no Ray cluster at the address.
            MissingDependencyError: ray is wanted and not installed.
        """
        if self.address is not None:
            return self._flat(*self._on_ray(self.address))
        if self.workers == 1:
            chunks = count(self.first, CHUNK)
            return (drawn for first in chunks for drawn in self.draw(first))
        self._pool = multiprocessing.get_context("spawn").Pool(self.workers)
        return self._flat(
            lambda first: self._pool.apply_async(self.draw, (first,)),
            lambda job: job.get(),
            self.workers,
        )

    def _on_ray(self, address: str) -> tuple[Callable[[int], Any], Callable[[Any], Chunk], int]:
        ray = self._ray = require("ray", extra="ray")
        try:
            if address == LOCAL:
                num = self.workers or None
                ray.init(num_cpus=num, include_dashboard=False, log_to_driver=False)
            else:
                ray.init(address=address, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            self._ray = None
            reason = " ".join(str(error).split())
            raise InputError(f"no Ray cluster at {address!r}: {reason}") from error
        # a chunk that is lost with its node is drawn again elsewhere, however often
        task = ray.remote(num_cpus=1, max_retries=-1)(self.draw.func)
        workers = self.workers or int(ray.cluster_resources().get("CPU", 1))
        return partial(task.remote, **self.draw.keywords), ray.get, workers

    def _flat(
        self, submit: Callable[[int], Any], collect: Callable[[Any], Chunk], workers: int
    ) -> Iterator[Drawn]:
        """Chunks in order, a bounded number of them ahead."""
        waiting: deque[Any] = deque()
        for first in count(self.first, CHUNK):
            waiting.append(submit(first))
            if len(waiting) >= workers * AHEAD:
                yield from collect(waiting.popleft())

    def __exit__(self, *exception: object) -> None:
        """End the workers, whatever they are at."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()
        if self._ray is not None:
            self._ray.shutdown()
