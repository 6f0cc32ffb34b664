"""The projector that sees neighbours: order, padding and batching change nothing; sums are sums."""

from __future__ import annotations

import pytest
import torch
from tests.models.test_align3d import H, make_vl

from cadwright.errors import InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.neighbour_projector import (
    NUM_SUMMARY,
    NeighbourProjector3D,
    gather_children,
)
from cadwright.models.align3d.sequence import gather_blocks
from cadwright.models.layers.sites import SparseTensor, make_sites

D, R = 4, 8


def make(block: int = 2) -> NeighbourProjector3D:
    torch.manual_seed(0)
    return NeighbourProjector3D(D, H, block=block, resolution=R)


def shape(num: int, seed: int, batch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(R**3, generator=generator)[:num]
    coords = torch.stack([cells * 0 + batch, cells // 64, cells // 8 % 8, cells % 8], dim=1)
    return torch.randn(num, D, generator=generator), coords


@pytest.mark.parametrize("block", [2, 4])
def test_rows_in_any_order_and_shapes_in_a_batch_give_the_same(block: int) -> None:
    projector = make(block).eval()
    one, two = shape(40, 1), shape(25, 2, batch=1)
    order = torch.randperm(65, generator=torch.Generator().manual_seed(3))
    both = projector(torch.cat([one[0], two[0]])[order], torch.cat([one[1], two[1]])[order], 2)
    alone = projector(*one, 1)
    first = both.coords[:, 0] == 0
    assert torch.equal(both.coords[first], alone.coords)
    assert torch.allclose(both.tokens[first], alone.tokens, atol=1e-5)
    assert torch.allclose(both.summary[:1], alone.summary, atol=1e-5)
    assert both.summary.shape == (2, NUM_SUMMARY, H)
    assert int(both.coords[:, 1:].max()) < R // block


def test_children_are_gathered_as_blocks_are() -> None:
    feats, coords = shape(60, 5)
    sites, order = make_sites(coords, resolution=R, batch_size=1)
    made = gather_children(SparseTensor(feats[order], sites))
    blocks, places = gather_blocks(feats, coords, 2)
    keys = [((c[:, 1] * R + c[:, 2]) * R + c[:, 3]).argsort() for c in (made.coords, places)]
    assert torch.equal(made.coords[keys[0]], places[keys[1]])
    assert torch.equal(made.feats[keys[0]], blocks[keys[1]])


def test_a_cell_far_away_changes_the_summary_but_a_neighbour_changes_the_token() -> None:
    projector = make().eval()
    feats, coords = shape(50, 6)
    before = projector(feats, coords, 1)
    changed = feats.clone()
    changed[0] += 3
    after = projector(changed, coords, 1)
    assert not torch.allclose(before.summary, after.summary)
    assert not torch.allclose(before.local, after.local)


def test_a_branch_puts_the_summary_first_and_keeps_it_when_it_shortens() -> None:
    language = make_vl()
    projector = NeighbourProjector3D(D, H, block=2, resolution=R)
    branch = Qwen3VLWith3DBranch(language, projector, block=2, max_3d_tokens=NUM_SUMMARY + 3).eval()
    one, two = shape(40, 1), shape(2, 2)
    feats = torch.nn.utils.rnn.pad_sequence([one[0], two[0]], batch_first=True)
    coords = torch.nn.utils.rnn.pad_sequence([one[1], two[1]], batch_first=True)
    mask = torch.arange(40) < torch.tensor([[40], [2]])
    embeds, kept, _ = branch.get_3d_embeds(2, None, feats, coords, mask)
    made = projector(*one, 1)
    assert embeds.shape == (2, NUM_SUMMARY + 3, H) and bool(kept[0].all())
    assert torch.allclose(embeds[0, :NUM_SUMMARY], made.summary[0], atol=1e-5)
    assert 1 <= int(kept[1].sum()) - NUM_SUMMARY <= 2
    with pytest.raises(InputError, match="max_3d_tokens"):
        Qwen3VLWith3DBranch(language, projector, block=2, max_3d_tokens=NUM_SUMMARY)


def test_what_makes_no_projector_or_no_shape_is_refused() -> None:
    for block, resolution in ((1, 8), (3, 8), (4, 2)):
        with pytest.raises(InputError):
            NeighbourProjector3D(D, H, block=block, resolution=resolution)
    feats, coords = shape(5, 1)
    with pytest.raises(InputError, match="latent_dim"):
        make()(feats[:, :2], coords, 1)
    with pytest.raises(InputError, match="outside"):
        make()(feats, coords + torch.tensor([0, 8, 0, 0]), 1)
