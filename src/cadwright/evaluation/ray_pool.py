"""The pool of ``pool`` on a Ray cluster, for folders that outgrow one machine.

In: parts, whose paths every node must see (a shared file system). Out: the same rows, as they get
done. Each actor keeps one local worker, so the limits on time and memory are those of ``pool``.
Batches that are lost with their node are done again by Ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from cadwright.errors import InputError
from cadwright.evaluation.pool import LocalPool, Row
from cadwright.evaluation.predictions import Part
from cadwright.evaluation.scoring import ScoringOptions, json_to_part, part_to_json
from cadwright.optional import require

BATCH = 32  # parts a call
LOCAL = "local"


class _Node:
    """What an actor holds: one worker under limits."""

    def __init__(self, options: ScoringOptions) -> None:
        self._pool = LocalPool(options)

    def rows(self, batch: list[dict[str, Any]]) -> list[Row]:
        """Score a batch of parts."""
        return list(self._pool.rows(json_to_part(values) for values in batch))


class RayPool:
    """Actors of a Ray cluster. A context manager.

    Args:
        options: what the numbers depend on, and the limits.
        address: of the cluster, "auto", or "local" for one that is started for this run.
        num_workers: actors; 0 for as many as the cluster has CPUs.
    """

    def __init__(self, options: ScoringOptions, *, address: str, num_workers: int) -> None:
        self._options, self._address, self._num_workers = options, address, num_workers
        self._ray: Any = None
        self._started = False

    def __enter__(self) -> RayPool:
        """Connect.

        Raises:
            InputError: there is no cluster at that address.
            MissingDependencyError: ray is not installed.
        """
        ray = self._ray = require("ray", extra="ray")
        if not ray.is_initialized():
            try:
                if self._address == LOCAL:
                    count = self._num_workers or None
                    ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False)
                else:
                    ray.init(address=self._address, log_to_driver=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = " ".join(str(error).split())
                raise InputError(f"no Ray cluster at {self._address!r}: {reason}") from error
            self._started = True
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._started:
            self._ray.shutdown()

    def rows(self, parts: Iterable[Part]) -> Iterator[Row]:
        """Score parts; as ``LocalPool.rows``."""
        ray = self._ray
        count = self._num_workers or int(ray.cluster_resources().get("CPU", 1))
        node = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(_Node)
        actors = [node.remote(self._options) for _ in range(count)]
        pool = require("ray.util", extra="ray").ActorPool(actors)
        found = pool.map_unordered(lambda actor, batch: actor.rows.remote(batch), _batches(parts))
        for batch in found:
            yield from batch
        for actor in actors:
            ray.kill(actor)

    def pictures(self, pairs: Iterable[tuple[Part, Path]]) -> Iterator[tuple[Part, str]]:
        """Draw parts, on this machine; as ``LocalPool.pictures``."""
        with LocalPool(self._options) as local:
            yield from local.pictures(pairs)


def _batches(parts: Iterable[Part]) -> Iterator[list[dict[str, Any]]]:
    left = iter(parts)
    while batch := [part_to_json(part) for part in islice(left, BATCH)]:
        yield batch
