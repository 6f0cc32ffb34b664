"""Anything in -> Reconstruction out: the one entry for command line, Python and notebooks.

In: a path, mesh or points in the USER frame; or a picture, or words. Out: an editable program, an
exact solid and a report, in that same frame. Stages: read, prepare, load, decode, rank, search,
exact, measure. Not covered: how each stage works, which the module of its name says.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cadwright.errors import InputError
from cadwright.geometry.mesh_io import Shape
from cadwright.inference.clock import Progress, StageClock, Watch
from cadwright.inference.embedded import InputKind, embedded_folder
from cadwright.inference.exact import Built, build_best, describe_program
from cadwright.inference.finding import Found, find_prompt, find_shape
from cadwright.inference.prompt import (
    Prompt,
    ViewsSource,
    is_picture,
    views_to_prompt,
    words_to_prompt,
)
from cadwright.inference.report import (
    NO_UNIT_NOTE,
    UNIT_NOTE,
    describe_candidates,
    leave_unmeasured,
    measure,
    versions,
)
from cadwright.inference.result import Reconstruction
from cadwright.inference.target import PartSource, prepare, read_part
from cadwright.optional import require
from cadwright.program.program_to_solid import ExactKernel

if TYPE_CHECKING:
    from cadwright.inference.decode import Decoder

EMBEDDED = "embedded"  # the models that come with the package


class Reconstructor:
    """A model and a started kernel, kept for any number of parts. A context manager.

    Args:
        model: 'embedded' (which one, the kind of input says), a folder, a Hub id, or a
            ``Decoder`` that is already loaded.
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
        self._own: Decoder | None = model if own else None  # type: ignore[assignment]
        self._decoders: dict[str, Decoder] = {}
        self.kernel = ExactKernel(timeout_s=timeout_s)
        # OpenCASCADE takes seconds to import, and so does torch: side by side, then.
        self.kernel.warm_up()

    def load(self, kind: InputKind = "points") -> Decoder:
        """The model, loaded if it was not yet; ``reconstruct`` does this once it has a part.

        Args:
            kind: of input, which matters where several models come with the package.
        Raises:
            InputError: no embedded model reads such input.
            CheckpointError: the model is incomplete, cannot be had, or not go to the device.
            MissingDependencyError: torch or transformers is not installed.
        """
        if self._own is not None:
            return self._own
        folder = os.fspath(embedded_folder(kind)) if self.model == EMBEDDED else self.model
        if folder not in self._decoders:
            for package in ("torch", "transformers"):
                require(package, extra="model")
            from cadwright.inference.decode import Decoder

            loaded = Decoder.load(folder, device=self.device, tokenizer=self.tokenizer)
            self._decoders[folder] = loaded
        return self._decoders[folder]

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
        source: PartSource | ViewsSource | None = None,
        *,
        views: ViewsSource | None = None,
        text: str | None = None,
        candidates: int = 16,
        budget_s: float = 5.0,
        seed: int = 0,
        name: str | None = None,
        out: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
        watch: Watch | None = None,
        steady: bool = False,
    ) -> Reconstruction:
        """Reconstruct one part from a shape, a picture or words.

        With a shape, candidates are ranked by distance to it and improved by search. With a
        picture they are ranked by drawing each and comparing the pictures; with words, by
        agreement among themselves; then there is no search, no distance is measured, and the
        result is in the PROGRAM frame: centred, longest side about 200.

        Args:
            source: a path (STL, OBJ, PLY, OFF, GLB, STEP, XYZ, TXT, CSV, NPY), a Mesh, a
                trimesh object, or an (N, 3) array of points, USER frame; or as ``views`` a
                picture (PNG, JPG, ..., a Pillow image or (H, W, 3) uint8).
            views: a picture of four views, two by two, or a sequence of the four; as
                ``geometry.mesh_to_views`` draws them.
            text: a description of the part.
            candidates: programs decoded.
            budget_s: seconds of search; 0 switches it off.
            seed: fixes everything but how far search comes in its time.
            name: of the part; by default the file's, or made of the first words.
            out: folder in which the folder ``name`` is written; None writes nothing.
            progress: called with what is being done and how far the whole is, in [0, 1].
            watch: called during search with the programs tried so far and the best fit.
            steady: search counts tries instead of seconds, so that the same seed gives the same
                part however busy the machine is.
        Returns:
            The reconstruction, in the USER frame.
        Raises:
            InputError, GeometryError: the part cannot be used, more than one of source, views
                and text is given, the model does not read it, or ``out`` cannot be written.
            CheckpointError, MissingDependencyError: as ``load``.
            CadwrightError: no program could be built exactly, not even the bounding box.
        """
        if sum(given is not None for given in (source, views, text)) > 1:
            raise InputError("a part is a shape, views or text: one of them")
        shown: Any = source if is_picture(source) else views
        flat = shown is not None or text is not None
        clock = StageClock(progress, 0.0 if flat else budget_s, watch=watch, steady=steady)
        given: Shape | Prompt
        with clock("read"):
            if text is not None:
                given = words_to_prompt(text, name=name)
            elif shown is not None:
                given = views_to_prompt(shown, name=name)
            else:
                given = read_part(source, name=name, step_reader=self.kernel.step_to_mesh)
        found, figures, built, record = self._build(given, candidates, budget_s, seed, clock)
        report = {
            "name": given.name,
            "input": text if text is not None else _paths(source if views is None else views),
            "kind": given.kind,
            "unit": NO_UNIT_NOTE if isinstance(given, Prompt) else UNIT_NOTE,
            "source": built.candidate.source,
            **figures,
            "chosen_by": found.chosen_by,
            "chosen_fit": built.fit,
            "candidates": describe_candidates(found.outcomes),
            "search": found.search,
            **record,
            "seed": seed,
            "model": self.model,
            "versions": versions(),
            "seconds": clock.seconds,
        }
        result = Reconstruction(
            given.name, given, built.candidate.program, built.user, built.mesh, built.step,
            report, found,
        )  # fmt: skip
        if out is not None:
            result.save(out)
        if progress is not None:
            progress("done", 1.0)
        return result

    def _build(
        self, given: Shape | Prompt, candidates: int, budget_s: float, seed: int, clock: StageClock
    ) -> tuple[Found, dict[str, Any], Built, dict[str, Any]]:
        """Programs, their figures, the exact solid, and what the report says of it."""
        if isinstance(given, Prompt):
            with clock("load"):
                decoder = self.load(given.kind)
            found = find_prompt(given, decoder, candidates=candidates, seed=seed, clock=clock)
            no_iou = ""
        else:
            with clock("prepare"):
                target = prepare(given, seed=seed)
            with clock("load"):
                decoder = self.load()
            found = find_shape(
                target, decoder, candidates=candidates, budget_s=budget_s, seed=seed, clock=clock
            )
            no_iou = target.scorer.reason
        with clock("exact"):
            built, attempts = build_best(found.ranked, found.goal, self.kernel)
        with clock("measure"):
            if isinstance(given, Prompt):
                figures = leave_unmeasured(given.kind, built.mesh, notes=found.notes)
            else:
                figures = measure(given, built.mesh, no_iou=no_iou, seed=seed)
        record = {
            "exact": attempts,
            "program": describe_program(built),
            "device": str(decoder.device),
        }
        return found, figures, built, record


def reconstruct(
    source: PartSource | ViewsSource | None = None,
    *,
    views: ViewsSource | None = None,
    text: str | None = None,
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
            source, views=views, text=text, candidates=candidates, budget_s=budget_s, seed=seed,
            name=name, out=out, progress=progress,
        )  # fmt: skip


def _paths(given: Any) -> str | list[str | None] | None:
    """The names of files that were handed in; None for what came otherwise."""
    if isinstance(given, (list, tuple)):
        return [os.fspath(one) if isinstance(one, (str, os.PathLike)) else None for one in given]
    return os.fspath(given) if isinstance(given, (str, os.PathLike)) else None
