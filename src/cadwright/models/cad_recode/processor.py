"""Meshes or points, and programs, to what CADRecode reads; and its token ids to texts.

In: meshes in any frame or points in the MODEL frame, and optionally program texts.
Out: input_ids, attention_mask, point_cloud and, with programs, labels.
Not covered: parsing the texts that come back, and augmenting points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from cadwright.errors import InputError
from cadwright.models.cad_recode.config import CADRecodeConfig
from cadwright.models.layers.clouds import as_clouds, check_points
from cadwright.models.layers.marks import NO_LOSS, PADDING, POINT_MARK, TOKEN
from cadwright.types import Mesh


@dataclass(frozen=True, slots=True)
class _Markers:
    """The ids that frame a program. Padding may be the same id as the end."""

    start: int
    end: int
    pad: int


class CADRecodeProcessor(ProcessorMixin):
    """Builds prompts ``[points] start program end`` and reads programs back.

    Where the tokenizer names its own first token, that token, its end and its padding are
    used (the compact program vocabulary). Otherwise it must be a Qwen2 vocabulary, and the
    published convention holds: ``<|im_start|>``, ``<|endoftext|>``, and the latter again
    as padding. Since end and padding can be one id, masks come from lengths, never from ids.

    Args:
        tokenizer: any tokenizer of transformers.
        num_points: P, how many points each prompt holds.

    Raises:
        InputError: the tokenizer has no start, end or padding token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, num_points: int = 256) -> None:
        super().__init__(tokenizer)
        self.num_points = num_points
        self._markers = _find_markers(tokenizer)

    @property
    def start_token_id(self) -> int:
        """The id that stands between points and program."""
        return self._markers.start

    @property
    def end_token_id(self) -> int:
        """The id that ends a program."""
        return self._markers.end

    @property
    def pad_token_id(self) -> int:
        """The id at points and padding; may equal ``end_token_id``."""
        return self._markers.pad

    @property
    def model_input_names(self) -> list[str]:
        """The names of what ``__call__`` returns for a prompt."""
        return ["input_ids", "attention_mask", "point_cloud"]

    def __call__(
        self,
        meshes: Mesh | Sequence[Mesh] | None = None,
        points: ArrayLike | Sequence[ArrayLike] | None = None,
        programs: str | Sequence[str] | None = None,
        *,
        return_tensors: str | None = "pt",
        seed: int | Sequence[int] = 0,
        padding_side: Literal["left", "right"] = "left",
    ) -> BatchFeature:
        """Make a batch of prompts, or of prompts with their programs for training.

        Args:
            meshes: one mesh or B meshes, any frame; centred and scaled here.
            points: (P, 3), (B, P, 3) or B arrays (P, 3), MODEL frame.
            programs: one text or B texts; without them the batch is a prompt for
                ``generate``, with them it has labels.
            return_tensors: "pt", "np", or None for lists.
            seed: fixes the surface samples; mesh i takes ``seed + i``, so that one mesh
                given ten times is sampled in ten ways. A sequence gives each its own.
            padding_side: left as ``generate`` wants it; right is faster in training.

        Returns:
            input_ids (B, T), attention_mask (B, T) with 1 at tokens, -1 at points and 0 at
            padding, point_cloud (B, P, 3) float32 MODEL frame, and with programs labels
            (B, T), which are -100 before the first token of the program and at padding.

        Raises:
            InputError: not exactly one of meshes and points; a wrong number or shape of
                either; points that are not finite or not in the MODEL frame.
            GeometryError: a mesh has no surface.
        """
        if (meshes is None) == (points is None):
            raise InputError("the processor takes either meshes or points, and one of them")
        if points is not None:
            clouds = [check_points(cloud, self.num_points) for cloud in as_clouds(points)]
        else:
            assert meshes is not None
            meshes = [meshes] if isinstance(meshes, Mesh) else list(meshes)
            clouds = self._sample(meshes, seed)
        texts = [programs] if isinstance(programs, str) else programs
        if not clouds or (texts is not None and len(texts) != len(clouds)):
            raise InputError(
                f"there must be one program for each shape, and at least one shape, not "
                f"{0 if texts is None else len(texts)} programs and {len(clouds)} shapes"
            )
        rows = [[]] * len(clouds) if texts is None else self._tokenize(list(texts))
        batch = self._lay_out(rows, with_labels=texts is not None, side=padding_side)
        return BatchFeature(batch | {"point_cloud": np.stack(clouds)}, tensor_type=return_tensors)

    def batch_decode(
        self, token_ids: ArrayLike, prompt_length: int | None = None, **_: Any
    ) -> list[str]:
        """Program texts of generated sequences, cut at markers, otherwise untouched.

        Args:
            token_ids: (B, T) ids as ``generate`` returns them, or B rows of ids.
            prompt_length: how many ids of each row to skip; None to skip up to and with
                the first start token, or nothing where a row has none.

        Returns:
            B texts.
        """
        return [self.decode(row, prompt_length) for row in token_ids]  # type: ignore[union-attr]

    def decode(self, token_ids: ArrayLike, prompt_length: int | None = None, **_: Any) -> str:
        """The program text of one sequence (T,); see ``batch_decode``."""
        # A list, because ids may be a tensor on a GPU, for which numpy has no conversion.
        row = token_ids.tolist() if hasattr(token_ids, "tolist") else list(token_ids)  # type: ignore[arg-type]
        marks = self._markers
        if prompt_length is None:
            prompt_length = row.index(marks.start) + 1 if marks.start in row else 0
        row = row[prompt_length:]
        stops = {marks.start, marks.end, marks.pad}
        length = next((i for i, token in enumerate(row) if token in stops), len(row))
        text: str = self.tokenizer.decode(
            row[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _sample(
        self, meshes: Sequence[Mesh], seed: int | Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """(P, 3) points in the MODEL frame on each mesh."""
        # Here, because sampling pulls in libraries that decoding and training do not need.
        from cadwright.geometry.frames import normalise, placement_to_model
        from cadwright.geometry.mesh_to_points import mesh_to_points

        seeds = [seed + i for i in range(len(meshes))] if isinstance(seed, int) else list(seed)
        if len(seeds) != len(meshes):
            raise InputError(f"{len(meshes)} meshes need as many seeds, not {len(seeds)}")
        clouds = []
        for mesh, own_seed in zip(meshes, seeds, strict=True):
            placed = normalise(mesh, placement_to_model(mesh.bounds))
            clouds.append(mesh_to_points(placed, num_points=self.num_points, seed=own_seed))
        return clouds

    def _tokenize(self, programs: list[str]) -> list[list[int]]:
        """The ids of each program and the end token."""
        ids = self.tokenizer(programs, add_special_tokens=False)["input_ids"]
        return [[*row, self._markers.end] for row in ids]

    def _lay_out(
        self, rows: list[list[int]], *, with_labels: bool, side: str
    ) -> dict[str, NDArray[np.int64]]:
        """Points, start token and program of each row in one padded rectangle."""
        prompt = self.num_points + 1
        width = prompt + max(len(row) for row in rows)
        shape = (len(rows), width)
        ids = np.full(shape, self._markers.pad, dtype=np.int64)
        mask = np.full(shape, PADDING, dtype=np.int64)
        labels = np.full(shape, NO_LOSS, dtype=np.int64)
        for i, row in enumerate(rows):
            first = width - prompt - len(row) if side == "left" else 0
            text = slice(first + prompt, first + prompt + len(row))
            ids[i, first + self.num_points] = self._markers.start
            ids[i, text] = labels[i, text] = row
            mask[i, first : first + self.num_points] = POINT_MARK
            mask[i, first + self.num_points : text.stop] = TOKEN
        batch = {"input_ids": ids, "attention_mask": mask}
        return batch | {"labels": labels} if with_labels else batch


def _find_markers(tokenizer: PreTrainedTokenizerBase) -> _Markers:
    """The ids of start, end and padding by the tokenizer's own names, or Qwen2's."""
    start, end, pad = tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token
    if start is None:
        start, end, pad = "<|im_start|>", "<|endoftext|>", "<|endoftext|>"
    vocabulary = tokenizer.get_vocab()
    for role, token in (("start", start), ("end", end), ("padding", pad)):
        if token is None or token not in vocabulary:
            raise InputError(f"the tokenizer has no {role} token (looked for {token!r})")
    return _Markers(*(vocabulary[token] for token in (start, end, pad)))


AutoProcessor.register(CADRecodeConfig, CADRecodeProcessor, exist_ok=True)
