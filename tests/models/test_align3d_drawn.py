"""What the decoder draws: windows sum to the Euler number, positions change nothing that counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.align_toys import (
    VAE_CONFIG,
    make_vae,
    save_language,
    save_vae,
    warmed_up_at_once_and_in_two,
)

from cadwright.errors import InputError
from cadwright.models.align3d.collate import collate_3d_text
from cadwright.models.align3d.drawn import (
    CLASSES,
    COUNTED,
    DRAWN,
    EULER,
    LEVELS,
    NUM_CLASSES,
    SYMMETRIES,
    draw_cells,
    grid_to_rows,
    turn_drawn,
)
from cadwright.models.align3d.drawn_projector import DrawnProjector3D, Standardise
from cadwright.models.align3d.items import ShapeItems
from cadwright.models.align3d.latents import LatentFolder
from cadwright.models.align3d.neighbour_projector import NUM_SUMMARY
from cadwright.models.align3d.sources import GeneratedShapes
from cadwright.training.align.args import AlignArgs
from cadwright.training.align.build import build_branch, build_run
from cadwright.training.align.extract import extract_latents

SIDE, SIZE, H = 4, 32, 32


def ball(*holes: tuple[float, float]) -> NDArray[np.float32]:
    """(S, S, S) SDF in bands of a ball with cylindrical holes along z."""
    x, y, z = np.meshgrid(*[np.arange(SIZE) - 15.3] * 3, indexing="ij")
    sdf = np.sqrt(x**2 + y**2 + z**2) - 12.6
    for at, radius in holes:
        sdf = np.maximum(sdf, radius - np.hypot(x - at, y))
    return (sdf / 1.2).clip(-1, 1).astype(np.float32)


def occupied(grid: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, 3) cells with a sample in the band."""
    latent = SIZE // SIDE
    blocks = (np.abs(grid) < 1).reshape(latent, SIDE, latent, SIDE, latent, SIDE)
    return np.argwhere(blocks.any(axis=(1, 3, 5)))


def euler(rows: NDArray[np.float32], level: int) -> float:
    return float((rows[:, level * NUM_CLASSES : (level + 1) * NUM_CLASSES] @ EULER).sum())


def codes(seed: int, num: int, batch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(64, generator=generator)[:num]
    coords = torch.stack([cells * 0 + batch, cells // 16, cells // 4 % 4, cells % 4], dim=1)
    table = make_vae().vq.embeddings.weight
    return table[torch.randint(len(table), (num,), generator=generator)], coords


def new_projector() -> DrawnProjector3D:
    torch.manual_seed(0)
    return DrawnProjector3D(4, H, block=2, resolution=4)


class TestWindows:
    def test_there_are_22_classes_and_a_plane_bends_nothing(self) -> None:
        assert NUM_CLASSES == 22 and DRAWN == COUNTED + 10 and len(SYMMETRIES) == 48
        # corners 0 to 3 of a window are its half of low x
        assert EULER[CLASSES[0]] == EULER[CLASSES[255]] == EULER[CLASSES[0b1111]] == 0
        assert EULER[CLASSES[1]] == pytest.approx(1 / 8)
        assert EULER[CLASSES[254]] == pytest.approx(1 / 8)

    @pytest.mark.parametrize("holes", [(), ((0.0, 4.0),), ((-5.0, 2.5), (5.0, 2.5))])
    def test_the_sum_over_a_shape_is_its_euler_number(
        self, holes: tuple[tuple[float, float], ...]
    ) -> None:
        grid = ball(*holes)
        rows = grid_to_rows(grid, occupied(grid), SIDE)
        for level in range(len(LEVELS)):
            assert euler(rows, level) == pytest.approx(1 - len(holes), abs=1e-4)

    def test_specks_and_hollows_do_not_count_but_pieces_do(self) -> None:
        grid = ball()
        grid[1:3, 1, 1] = -0.5
        grid[15, 15, 15] = 0.5
        assert euler(grid_to_rows(grid, occupied(grid), SIDE), 1) == pytest.approx(1, abs=1e-4)
        grid[1:6, 1:6, 1:6] = -0.5
        assert euler(grid_to_rows(grid, occupied(grid), SIDE), 1) == pytest.approx(2, abs=1e-4)

    @pytest.mark.parametrize("symmetry", [0, 1, 17, 30, 47])
    def test_turned_rows_are_rows_of_the_turned_shape(self, symmetry: int) -> None:
        grid = ball((-5.0, 2.5), (4.0, 3.5))
        grid[20:] = 1.0
        axes, flips = SYMMETRIES[symmetry]
        turned = np.flip(grid.transpose(axes), [k for k in range(3) if flips[k]])
        cells = np.argwhere(np.ones((SIZE // SIDE,) * 3))
        rows = torch.from_numpy(grid_to_rows(grid, cells, SIDE))
        coords = torch.from_numpy(np.concatenate([cells[:, :1] * 0, cells], axis=1))
        made, places = turn_drawn(rows, coords, symmetry, resolution=SIZE // SIDE)
        truth = grid_to_rows(np.ascontiguousarray(turned), places[:, 1:].numpy(), SIDE)
        # a window belongs to the cell of its lowest corner, which another position may change
        assert np.allclose(made[:, COUNTED:].numpy(), truth[:, COUNTED:], atol=1)
        middle = slice(NUM_CLASSES, 2 * NUM_CLASSES)
        assert np.array_equal(made[:, middle].sum(0).numpy(), truth[:, middle].sum(0))


class TestDrawing:
    def test_rows_in_any_order_and_shapes_in_a_batch_give_the_same(self) -> None:
        one, two = codes(1, 30), codes(2, 20, batch=1)
        order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
        feats, coords = (torch.cat(both)[order] for both in zip(one, two, strict=True))
        both = draw_cells(make_vae(), feats, coords, 2)
        alone = draw_cells(make_vae(), *one, 1)
        back = torch.empty(50, dtype=torch.long)
        back[order] = torch.arange(50)
        assert both.shape == (50, DRAWN) and torch.equal(both, both.round())
        assert float((both[back[:30]] - alone).abs().max()) <= 1
        assert float(both.abs().max()) <= 127

    def test_a_projector_of_drawn_cells_is_the_same_alone_and_in_a_batch(self) -> None:
        projector = new_projector().eval()
        one, two = codes(1, 30)[1], codes(2, 20, batch=1)[1]
        rows = torch.randint(0, 9, (50, DRAWN), generator=torch.Generator().manual_seed(1)).float()
        both = projector(rows, torch.cat([one, two]), 2)
        alone = projector(rows[:30], one, 1)
        assert torch.allclose(both.summary[:1], alone.summary, atol=1e-5)
        assert both.summary.shape == (2, NUM_SUMMARY, H) and both.told is not None
        with pytest.raises(InputError, match="drawn cells"):
            projector(rows[:, :5], torch.cat([one, two]), 2)

    def test_standardised_numbers_have_the_means_of_what_was_seen(self) -> None:
        layer = Standardise(2)
        x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * 3 + 5
        for batch in x.split(20):
            layer(batch)
        layer.eval()
        made = layer(x)
        assert torch.allclose(made.mean(0), torch.zeros(2), atol=0.15)
        assert torch.allclose(made.std(0), torch.ones(2), atol=0.1)
        assert torch.equal(layer(x[:1]), made[:1])


class TestTraining:
    def test_drawn_ahead_and_drawn_while_training_give_the_same(self, tmp_path: Path) -> None:
        pytest.importorskip("numba")
        config, weights = save_vae(tmp_path / "vae")
        language = save_language(tmp_path / "language")
        source = GeneratedShapes(VAE_CONFIG, num=3, seed=2)
        extract_latents(source, make_vae(), tmp_path / "codes", drawn=True)
        args = AlignArgs(vl_model=language, vae_config=config, vae_ckpt=weights, block=2,
                         projector="drawn", data=str(tmp_path / "codes"))  # fmt: skip
        branch, tokenizer, items, _ = build_run(args)
        branch.eval()
        losses = []
        for drawn in (False, True):
            shapes = LatentFolder(tmp_path / "codes", drawn=drawn)
            ready = ShapeItems(shapes, tokenizer)
            losses.append(branch(**collate_3d_text([ready[k] for k in range(3)])).loss)
        assert torch.allclose(losses[0], losses[1], atol=1e-3)
        assert items[0]["feats_3d"].shape[1] == DRAWN
        items.set_epoch(1)  # type: ignore[attr-defined]
        assert not torch.equal(items[0]["coords_3d"], shapes[0].coords)

    def test_without_a_vae_or_drawn_cells_there_is_nothing_to_read(self, tmp_path: Path) -> None:
        pytest.importorskip("numba")
        extract_latents(GeneratedShapes(VAE_CONFIG, num=2, seed=2), make_vae(), tmp_path / "codes")
        with pytest.raises(InputError, match="without --drawn"):
            LatentFolder(tmp_path / "codes", drawn=True)
        args = AlignArgs(vl_model=save_language(tmp_path / "words"), block=2, projector="drawn")
        branch, tokenizer = build_branch(args, latent_dim=4, resolution=4)
        ready = ShapeItems(LatentFolder(tmp_path / "codes"), tokenizer)
        with pytest.raises(InputError, match="decoder draws"):
            branch(**collate_3d_text([ready[0], ready[1]]))

    def test_a_stopped_warm_up_goes_on_to_the_same_weights(self, tmp_path: Path) -> None:
        pytest.importorskip("numba")
        source = GeneratedShapes(VAE_CONFIG, num=4, seed=2)
        extract_latents(source, make_vae(), tmp_path / "codes", drawn=True)
        shapes = LatentFolder(tmp_path / "codes", drawn=True)

        ends = warmed_up_at_once_and_in_two(new_projector, shapes, tmp_path)
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
        assert float(ends[0]["norm.seen"]) == 4
