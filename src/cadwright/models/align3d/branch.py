"""Qwen3VLWith3DBranch: a Qwen-VL language model that is told a shape before the words.

In: codebook vectors or raw sparse SDFs, and text. Out: loss and logits, or generated ids. The
sequence of a sample is its 3-D tokens, then its text, without a gap; padding is at the end
(training) or the beginning (generation). Not covered: files (checkpoint), pictures beside shapes.
Shape suffixes: B batch, T text tokens, L tokens of both kinds, H width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import InputError
from cadwright.models.align3d.collate import IGNORE
from cadwright.models.align3d.depth_maps import DEPTH, draw_depth_maps
from cadwright.models.align3d.depth_projector import NUM_SUMMARY, DepthProjector3D
from cadwright.models.align3d.packing import flatten_cells, pack
from cadwright.models.align3d.projector import Projector3D
from cadwright.models.align3d.sequence import (
    Truncation,
    gather_blocks,
    prepare_3d_sequence_batched,
)


class AlignOutput(NamedTuple):
    """What a forward pass gives.

    Attributes:
        loss: mean over the supervised tokens; None without labels.
        logits: (B, K, V) of the last K positions of the packed sequence.
        encoding_indices_3d: (N,) codebook rows where raw shapes were given.
    """

    loss: Tensor | None
    logits: Tensor
    encoding_indices_3d: Tensor | None = None


def extract_3d_latent_and_indices(
    batch: Any, vae: Any, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Encode shapes.

    Args:
        batch: what ``vae.Encode`` takes.
        vae: a SparseSDFVQVAE; put into evaluation mode.
        device: the VAE is moved there if given.
    Returns:
        (N, D) codebook vectors, (N, 4) int64 coordinates, (N,) int64 codebook rows.
    """
    if device is not None:
        vae.to(device)
    vae.eval()
    with torch.no_grad():
        code = vae.Encode(batch)
    return code.feats, code.coords, code.indices


class Qwen3VLWith3DBranch(nn.Module):
    """A frozen VAE, a projector, and a language model frozen but for LoRA.

    Args:
        vl_model: a conditional-generation model of Qwen2-VL, Qwen2.5-VL or Qwen3-VL.
        projector: reads ``block ** 3`` times the codebook's width, or depth maps.
        vae: only needed for ``inputs_3d``, and for depth maps that were not drawn before.
        max_3d_tokens: tokens a shape may take.
        truncate_mode: how a longer one is shortened.
        block: cells a side that share a token.
    Raises:
        InputError: the projector does not fit the language model or the VAE.
    """

    def __init__(
        self,
        vl_model: nn.Module,
        projector: Projector3D | DepthProjector3D,
        vae: Any = None,
        *,
        max_3d_tokens: int = 2048,
        truncate_mode: Truncation = "head",
        block: int = 1,
    ) -> None:
        super().__init__()
        self.vl_model, self.projector, self.vae = vl_model, projector, vae
        self.max_3d_tokens, self.truncate_mode, self.block = max_3d_tokens, truncate_mode, block
        width = self._embedder().embedding_dim
        if projector.hidden != width:
            raise InputError(
                f"the projector gives width {projector.hidden}, the language model has {width}"
            )
        cells = 1 if isinstance(projector, DepthProjector3D) else block**3
        if vae is not None and projector.latent_dim != vae.config.latent_dim * cells:
            raise InputError(
                f"the projector reads latent_dim {projector.latent_dim}, the VAE's codebook has "
                f"{vae.config.latent_dim} and a token {cells} cells"
            )
        if isinstance(projector, DepthProjector3D) and max_3d_tokens <= NUM_SUMMARY:
            raise InputError(f"a summary takes {NUM_SUMMARY} of max_3d_tokens: raise it")
        self.freeze()

    def freeze(self, *, language: bool = True) -> None:
        """Only the projector learns, and what is called lora; the VAE is frozen last.

        Args:
            language: False lets the whole language model learn, but for its vision tower.
        """
        for name, param in self.vl_model.named_parameters():
            param.requires_grad_("lora_" in name or not (language or ".visual." in f".{name}"))
        self.projector.requires_grad_(True)
        if self.vae is not None:
            self.vae.requires_grad_(False)
            self.vae.eval()

    @property
    def device(self) -> torch.device:
        """Where the language model's embeddings are."""
        device: torch.device = self._embedder().weight.device
        return device

    def train(self, mode: bool = True) -> Qwen3VLWith3DBranch:
        """Training mode for all but the VAE."""
        super().train(mode)
        if self.vae is not None:
            self.vae.eval()
        return self

    def forward(self, **inputs: Any) -> Any:
        """``forward_with_3d`` where a shape is given, the plain language model where none is."""
        if any(inputs.get(name) is not None for name in ("inputs_3d", "feats_3d")):
            return self.forward_with_3d(**inputs)
        return self.vl_model(**{k: v for k, v in inputs.items() if not k.endswith("_3d")})

    def forward_with_3d(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        inputs_3d: Mapping[str, Any] | None = None,
        feats_3d: Tensor | None = None,
        coords_3d: Tensor | None = None,
        mask_3d: Tensor | None = None,
    ) -> AlignOutput:
        """Loss and logits.

        Args:
            input_ids: (B, T) text.
            attention_mask: (B, T) 0 at padding.
            labels: (B, T) -100 where nothing is learned.
            inputs_3d: raw shapes, for the VAE.
            feats_3d: (B, N, D) codebook vectors instead, or rows of depth maps.
            coords_3d: (B, N, 4) theirs.
            mask_3d: (B, N) False at padding; all rows are real if left out.
        Raises:
            InputError: neither form given, shapes that do not fit, or no label left.
        """
        embeds, mask, indices = self.get_3d_embeds(
            len(input_ids), inputs_3d, feats_3d, coords_3d, mask_3d
        )
        text = self._embedder()(input_ids)
        packed = pack(embeds, mask, text, attention_mask, labels, side="right")
        first = 0
        if packed.labels is not None:
            hits = (packed.labels != IGNORE).any(dim=0).nonzero()
            if not len(hits):
                raise InputError("no label is left in the batch: every answer is cut off whole")
            first = max(int(hits[0]) - 1, 0)
        outputs = self.vl_model(
            inputs_embeds=packed.embeds,
            attention_mask=packed.mask,
            position_ids=packed.positions,
            use_cache=False,
            logits_to_keep=packed.embeds.shape[1] - first,
        )
        loss = None
        if packed.labels is not None:
            wanted = packed.labels[:, first + 1 :].flatten()
            logits = outputs.logits[:, :-1].flatten(0, 1).float()
            loss = functional.cross_entropy(logits, wanted, ignore_index=IGNORE)
        return AlignOutput(loss, outputs.logits, indices)

    def get_3d_embeds(
        self,
        batch_size: int,
        inputs_3d: Mapping[str, Any] | None = None,
        feats_3d: Tensor | None = None,
        coords_3d: Tensor | None = None,
        mask_3d: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """(B, L, H) embeddings, (B, L) bool mask, and codebook rows of raw shapes.

        Raises:
            InputError: see ``forward_with_3d``.
        """
        indices = None
        if inputs_3d is not None:
            if self.vae is None:
                raise InputError("raw shapes (inputs_3d) need a VAE: --vae_config and --vae_ckpt")
            feats, coords, indices = extract_3d_latent_and_indices(inputs_3d, self.vae)
        else:
            feats, coords = flatten_cells(feats_3d, coords_3d, mask_3d, batch_size)
        if isinstance(self.projector, DepthProjector3D):
            if feats.shape[-1] != DEPTH:
                feats, coords = self._draw(feats, coords, batch_size)
            return *self._with_summary(feats, coords, batch_size), indices
        feats, coords = gather_blocks(feats, coords, self.block)
        made = prepare_3d_sequence_batched(
            feats, coords, self.max_3d_tokens, truncate_mode=self.truncate_mode,
            batch_size=batch_size,
        )  # fmt: skip
        return self.projector(made.feats, made.coords), made.mask, indices

    def _draw(self, feats: Tensor, coords: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
        if self.vae is None:
            raise InputError(
                "this projector reads depth maps of what the VAE decodes: --vae_config and "
                "--vae_ckpt, or a folder of 'cadwright align extract --depth'"
            )
        return draw_depth_maps(self.vae, feats, coords, batch_size)

    def _with_summary(
        self, feats: Tensor, coords: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """Projected before they are shortened, since the summary is of the whole shape."""
        projected = self.projector(feats, coords, batch_size)
        made = prepare_3d_sequence_batched(
            projected.tokens, projected.coords, self.max_3d_tokens - NUM_SUMMARY,
            truncate_mode=self.truncate_mode, batch_size=batch_size,
        )  # fmt: skip
        mask = functional.pad(made.mask, (NUM_SUMMARY, 0), value=True)
        return torch.cat([projected.summary, made.feats], dim=1), mask

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        eos_id: int,
        max_new_tokens: int = 64,
        **shapes: Any,
    ) -> list[list[int]]:
        """Greedy answers: the new ids of each sample, without the one that ends it.

        Args:
            input_ids: (B, T) the questions.
            attention_mask: (B, T).
            eos_id: ends an answer.
            max_new_tokens: longest answer.
            **shapes: ``inputs_3d``, or ``feats_3d``, ``coords_3d`` and ``mask_3d``.
        Raises:
            InputError: see ``forward_with_3d``.
        """
        embeds, mask_3d, _ = self.get_3d_embeds(len(input_ids), **shapes)
        text = self._embedder()(input_ids)
        packed = pack(embeds, mask_3d, text, attention_mask, None, side="left")
        mask, step, positions, cache = packed.mask, packed.embeds, packed.positions, None
        answers: list[list[int]] = [[] for _ in input_ids]
        running = torch.ones(len(input_ids), dtype=torch.bool, device=mask.device)
        for _ in range(max_new_tokens):
            outputs = self.vl_model(
                inputs_embeds=step, attention_mask=mask, position_ids=positions,
                past_key_values=cache, use_cache=True, logits_to_keep=1,
            )  # fmt: skip
            cache, ids = outputs.past_key_values, outputs.logits[:, -1].argmax(dim=-1)
            running &= ids != eos_id
            for row in running.nonzero().flatten().tolist():
                answers[row].append(int(ids[row]))
            if not running.any():
                break
            step = self._embedder()(ids[:, None])
            mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
            positions = positions[:, :, -1:] + 1
        return answers

    def _embedder(self) -> Any:
        return self.vl_model.get_input_embeddings()  # type: ignore[operator]
