"""Operations counted by hand are those that torch counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cadwright.models import CADRecode
from cadwright.training.flops import FlopCounter

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ("input_ids", "attention_mask", "point_cloud", "labels")


@pytest.mark.parametrize("attention", [True, False])
def test_products_of_matrices_are_counted_as_torch_counts_them(attention: bool) -> None:
    model = CADRecode.from_pretrained(GOLDEN / "cad_recode_tiny", dtype=torch.float32).train()
    model.set_attn_implementation("eager")  # torch does not look into the CPU's fused one
    with np.load(GOLDEN / "cad_recode_tiny.npz", allow_pickle=False) as file:
        batch = {name: torch.from_numpy(np.array(file[name])) for name in NAMES}
    batch["logits_to_keep"] = torch.nn.functional.pad(batch["labels"][:, 1:] != -100, (0, 1))
    with FlopCounterMode(display=False) as counted:
        model(**batch).loss.backward()
    by_kind = counted.get_flop_counts()["Global"]
    products = sum(n for op, n in by_kind.items() if "bmm" not in str(op))
    between = by_kind[torch.ops.aten.bmm] if attention else 0
    own = FlopCounter(model)
    if not attention:
        own._attention = 0
    # Of the attention only the causal half is counted, of the points no gradient is wanted.
    assert own.count(batch) == pytest.approx(products + between / 2, rel=0.02)
