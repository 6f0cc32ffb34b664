"""A tiny policy and a reward that needs no geometry, for the tests of reinforcement learning."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from cadwright.models import CADRecode, CADRecodeConfig, CADRecodeProcessor
from cadwright.training.recipe import make_settings
from cadwright.training.rl.config import RLConfig
from cadwright.training.rl.rewards import Grade
from cadwright.types import Mesh, Outcome

NUM_POINTS = 8


def make_policy(tokenizer: Any, *, scale: float = 0.3) -> tuple[CADRecode, CADRecodeProcessor]:
    """Two layers of width 16 with random weights that prefer some tokens clearly."""
    processor = CADRecodeProcessor(tokenizer, num_points=NUM_POINTS)
    torch.manual_seed(0)
    config = CADRecodeConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=24, num_points=NUM_POINTS, vocab_size=len(tokenizer),
        max_position_embeddings=128, tie_word_embeddings=True, initializer_range=scale,
        bos_token_id=processor.start_token_id, eos_token_id=processor.end_token_id,
        pad_token_id=processor.pad_token_id,
    )  # fmt: skip
    return CADRecode(config).eval(), processor


def teach_to_end(model: CADRecode, processor: CADRecodeProcessor) -> None:
    """A few steps on random words of one to six tokens, so that most programs come to an end."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(0)
    prompts = dict(processor(points=[torch.zeros(NUM_POINTS, 3).numpy()] * 16))
    for _ in range(60):
        words = torch.randint(3, model.config.vocab_size, (16, 7), generator=generator)
        lengths = torch.randint(1, 7, (16, 1), generator=generator)
        at = torch.arange(7)
        words[at == lengths] = processor.end_token_id
        ids = torch.cat((prompts["input_ids"], words), 1)
        mask = torch.cat((prompts["attention_mask"], torch.ones_like(words)), 1)
        learned = torch.where(at <= lengths, words, -100)
        labels = torch.cat((torch.full_like(prompts["input_ids"], -100), learned), 1)
        loss = model(
            input_ids=ids, attention_mask=mask, labels=labels, point_cloud=prompts["point_cloud"]
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def save_policy(folder: Path, tokenizer: Any) -> Path:
    """A model folder to start from."""
    model, processor = make_policy(tokenizer, scale=0.1)
    teach_to_end(model, processor)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


class OnesPool:
    """In place of RewardPool: a text is worth its share of characters that are 1."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.num_groups = 0

    def __enter__(self) -> OnesPool:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def submit(self, target: Mesh, texts: Sequence[str]) -> Future[list[Grade]]:
        self.num_groups += 1
        done: Future[list[Grade]] = Future()
        shares = [text.count("1") / max(len(text), 1) for text in texts]
        done.set_result([Grade(share, Outcome.OK) for share in shares])
        return done


def tiny_rl(folder: Path, init_from: Path, **changes: Any) -> RLConfig:
    """Two parts of four programs of at most eight tokens."""
    values = {
        "output_dir": str(folder), "init_from": str(init_from), "parts": 2, "samples": 4,
        "keep": 2, "updates": 2, "max_new_tokens": 8, "iterations": 4, "lr": 0.02, "warmup": 0,
        "rollout_parts": 1, "loss_parts": 1, "device": "cpu", "threads": 1, "reward_workers": 0,
        "save_every": 1, "keep_last": 9, "eval_every": 2, "eval_parts": 3,
        "least_length_share": 0.0, "hard_share": 0.5,
    }  # fmt: skip
    return make_settings({**values, **changes}, RLConfig)
