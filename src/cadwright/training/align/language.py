"""A small language model of Qwen2-VL's shape that learns descriptions and questions as text.

In: LanguageArgs. Out: in ``output_dir`` a model folder that ``--vl_model`` takes (config, weights,
tokenizer), ``language.json`` with what was asked for and measured, and ``state.pt``, from which a
run goes on. No shape is seen here: in its place stands a description in words.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import CadwrightError, InputError
from cadwright.geometry.atomic import atomic_write
from cadwright.models.align3d.checkpoint import model_type_to_class
from cadwright.models.align3d.collate import IGNORE
from cadwright.models.align3d.conversation import answer_to_example
from cadwright.training.align.language_texts import Example, draw_example, vocabulary_texts
from cadwright.training.align.schedule import lr_share
from cadwright.training.align.state import STATE_NAME, resume, save_state
from cadwright.training.align.words_tokenizer import build_words_tokenizer

NUM_VOCABULARY = 400  # programs whose descriptions give the tokenizer its words
VOCABULARY_SEED, HELD_OUT_SEED = 77, 1_000_003
NUM_HELD_OUT = 96
LONGEST = 224  # tokens of a question with its answer; the context is not counted
VISION = {"depth": 1, "embed_dim": 32, "num_heads": 1, "mlp_ratio": 2}  # never used by shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageArgs:
    """A run.

    Attributes:
        output_dir: of the model folder.
        hidden_size, num_layers, num_heads, num_kv_heads, intermediate_size: its shape.
        steps, batch_size: of the training.
        lr: highest rate of AdamW; rises over the first 5 %, falls to a tenth as a cosine.
        seed: of weights and texts.
        device: 'cpu', 'cuda', ...
        save_every: steps between two states.
    """

    output_dir: str = "./language"
    hidden_size: int = 192
    num_layers: int = 4
    num_heads: int = 6
    num_kv_heads: int = 2
    intermediate_size: int = 512
    steps: int = 800
    batch_size: int = 24
    lr: float = 2e-3
    seed: int = 0
    device: str = "cpu"
    save_every: int = 100

    def __post_init__(self) -> None:
        """Refuse numbers that make no model or no run."""
        for name in ("hidden_size", "num_layers", "num_heads", "num_kv_heads", "steps",
                     "intermediate_size", "batch_size", "save_every"):  # fmt: skip
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.hidden_size % self.num_heads or self.hidden_size // self.num_heads % 16:
            raise InputError("hidden_size over num_heads must be a multiple of 16")
        if self.num_heads % self.num_kv_heads:
            raise InputError("num_kv_heads must divide num_heads")
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr must be greater than 0, not {self.lr}")


def new_language_model(args: LanguageArgs, tokenizer: Any) -> nn.Module:
    """A Qwen2-VL with random weights and tied embeddings for a tokenizer."""
    ids = tokenizer.get_vocab()
    half = args.hidden_size // args.num_heads // 2
    rows = half * 3 // 8  # shares of time, row and column as published: 16, 24 and 24 of 64
    kind = model_type_to_class("qwen2_vl")
    config = kind.config_class(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": args.hidden_size,
            "intermediate_size": args.intermediate_size, "num_hidden_layers": args.num_layers,
            "num_attention_heads": args.num_heads, "num_key_value_heads": args.num_kv_heads,
            "max_position_embeddings": 8192, "initializer_range": args.hidden_size**-0.5,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id, "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10_000.0,
                "mrope_section": [half - 2 * rows, rows, rows],
            },
        },
        vision_config={**VISION, "hidden_size": args.hidden_size},
        tie_word_embeddings=True,
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    torch.manual_seed(args.seed)
    model: nn.Module = kind(config)
    return model


def train_language(args: LanguageArgs, *, say: Callable[[str], None] = lambda line: None) -> Path:
    """Train, or go on from ``state.pt``.

    Returns:
        The model folder.
    Raises:
        CheckpointError: ``state.pt`` is of another run.
        CadwrightError: a loss is not finite.
    """
    folder, begin_s = Path(args.output_dir), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_words_tokenizer(vocabulary_texts(NUM_VOCABULARY, seed=VOCABULARY_SEED))
    model = new_language_model(args, tokenizer).to(args.device)
    learned = {n: p for n, p in model.named_parameters() if "visual" not in n}
    optimizer = torch.optim.AdamW(learned.values(), lr=args.lr, betas=(0.9, 0.98))
    settings = {k: v for k, v in asdict(args).items() if k not in ("output_dir", "save_every")}
    step = resume(folder, settings, learned, optimizer)
    losses: list[float] = []
    while step < args.steps:
        losses.append(_step(args, model, tokenizer, optimizer, step))
        step += 1
        if step % args.save_every == 0 or step == args.steps:
            save_state(folder, settings, learned, optimizer, step)
            say(f"step {step} of {args.steps}: loss {sum(losses) / len(losses):.4f}")
            losses = []
    model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)
    held_out = held_out_loss(model, tokenizer, device=args.device)
    figures = {"args": asdict(args), "held_out_loss": held_out,
               "parameters": sum(p.numel() for p in model.parameters()),
               "minutes": (time.monotonic() - begin_s) / 60}  # fmt: skip
    with atomic_write(folder / "language.json") as draft:
        draft.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    (folder / STATE_NAME).unlink(missing_ok=True)
    say(f"held-out loss {held_out:.4f} a token of the answer")
    return folder


def held_out_loss(model: nn.Module, tokenizer: Any, *, device: str = "cpu") -> float:
    """Mean loss a token of the answers, over texts that were not learned."""
    drawn = [draw_example(HELD_OUT_SEED, index) for index in range(NUM_HELD_OUT)]
    batch = examples_to_batch(drawn, tokenizer, device=device)
    model.eval()
    with torch.no_grad():
        return float(_loss(model, batch))


def examples_to_batch(
    examples: Sequence[Example], tokenizer: Any, *, device: str = "cpu"
) -> dict[str, Tensor]:
    """``input_ids``, ``attention_mask`` and ``labels`` (B, L), padded on the right."""
    rows: dict[str, list[Tensor]] = {"input_ids": [], "attention_mask": [], "labels": []}
    for context, question, answer in examples:
        made = answer_to_example(tokenizer, answer, question=question, max_length=LONGEST)
        before = torch.tensor(
            tokenizer(context, add_special_tokens=False)["input_ids"], dtype=torch.long
        )
        rows["input_ids"].append(torch.cat([before, made["input_ids"]]))
        rows["attention_mask"].append(torch.ones_like(rows["input_ids"][-1]))
        rows["labels"].append(torch.cat([before * 0 + IGNORE, made["labels"]]))
    fill = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "labels": IGNORE}
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        name: pad(values, batch_first=True, padding_value=fill[name]).to(device)
        for name, values in rows.items()
    }


def _step(args: LanguageArgs, model: nn.Module, tokenizer: Any, optimizer: Any, step: int) -> float:
    """One step on texts that only depend on seed and step; the loss."""
    model.train()
    first = step * args.batch_size
    drawn = [draw_example(args.seed, index) for index in range(first, first + args.batch_size)]
    batch = examples_to_batch(drawn, tokenizer, device=args.device)
    for group in optimizer.param_groups:
        group["lr"] = args.lr * lr_share(step, args.steps, warmup=0.05, schedule="cosine")
    loss = _loss(model, batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise CadwrightError(f"step {step + 1}: the loss is {value}")
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value


def _loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    positions = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0).expand(3, -1, -1)
    logits = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
        position_ids=positions, use_cache=False,
    ).logits  # fmt: skip
    wanted = batch["labels"][:, 1:].flatten()
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), wanted, ignore_index=IGNORE
    )
