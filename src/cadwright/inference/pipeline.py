"""Anything in -> Reconstruction out: the one entry for command line, Python and notebooks.

In: a path, mesh or points in the USER frame. Out: an editable program, an exact solid and a
report in that same frame. Stages: read, prepare, decode, rank, search, exact, measure. Not
covered: how each stage works, which the module of its name says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cadwright.inference.candidates import Candidate, read_candidates
from cadwright.inference.clock import Progress, StageClock
from cadwright.inference.exact import build_best, describe_program
from cadwright.inference.report import (
    UNIT_NOTE,
    describe_candidates,
    describe_search,
    measure,
    versions,
)
from cadwright.inference.result import Reconstruction
from cadwright.inference.search import SearchResult, search
from cadwright.inference.target import (
    PartSource,
    PreparedTarget,
    prepare,
    read_part,
    shape_to_point_sets,
)
from cadwright.optional import require
from cadwright.program.program_to_solid import ExactKernel
from cadwright.types import Outcome

if TYPE_CHECKING:
    from cadwright.inference.decode import Decoder

EMBEDDED = "embedded"  # the model that comes with the package
# Search prefers shorter programs, so its winner may be a little worse by IoU alone.
PRICE_OF_BREVITY = 0.005


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Programs for the exact kernel, the best first, and how they were found."""

    ranked: list[Candidate]
    outcomes: dict[Outcome, int]
    search: dict[str, Any]


class Reconstructor:
    """A model and a started kernel, kept for any number of parts. A context manager.

    Args:
        model: 'embedded', a folder, a Hub id, or a ``Decoder`` that is already loaded.
        tokenizer: its folder or Hub id, where the model's folder has none (the published
            CAD-Recode weights: 'Qwen/Qwen2-1.5B').
        device: 'auto' (a GPU if there is one), 'cpu', 'cuda', ...
        timeout_s: limit of one exact build.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Decoder = EMBEDDED,
        *,
        tokenizer: str | os.PathLike[str] | None = None,
        device: str = "auto",
        timeout_s: float = 30.0,
    ) -> None:
        own = not isinstance(model, (str, os.PathLike))
        self.model = "own" if own else os.fspath(model)  # type: ignore[arg-type]
        self.device = device
        self.tokenizer = None if tokenizer is None else os.fspath(tokenizer)
        self._decoder: Decoder | None = model if own else None  # type: ignore[assignment]
        self.kernel = ExactKernel(timeout_s=timeout_s)
        # OpenCASCADE takes seconds to import, and so does torch: side by side, then.
        self.kernel.warm_up()

    def load(self) -> Decoder:
        """The model, loaded if it was not yet; ``reconstruct`` does this once it has a part.

        Raises:
            CheckpointError: the model is incomplete, cannot be had, or not go to the device.
            MissingDependencyError: torch or transformers is not installed.
        """
        if self._decoder is None:
            for package in ("torch", "transformers"):
                require(package, extra="model")
            from cadwright.inference.decode import Decoder, embedded_folder

            folder = embedded_folder() if self.model == EMBEDDED else self.model
            self._decoder = Decoder.load(folder, device=self.device, tokenizer=self.tokenizer)
        return self._decoder

    def __enter__(self) -> Reconstructor:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the kernel's process."""
        self.kernel.close()

    def reconstruct(
        self,
        source: PartSource,
        *,
        candidates: int = 16,
        budget_s: float = 5.0,
        seed: int = 0,
        name: str | None = None,
        out: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> Reconstruction:
        """Reconstruct one part.

        Args:
            source: a path (STL, OBJ, PLY, OFF, GLB, STEP, XYZ, TXT, CSV, NPY), a Mesh, a
                trimesh object, or an (N, 3) array of points. USER frame.
            candidates: programs decoded.
            budget_s: seconds of search; 0 switches it off.
            seed: fixes everything but how far search comes in its time.
            name: of the part; by default the file's.
            out: folder in which the folder ``name`` is written; None writes nothing.
            progress: called with what is being done and how far the whole is, in [0, 1].
        Returns:
            The reconstruction, in the USER frame.
        Raises:
            InputError, GeometryError: the part cannot be used, or ``out`` not be written.
            CheckpointError, MissingDependencyError: as ``load``.
            CadwrightError: no program could be built exactly, not even the bounding box.
        """
        clock = StageClock(progress, budget_s)
        with clock("read"):
            shape = read_part(source, name=name, step_reader=self.kernel.step_to_mesh)
        with clock("prepare"):
            target = prepare(shape, seed=seed)
        with clock("load"):
            decoder = self.load()
        found = _find(target, decoder, candidates, budget_s, seed, clock)
        with clock("exact"):
            built, attempts = build_best(found.ranked, target, self.kernel)
        with clock("measure"):
            figures = measure(shape, built.mesh, no_iou=target.scorer.reason, seed=seed)
        report = {
            "name": shape.name,
            "input": os.fspath(source) if isinstance(source, (str, os.PathLike)) else None,
            "kind": shape.kind,
            "unit": UNIT_NOTE,
            "source": built.candidate.source,
            **figures,
            "candidates": describe_candidates(found.outcomes),
            "search": found.search,
            "exact": attempts,
            "program": describe_program(built),
            "seed": seed,
            "model": self.model,
            "device": str(decoder.device),
            "versions": versions(),
            "seconds": clock.seconds,
        }
        program, user, mesh = built.candidate.program, built.user, built.mesh
        result = Reconstruction(shape.name, shape, program, user, mesh, built.step, report)
        if out is not None:
            result.save(out)
        if progress is not None:
            progress("done", 1.0)
        return result


def reconstruct(
    source: PartSource,
    *,
    model: str | os.PathLike[str] = EMBEDDED,
    tokenizer: str | os.PathLike[str] | None = None,
    candidates: int = 16,
    budget_s: float = 5.0,
    seed: int = 0,
    device: str = "auto",
    name: str | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct one part with a model loaded for it; for several use ``Reconstructor``.

    Arguments and errors are those of ``Reconstructor`` and ``Reconstructor.reconstruct``.
    """
    with Reconstructor(model, tokenizer=tokenizer, device=device) as reconstructor:
        return reconstructor.reconstruct(
            source, candidates=candidates, budget_s=budget_s, seed=seed, name=name, out=out,
            progress=progress,
        )  # fmt: skip


def _find(
    target: PreparedTarget,
    decoder: Decoder,
    candidates: int,
    budget_s: float,
    seed: int,
    clock: StageClock,
) -> _Found:
    """Decode, rank and search."""
    with clock("decode"):
        # As many point sets as samples of each: 16 candidates are 4 sets of 1 greedy and 3.
        point_sets = shape_to_point_sets(
            target.inner,
            num_sets=max(1, round(candidates**0.5)),
            num_points=decoder.num_points,
            seed=seed,
        )
        texts = decoder.decode(point_sets, num_candidates=candidates, seed=seed)
    with clock("rank"):
        ranked, outcomes = read_candidates(texts, target.scorer)
    found, start_fit = None, _first_fit(ranked)
    if budget_s > 0:
        with clock("search"):
            programs = [one.program for one in ranked]
            found = search(target.search_target, programs, budget_s, seed, clock.inside)
            ranked = _with_search(ranked, found, target)
    facts = describe_search(found, budget_s, start_fit=start_fit, end_fit=_first_fit(ranked))
    return _Found(ranked, outcomes, facts)


def _first_fit(ranked: list[Candidate]) -> float | None:
    return ranked[0].fit if ranked else None


def _with_search(
    ranked: list[Candidate], found: SearchResult | None, target: PreparedTarget
) -> list[Candidate]:
    """Put search's winner first, unless the scorer finds it worse than the best candidate."""
    if found is None or any(found.program == one.program for one in ranked[:1]):
        return ranked
    winner = target.scorer.candidate(found.program, "search")
    if not isinstance(winner, Candidate):
        return ranked
    slack = PRICE_OF_BREVITY if target.scorer.is_solid else 0.0
    if ranked and winner.fit < ranked[0].fit - slack:
        return ranked
    return [winner, *ranked]
