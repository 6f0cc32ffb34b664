from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from cadwright.models import CADRecode, CADRecodeConfig  # noqa: E402
from cadwright.models.layers.prompts import rows_to_groups  # noqa: E402


def mask_of(*lengths: int, left: bool = True) -> Any:
    width = max(lengths)
    rows = [[0] * (width - n) + [1] * n for n in lengths]
    return torch.tensor(rows if left else [row[::-1] for row in rows])


def test_rows_of_like_length_are_read_together_the_longest_first() -> None:
    groups = rows_to_groups(mask_of(20, 100, 30, 95, 28), 5)
    assert [group.tolist() for group in groups] == [[1, 3], [2, 4], [0]]


@pytest.mark.parametrize(
    "mask", [None, mask_of(50, 48, 50), mask_of(50, 20, 50, left=False), mask_of(7)]
)
def test_one_group_where_groups_save_little_or_padding_is_elsewhere(mask: Any) -> None:
    size = 3 if mask is None else len(mask)
    assert [group.tolist() for group in rows_to_groups(mask, size)] == [list(range(size))]


@pytest.mark.parametrize("windows", [False, True])
def test_groups_write_what_one_batch_writes(monkeypatch: pytest.MonkeyPatch, windows: bool) -> None:
    torch.manual_seed(0)
    config = CADRecodeConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=24, initializer_range=0.5,
        use_sliding_window=windows, sliding_window=8, max_window_layers=1,
    )  # fmt: skip
    model = CADRecode(config).eval()
    mask = mask_of(30, 6, 29, 5, 12)
    ids = torch.randint(4, 40, mask.shape)
    reads: list[int] = []
    prefill = CADRecode.prefill

    def count(self: CADRecode, input_ids: Any, **kwargs: Any) -> Any:
        reads.append(input_ids.shape[1])
        return prefill(self, input_ids, **kwargs)

    monkeypatch.setattr(CADRecode, "prefill", count)
    settings = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    together = model.generate(input_ids=ids, attention_mask=mask, **settings)
    assert reads == ([] if windows else [29, 11, 5])
    for row, n in enumerate(mask.sum(dim=1).tolist()):
        alone = model.generate(input_ids=ids[row : row + 1, -n:], **settings)
        assert torch.equal(together[row, -12:], alone[0, -12:])
