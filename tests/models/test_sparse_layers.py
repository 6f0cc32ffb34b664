"""Sparse layers against dense ones: convolution, pooling, subdivision, norms, attention, curves."""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from cadwright.errors import InputError, MissingDependencyError
from cadwright.models.layers import sites as sites_module
from cadwright.models.layers import sparse_backend, submanifold
from cadwright.models.layers.serialise import ORDERS, coords_to_code
from cadwright.models.layers.sites import CHILDREN, OFFSETS, Sites, SparseTensor, make_sites
from cadwright.models.layers.sparse_attention import (
    MODES,
    HeadNorm,
    SparseBlock,
    absolute_positions,
    attend,
    make_plan,
)
from cadwright.models.layers.sparse_convolution import (
    SparseConvolution,
    SparseGroupNorm,
    pool,
    subdivide,
)
from cadwright.models.layers.submanifold import submanifold_convolution


def random_sites(resolution: int = 7, batch_size: int = 2, share: float = 0.3) -> Sites:
    random = torch.Generator().manual_seed(resolution)
    full = torch.rand((batch_size, *[resolution] * 3), generator=random) < share
    return make_sites(torch.argwhere(full), resolution=resolution, batch_size=batch_size)[0]


def to_dense(x: SparseTensor) -> Tensor:
    """(B, C, R, R, R) with 0 where there is no site."""
    side = x.sites.resolution
    dense = x.feats.new_zeros((x.sites.batch_size, side, side, side, x.feats.shape[1]))
    dense[tuple(x.coords.unbind(1))] = x.feats
    return dense.permute(0, 4, 1, 2, 3)


def at_sites(dense: Tensor, sites: Sites) -> Tensor:
    return dense.permute(0, 2, 3, 4, 1)[tuple(sites.coords.unbind(1))]


def dense_kernel(kernel: Tensor) -> Tensor:
    """(27, Cin, Cout), x fastest, to conv3d's (Cout, Cin, x, y, z)."""
    return kernel.view(3, 3, 3, *kernel.shape[1:]).permute(4, 3, 2, 1, 0)


@pytest.mark.parametrize("chunk", [1 << 14, 1 << 20])
def test_convolution_equals_dense_convolution_and_so_do_its_gradients(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(submanifold.CHUNK_BYTES, "cpu", chunk)
    sites = random_sites()
    feats = torch.randn(len(sites), 5, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(27, 5, 4, dtype=torch.float64, requires_grad=True)
    ours = submanifold_convolution(feats, kernel, sites.neighbours)
    dense = functional.conv3d(to_dense(SparseTensor(feats, sites)), dense_kernel(kernel), padding=1)
    theirs = at_sites(dense, sites)
    assert (ours - theirs).abs().max() < 1e-12
    weights = torch.randn_like(ours)
    ours_grads = torch.autograd.grad((ours * weights).sum(), (feats, kernel))
    theirs_grads = torch.autograd.grad((theirs * weights).sum(), (feats, kernel))
    for one, other in zip(ours_grads, theirs_grads, strict=True):
        assert (one - other).abs().max() < 1e-11


def test_every_offset_reads_the_neighbour_it_names() -> None:
    sites = random_sites(5)
    rows = {tuple(row): number for number, row in enumerate(sites.coords.tolist())}
    for number, (b, x, y, z) in enumerate(sites.coords.tolist()):
        for t, (dx, dy, dz) in enumerate(OFFSETS):
            wanted = rows.get((b, x + dx, y + dy, z + dz), len(sites))
            assert int(sites.neighbours[number, t]) == wanted


def test_sorted_keys_and_dense_table_give_the_same_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dense = random_sites().neighbours
    monkeypatch.setattr(sites_module, "LARGEST_TABLE", 0)
    assert torch.equal(random_sites().neighbours, dense)


def test_the_table_does_not_leak_between_samples_or_around_the_grid() -> None:
    cells = torch.tensor([[0, 3, 3, 3], [1, 0, 0, 0]])
    sites, _ = make_sites(cells, resolution=4)
    assert (sites.neighbours < 2).sum() == 2  # each sees itself alone


def test_one_cell_convolution_is_a_linear_layer() -> None:
    layer, sites = SparseConvolution(3, 5, size=1), random_sites()
    feats = torch.randn(len(sites), 3)
    wanted = feats @ layer.conv.kernel + layer.conv.bias
    assert torch.allclose(layer(SparseTensor(feats, sites)).feats, wanted)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(*[st.integers(0, 7)] * 3), min_size=1, max_size=40, unique=True))
def test_pooling_is_the_mean_of_a_block_and_the_published_one_divides_by_one_more(
    cells: list[tuple[int, int, int]],
) -> None:
    coords = torch.tensor([(0, *cell) for cell in cells])
    sites, _ = make_sites(coords, resolution=8)
    x = SparseTensor(torch.randn(len(sites), 2), sites)
    true, published = pool(x, published=False), pool(x, published=True)
    for row, parent in enumerate(true.coords.tolist()):
        block = (sites.coords // torch.tensor([1, 2, 2, 2]) == torch.tensor(parent)).all(1)
        total, count = x.feats[block].sum(0), int(block.sum())
        assert torch.allclose(true.feats[row], total / count, atol=1e-6)
        assert torch.allclose(published.feats[row], total / (count + 1), atol=1e-6)
    keys = true.sites.keys
    assert (keys[1:] > keys[:-1]).all() and true.sites.resolution == 4


def test_subdivision_makes_eight_children_x_slowest() -> None:
    sites, _ = make_sites(torch.tensor([[0, 1, 2, 3]]), resolution=4)
    fine = subdivide(SparseTensor(torch.tensor([[7.0]]), sites))
    wanted = [(0, 2 + dx, 4 + dy, 6 + dz) for dx, dy, dz in itertools.product((0, 1), repeat=3)]
    assert [tuple(row) for row in fine.coords.tolist()] == wanted
    assert CHILDREN[1] == (0, 0, 1) and (fine.feats == 7).all() and fine.sites.resolution == 8


def test_convolution_of_children_is_that_of_subdivided_sites_and_so_are_its_gradients() -> None:
    sites = random_sites()
    random = torch.Generator().manual_seed(3)
    layer = SparseConvolution(3, 4)
    nn.init.normal_(layer.conv.bias, generator=random)
    x = torch.randn((len(sites), 3), generator=random)
    weights = torch.randn((8 * len(sites), 4), generator=random)
    found = []
    for convolve in (lambda s: layer(subdivide(s)), layer.subdivided):
        feats = x.clone().requires_grad_()
        layer.zero_grad()
        made = convolve(SparseTensor(feats, sites))
        (made.feats * weights).sum().backward()
        assert feats.grad is not None and layer.conv.kernel.grad is not None
        grads = (feats.grad, layer.conv.kernel.grad.clone())
        found.append((made.coords, made.feats.detach(), *grads))
    for whole, short in zip(*found, strict=True):
        assert torch.allclose(whole, short, atol=1e-4)


def test_pooling_undoes_subdivision() -> None:
    x = SparseTensor(torch.randn(len(sites := random_sites()), 3), sites)
    back = pool(subdivide(x), published=False)
    assert torch.equal(back.coords, x.coords) and torch.allclose(back.feats, x.feats, atol=1e-6)


def test_group_norm_is_that_of_torch_for_each_sample_alone() -> None:
    sites = random_sites(batch_size=3)
    x = SparseTensor(torch.randn(len(sites), 6), sites)
    layer = SparseGroupNorm(3, 6)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    found = layer(x).feats
    for sample in range(3):
        rows = sites.batch == sample
        alone = functional.group_norm(
            x.feats[rows].t()[None], 3, layer.weight, layer.bias, layer.eps
        )
        assert torch.allclose(found[rows], alone[0].t(), atol=1e-5)


def allowed_pairs(sites: Sites, mode: str, window: int, block: int) -> Tensor:
    """(N, N) which site may read which, by the definition."""
    coords = sites.coords
    same = coords[:, None, 0] == coords[None, :, 0]
    if mode == "full":
        return same
    cube = (coords[:, 1:] + window // 2 * (block % 2)) // window
    return same & (cube[:, None] == cube[None]).all(2)


@pytest.mark.parametrize(("mode", "block"), [("full", 0), ("swin", 0), ("swin", 1)])
def test_window_attention_equals_one_masked_attention(mode: str, block: int) -> None:
    sites = random_sites(9, share=0.2)
    q, k, v = torch.randn(3, len(sites), 2, 4).unbind(0)
    ours = attend(q, k, v, make_plan(sites, mode, window_size=4, block=block))
    mask = allowed_pairs(sites, mode, 4, block)
    parts = (part.transpose(0, 1) for part in (q, k, v))
    theirs = functional.scaled_dot_product_attention(*parts, attn_mask=mask).transpose(0, 1)
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("mode", ["shift_window", "shift_sequence", "shift_order"])
@pytest.mark.parametrize("block", [0, 1, 2, 3])
def test_runs_along_a_curve_keep_each_site_once_and_stay_in_their_sample(
    mode: str, block: int
) -> None:
    sites = random_sites(9, batch_size=3, share=0.2)
    plan = make_plan(sites, mode, window_size=16, block=block)
    flat = torch.cat([rows.flatten() for rows, _ in plan.groups])
    assert torch.equal(flat[plan.take], torch.arange(len(sites)))
    for rows, _ in plan.groups:
        assert (sites.batch[rows] == sites.batch[rows][:, :1]).all()
        assert rows.shape[1] <= 16 and all(len(set(run)) == len(run) for run in rows.tolist())


def test_a_short_sample_is_one_full_window_on_a_curve() -> None:
    sites = random_sites(5, batch_size=1, share=0.2)
    q, k, v = torch.randn(3, len(sites), 2, 4).unbind(0)
    along = attend(q, k, v, make_plan(sites, "shift_order", window_size=1000, block=2))
    full = attend(q, k, v, make_plan(sites, "full", window_size=8, block=0))
    assert torch.allclose(along, full, atol=1e-5)


def test_windows_of_two_levels_never_share_a_plan() -> None:
    fine = random_sites(8, share=0.9)
    coarse = fine.parents[0]
    plan = make_plan(coarse, "swin", window_size=4, block=0)
    assert len(make_plan(fine, "swin", window_size=4, block=0).take) == len(fine)
    assert len(plan.take) == len(coarse)
    assert make_plan(coarse, "swin", window_size=4, block=2) is plan


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("use_rope", [False, True])
def test_a_block_has_gradients_and_does_not_mix_samples(mode: str, use_rope: bool) -> None:
    sites = random_sites(6)
    block = SparseBlock(12, num_heads=2, mlp_ratio=2.0, mode=mode, window_size=4, block=1,
                        use_rope=use_rope, qk_rms_norm=True)  # fmt: skip
    feats = torch.randn(len(sites), 12, requires_grad=True)
    out = block(SparseTensor(feats, sites)).feats
    out[sites.batch == 0].sum().backward()
    assert feats.grad is not None and feats.grad[sites.batch == 0].abs().max() > 0
    assert feats.grad[sites.batch == 1].abs().max() == 0


def test_head_norm_gives_length_gamma_root_d() -> None:
    lengths = HeadNorm(2, 9)(torch.randn(5, 2, 9)).norm(dim=-1)
    assert torch.allclose(lengths, torch.full_like(lengths, 3.0), atol=1e-5)


def test_positions_of_whole_coordinates_are_not_truncated() -> None:
    coords = torch.tensor([[1, 2, 3], [4, 5, 6]])
    found = absolute_positions(coords, 20)
    assert found.shape == (2, 20) and found.dtype == torch.float32
    assert torch.equal(found, absolute_positions(coords.float(), 20))
    assert found[0, 0] == torch.tensor(1.0).sin() and found[0, 3] == torch.tensor(1.0).cos()
    assert (found[:, 18:] == 0).all() and len(found.unique()) > 20


@pytest.mark.parametrize("order", ORDERS)
def test_a_curve_visits_every_cell_once(order: str) -> None:
    cells = torch.cartesian_prod(*[torch.arange(8)] * 3)
    assert sorted(coords_to_code(cells, order).tolist()) == list(range(512))


@pytest.mark.parametrize("order", ["hilbert", "hilbert-trans"])
def test_steps_along_a_hilbert_curve_go_to_a_neighbour(order: str) -> None:
    cells = torch.cartesian_prod(*[torch.arange(8)] * 3)
    walk = cells[coords_to_code(cells, order).argsort()]
    assert ((walk[1:] - walk[:-1]).abs().sum(1) == 1).all()


def test_morton_codes_interleave_bits() -> None:
    cells = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0]])
    assert coords_to_code(cells, "z").tolist() == [4, 2, 1, 32]


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (torch.zeros((0, 4), dtype=torch.long), "empty"),
        (torch.tensor([[0, 0, 0, 4]]), "outside 0 to 3"),
        (torch.tensor([[0, -1, 0, 0]]), "outside 0 to 3"),
        (torch.tensor([[-1, 0, 0, 0]]), "batch"),
        (torch.tensor([[0, 1, 1, 1], [0, 1, 1, 1]]), "twice"),
        (torch.tensor([[0.0, 1, 1, 1]]), "whole numbers"),
        (torch.tensor([[0, 1, 1]]), r"\(N, 4\)"),
    ],
)
def test_coordinates_that_make_no_sense_are_refused(coords: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_sites(coords, resolution=4)


def test_rows_are_put_in_order_and_their_old_places_are_told() -> None:
    coords = torch.tensor([[1, 0, 0, 0], [0, 3, 0, 0], [0, 0, 2, 1]])
    sites, order = make_sites(coords, resolution=4)
    assert order.tolist() == [2, 1, 0] and torch.equal(sites.coords, coords[order])
    assert sites.find(coords).tolist() == [2, 1, 0]


@pytest.fixture
def _fresh_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sparse_backend, "_chosen", [])
    sparse_backend._check.cache_clear()
    yield
    sparse_backend._check.cache_clear()


@pytest.mark.usefixtures("_fresh_backend")
def test_the_backend_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = types.SimpleNamespace(type="cuda")
    assert not sparse_backend.use_spconv(gpu)  # type: ignore[arg-type]
    monkeypatch.setenv(sparse_backend.SWITCH, "spconv")
    assert not sparse_backend.use_spconv(torch.device("cpu"))
    monkeypatch.setenv(sparse_backend.SWITCH, "cublas")
    with pytest.raises(InputError, match="must be one of"):
        sparse_backend.use_spconv(torch.device("cpu"))
    with pytest.raises(InputError, match="must be one of"):
        sparse_backend.set_sparse_backend("numpy")


@pytest.mark.usefixtures("_fresh_backend")
def test_spconv_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name, name="spconv")

    monkeypatch.setattr("cadwright.optional.importlib.import_module", missing)
    with pytest.raises(MissingDependencyError, match="spconv"):
        sparse_backend._check("cpu")


class StandInForSpconv:
    """What this package uses of spconv, computed densely; ``wrong`` mirrors the kernel."""

    wrong = False

    class SparseConvTensor:
        def __init__(self, features: Tensor, coords: Tensor, shape: list, batch: int) -> None:
            assert coords.dtype == torch.int32 and coords.is_contiguous()
            self.features, self.coords, self.side, self.batch = features, coords, shape[0], batch
            self.indice_dict: dict = {}

    class SubMConv3d(nn.Module):
        def __init__(self, cin: int, cout: int, size: int, bias: bool, indice_key: str) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(cout, 3, 3, 3, cin))

        def forward(self, x: StandInForSpconv.SparseConvTensor) -> object:
            sites = Sites(x.coords.long(), x.side, x.batch)
            dense = to_dense(SparseTensor(x.features, sites))
            weight = self.weight.permute(0, 4, 1, 2, 3)
            weight = weight.flip(2, 3, 4) if StandInForSpconv.wrong else weight
            out = at_sites(functional.conv3d(dense, weight, padding=1), sites)
            return types.SimpleNamespace(features=out)


@pytest.mark.usefixtures("_fresh_backend")
def test_spconv_is_checked_before_its_numbers_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_backend, "require", lambda *_, **__: StandInForSpconv)
    sparse_backend._check("cpu")
    sparse_backend._check.cache_clear()
    monkeypatch.setattr(StandInForSpconv, "wrong", True)
    with pytest.raises(sparse_backend.BackendError, match="differs from plain PyTorch"):
        sparse_backend._check("cpu")


def test_kernel_layouts_go_both_ways() -> None:
    kernel, point = torch.randn(27, 4, 5), torch.randn(4, 5)
    for one in (kernel, point):
        there = sparse_backend.kernel_to_spconv(one)
        assert torch.equal(sparse_backend.spconv_to_kernel(there), one)
    t = (0 + 1) + 3 * (1 + 1) + 9 * (-1 + 1)  # dx = 0, dy = 1, dz = -1
    assert torch.equal(sparse_backend.kernel_to_spconv(kernel)[:, 1, 2, 0], kernel[t].t())
