"""Depth maps: they show the shape, sum to its Euler number, and turn as it turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.align_toys import VAE_CONFIG, make_vae, save_language, save_vae

from cadwright.errors import InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.checkpoint import fits_vae, load_vl_model
from cadwright.models.align3d.collate import collate_3d_text
from cadwright.models.align3d.depth_maps import (
    CHANNELS,
    DEPTH,
    EMPTY,
    EULER,
    EULER_STEP,
    FIRST_EULER,
    LEVELS,
    MIDDLE,
    SYMMETRIES,
    draw_depth_maps,
    grid_to_maps,
    maps_to_rows,
    rows_to_maps,
    turn_rows,
)
from cadwright.models.align3d.depth_projector import NUM_SUMMARY, DepthProjector3D
from cadwright.models.align3d.items import ShapeItems
from cadwright.models.align3d.latents import LatentFolder
from cadwright.models.align3d.sources import GeneratedShapes
from cadwright.training.align.args import AlignArgs
from cadwright.training.align.build import build_branch, build_run
from cadwright.training.align.extract import extract_latents

SIZE, H, D = 32, 32, VAE_CONFIG.latent_channels
SIDE = VAE_CONFIG.voxel_resolution


def ball(*holes: tuple[float, float]) -> NDArray[np.float32]:
    """(R, R, R) SDF in bands of a ball with cylindrical holes along z."""
    x, y, z = np.meshgrid(*[np.arange(SIZE) - 15.3] * 3, indexing="ij")
    sdf = np.sqrt(x**2 + y**2 + z**2) - 12.6
    for at, radius in holes:
        sdf = np.maximum(sdf, radius - np.hypot(x - at, y))
    return (sdf / 1.2).clip(-1, 1).astype(np.float32)


def euler(maps: NDArray[np.uint8], level: int, axis: int = 0) -> float:
    picture = maps[axis, FIRST_EULER + level].astype(np.float64)
    return float((picture - MIDDLE).sum() / EULER_STEP)


def to_tensors(maps: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    rows, places = maps_to_rows(maps)
    return torch.from_numpy(rows).float(), torch.from_numpy(np.insert(places, 0, 0, axis=1))


def codes(seed: int, num: int, batch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(64, generator=generator)[:num]
    coords = torch.stack([cells * 0 + batch, cells // 16, cells // 4 % 4, cells % 4], dim=1)
    table = make_vae().vq.embeddings.weight
    return table[torch.randint(len(table), (num,), generator=generator)], coords


def new_projector(size: int = SIZE) -> DepthProjector3D:
    torch.manual_seed(0)
    return DepthProjector3D(D, H, size=size)


class TestMaps:
    def test_a_corner_of_a_cube_has_an_eighth_and_an_edge_nothing(self) -> None:
        # the corners 0 to 3 of a window are its half of low x, 0 and 1 an edge of that
        assert EULER[0] == EULER[255] == EULER[0b1111] == EULER[0b11] == 0
        assert EULER[1] == EULER[254] == EULER_STEP / 8

    @pytest.mark.parametrize("holes", [(), ((0.0, 4.0),), ((-5.0, 2.5), (5.0, 2.5))])
    def test_each_picture_sums_to_the_euler_number(
        self, holes: tuple[tuple[float, float], ...]
    ) -> None:
        maps = grid_to_maps(ball(*holes))
        for axis in range(3):
            for level in range(len(LEVELS)):
                assert euler(maps, level, axis) == 1 - len(holes)

    def test_specks_and_hollows_do_not_count_but_pieces_do(self) -> None:
        grid = ball()
        grid[1:3, 1, 1] = -0.5
        grid[15, 15, 15] = 0.5
        assert euler(grid_to_maps(grid), 1) == 1
        grid[1:6, 1:6, 1:6] = -0.5
        assert euler(grid_to_maps(grid), 1) == 2

    def test_channels_are_what_a_ray_meets(self) -> None:
        grid = np.ones((SIZE, SIZE, SIZE), dtype=np.float32)
        grid[4:28, 4:28, 6:10] = -1
        grid[4:28, 4:28, 16:26] = -1
        grid[12:20, 12:20, 10:16] = -0.5
        along_z = dict(zip(CHANNELS, grid_to_maps(grid)[2].astype(float), strict=True))
        step = 255 / SIZE
        for at, inside, runs, gap in (((6, 6), 14, 2, 255.0), ((15, 15), 20, 1, 63.75)):
            assert along_z["near"][at] == round(6 * step) and along_z["far"][at] == round(6 * step)
            assert along_z["inside"][at] == round(inside * step)
            assert along_z["runs"][at] == round(runs * 255 / 8)
            assert along_z["gap"][at] == round(gap) and along_z["least"][at] == 0
        assert [along_z[name][0, 0] for name in CHANNELS] == list(EMPTY)

    def test_patches_that_are_left_out_are_empty(self) -> None:
        grid = ball((-5.0, 2.5))
        grid[20:] = 1.0
        maps = grid_to_maps(grid)
        rows, coords = to_tensors(maps)
        assert rows.shape[1] == DEPTH and 0 < len(rows) < 3 * (SIZE // 4) ** 2
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        back = rows_to_maps(rows[order], coords[order], 1, SIZE)
        assert torch.equal(back[0], torch.from_numpy(maps).float())

    @pytest.mark.parametrize("symmetry", range(len(SYMMETRIES)))
    def test_turned_rows_are_rows_of_the_turned_shape(self, symmetry: int) -> None:
        grid = ball((-5.0, 2.5), (4.0, 3.5))
        grid[20:] = 1.0
        grid[:, 23:] = 1.0
        axes, flips = SYMMETRIES[symmetry]
        turned = np.flip(grid.transpose(axes), [k for k in range(3) if flips[k]])
        truth = grid_to_maps(np.ascontiguousarray(turned))
        rows, coords = turn_rows(*to_tensors(grid_to_maps(grid)), symmetry, size=SIZE)
        made = rows_to_maps(rows, coords, 1, SIZE)[0].numpy()
        # a window belongs to the pixel of its lowest corner, which another position may change
        seen = slice(0, FIRST_EULER)
        assert np.array_equal(made[:, seen], truth[:, seen])
        for level in range(len(LEVELS)):
            assert euler(made, level) == euler(truth, level)


class TestDrawing:
    def test_rows_in_any_order_and_shapes_in_a_batch_give_the_same(self) -> None:
        one, two = codes(1, 30), codes(2, 20, batch=1)
        order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
        feats, coords = (torch.cat(both)[order] for both in zip(one, two, strict=True))
        both, places = draw_depth_maps(make_vae(), feats, coords, 2)
        alone, at = draw_depth_maps(make_vae(), *one, 1)
        first = places[:, 0] == 0
        assert both.shape == (len(places), DEPTH) and torch.equal(both, both.round())
        assert torch.equal(places[first], at)
        assert float((both[first] - alone).abs().max()) <= 1
        assert 0 <= float(both.min()) and float(both.max()) <= 255

    def test_a_projector_says_the_same_alone_and_in_a_batch(self) -> None:
        projector = new_projector().eval()
        one, two = (to_tensors(grid_to_maps(ball(hole))) for hole in ((0.0, 4.0), (5.0, 9.5)))
        two[1][:, 0] = 1
        both = projector(torch.cat([one[0], two[0]]), torch.cat([one[1], two[1]]), 2)
        alone = projector(*one, 1)
        assert torch.allclose(both.summary[:1], alone.summary, atol=1e-5)
        assert torch.allclose(both.tokens[both.coords[:, 0] == 0], alone.tokens, atol=1e-5)
        assert not torch.allclose(both.summary[0], both.summary[1], atol=1e-4)
        assert both.summary.shape == (2, NUM_SUMMARY, H)
        assert len(alone.tokens) == 3 * (SIZE // 16) ** 2 and both.told.shape[:2] == (2, 3)
        with pytest.raises(InputError, match="depth maps reads"):
            projector(one[0][:, :5], one[1], 1)
        for wrong in (one[1] - 1, one[1] + 3):
            with pytest.raises(InputError, match="must lie in 3 pictures"):
                projector(one[0], wrong, 1)
        with pytest.raises(InputError, match="grid"):
            DepthProjector3D(D, H, size=24)

    def test_a_branch_puts_the_summary_first_and_keeps_it_when_it_shortens(
        self, tmp_path: Path
    ) -> None:
        language, _ = load_vl_model(save_language(tmp_path))
        projector = new_projector()
        rows, coords = to_tensors(grid_to_maps(ball((0.0, 4.0))))
        branch = Qwen3VLWith3DBranch(language, projector, max_3d_tokens=NUM_SUMMARY + 3).eval()
        embeds, mask, _ = branch.get_3d_embeds(1, None, rows[None], coords[None])
        assert embeds.shape == (1, NUM_SUMMARY + 3, H) and bool(mask.all())
        summary = projector(rows, coords, 1).summary
        assert torch.allclose(embeds[0, :NUM_SUMMARY], summary[0], atol=1e-5)
        with pytest.raises(InputError, match="max_3d_tokens"):
            Qwen3VLWith3DBranch(language, projector, max_3d_tokens=NUM_SUMMARY)


class TestTraining:
    def test_drawn_ahead_and_drawn_while_training_give_the_same(self, tmp_path: Path) -> None:
        pytest.importorskip("numba")
        config, weights = save_vae(tmp_path / "vae")
        source = GeneratedShapes(VAE_CONFIG, num=3, seed=2)
        extract_latents(source, make_vae(), tmp_path / "codes", depth=True)
        args = AlignArgs(vl_model=save_language(tmp_path / "words"), vae_config=config,
                         vae_ckpt=weights, projector="depth",
                         data=str(tmp_path / "codes"))  # fmt: skip
        branch, tokenizer, items, _ = build_run(args)
        branch.eval()
        losses = []
        for depth in (False, True):
            ready = ShapeItems(LatentFolder(tmp_path / "codes", depth=depth), tokenizer)
            losses.append(branch(**collate_3d_text([ready[k] for k in range(3)])).loss)
        assert torch.allclose(losses[0], losses[1], atol=1e-3)
        before = items[0]
        assert before["feats_3d"].shape[1] == DEPTH
        items.set_epoch(1)  # type: ignore[attr-defined]
        assert before["feats_3d"].shape == items[0]["feats_3d"].shape
        assert not torch.equal(before["feats_3d"], items[0]["feats_3d"])

    def test_only_what_is_drawn_depends_on_the_decoder(self, tmp_path: Path) -> None:
        pytest.importorskip("numba")
        for name, depth in (("codes", False), ("drawn", True)):
            source = GeneratedShapes(VAE_CONFIG, num=2, seed=2)
            extract_latents(source, make_vae(), tmp_path / name, depth=depth)
        other = make_vae()
        with torch.no_grad():
            next(other.decoder.parameters()).add_(0.1)
        for vae, fits in ((make_vae(), True), (other, False)):
            assert fits_vae(LatentFolder(tmp_path / "codes").info, vae)
            assert fits_vae(LatentFolder(tmp_path / "drawn").info, vae) is fits
        assert not fits_vae({}, make_vae())
        vl_model = save_language(tmp_path / "words")
        for projector, noted in (("mlp", {"vae"}), ("depth", {"vae", "decoder"})):
            args = AlignArgs(vl_model=vl_model, projector=projector, data=str(tmp_path / "drawn"))
            assert build_run(args)[3].keys() - {"latent_dim"} == noted

    def test_without_a_vae_or_depth_maps_there_is_nothing_to_read(self, tmp_path: Path) -> None:
        pytest.importorskip("numba")
        extract_latents(GeneratedShapes(VAE_CONFIG, num=2, seed=2), make_vae(), tmp_path / "codes")
        with pytest.raises(InputError, match="without --depth"):
            LatentFolder(tmp_path / "codes", depth=True)
        args = AlignArgs(vl_model=save_language(tmp_path / "words"), projector="depth")
        branch, tokenizer = build_branch(args, latent_dim=D, size=SIDE)
        ready = ShapeItems(LatentFolder(tmp_path / "codes"), tokenizer)
        with pytest.raises(InputError, match="extract --depth"):
            branch(**collate_3d_text([ready[0], ready[1]]))

    def test_a_damaged_shard_is_named(self, tmp_path: Path) -> None:
        pytest.importorskip("numba")
        source = GeneratedShapes(VAE_CONFIG, num=2, seed=2)
        extract_latents(source, make_vae(), tmp_path, depth=True)
        path = tmp_path / "codes-00000.npz"
        with np.load(path) as content:
            kept = dict(content)
        np.savez(path, **{**kept, "depth": kept["depth"][1:]})
        with pytest.raises(InputError, match="texts-00000"):
            LatentFolder(tmp_path, depth=True)
        assert len(LatentFolder(tmp_path)) == 2
