"""A toy generator and settings: training is tested without the kernel and without assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cadwright.data.stream import DrawSample
from cadwright.models.cad_recode.tokenizer import build_tokenizer
from cadwright.training.config import TrainConfig, config_from_values
from cadwright.types import Sample


def draw_box_or_cylinder(seed: int, index: int) -> Sample | None:
    """A box or cylinder whose program depends on the index; every seventh draw fails."""
    if index % 7 == 3:
        return None
    rng = np.random.default_rng((seed, index))
    a, b, c = rng.integers(1, 100, 3)
    body = f"w0.box({a},{b},{c})" if index % 2 else f"w0.workplane(offset={a}/2).cylinder({b},{c})"
    text = f"import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr={body}"
    points = rng.uniform(-1, 1, (8, 3)).astype(np.float32)
    return Sample(index=index, text=text, points=points)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    texts = [s.text for i in range(50) if (s := draw_box_or_cylinder(0, i))]
    return build_tokenizer(texts)


@pytest.fixture
def draw_toy() -> DrawSample:
    return draw_box_or_cylinder


@pytest.fixture
def tiny(tmp_path: Path) -> TrainConfig:
    """Two layers of width 16, no workers, one thread."""
    return config_from_values(
        {
            "output_dir": str(tmp_path / "run"),
            "hidden_size": 16,
            "num_layers": 2,
            "num_heads": 2,
            "num_kv_heads": 1,
            "intermediate_size": 24,
            "num_points": 8,
            "batch_size": 4,
            "pool_batches": 4,
            "iterations": 6,
            "warmup": 2,
            "threads": 1,
            "workers": 0,
            "log_every": 1,
            "save_every": 100,
            "eval_every": 0,
            "device": "cpu",
            "tensorboard": False,
            "max_failed_share": 0.5,
        }
    )


@pytest.fixture(autouse=True)
def _restore_torch_state() -> Any:
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
