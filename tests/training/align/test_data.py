"""Alignment on real data: both forms with a real small VAE, extraction, device and dtype."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.align_toys import (
    VAE_CONFIG,
    make_vae,
    save_boxes,
    save_language,
    save_vae,
    warmed_up_at_once_and_in_two,
)
from tests.models.test_align3d import D, H, make_vl

from cadwright.errors import CheckpointError, InputError
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.checkpoint import vae_to_fingerprints
from cadwright.models.align3d.collate import collate_3d_text
from cadwright.models.align3d.control import mean_loss
from cadwright.models.align3d.depth_projector import DepthProjector3D
from cadwright.models.align3d.items import ShapeItems
from cadwright.models.align3d.latents import LatentFolder
from cadwright.models.align3d.projector import Projector3D
from cadwright.models.align3d.sources import GeneratedShapes, ListedShapes
from cadwright.training.align.args import AlignArgs
from cadwright.training.align.build import build_branch, build_run, dummy_items
from cadwright.training.align.extract import extract_latents
from cadwright.training.align.run import train
from cadwright.training.align.warm_up import warm_up

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("parts")
    config, weights = save_vae(folder / "vae")
    return {
        "vae_config": config, "vae_ckpt": weights, "vl_model": save_language(folder / "language"),
    }  # fmt: skip


def extract(folder: Path, num: int = 4, *, depth: bool = False, **changes: Any) -> GeneratedShapes:
    source = GeneratedShapes(VAE_CONFIG, num=num, seed=2, **changes)
    extract_latents(source, make_vae(), folder, depth=depth)
    return source


class TestForms:
    def test_raw_and_extracted_shapes_give_the_same_loss(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        source = extract(tmp_path / "codes")
        branch, tokenizer = build_branch(AlignArgs(**parts, block=2, use_3d_pos=True))
        raw = ShapeItems(source, tokenizer)
        ready = ShapeItems(LatentFolder(tmp_path / "codes"), tokenizer, latent_dim=4)
        branch.eval()
        one = branch(**collate_3d_text([raw[k] for k in range(4)]))
        two = branch(**collate_3d_text([ready[k] for k in range(4)]))
        assert torch.allclose(one.loss, two.loss, atol=1e-5)
        assert two.encoding_indices_3d is None and one.encoding_indices_3d is not None
        assert one.encoding_indices_3d.dtype == torch.int64

    @pytest.mark.parametrize("data", ["generator", "captions", "codes"])
    def test_every_kind_of_data_trains_and_only_the_projector_moves(
        self, parts: dict[str, str], tmp_path: Path, data: str
    ) -> None:
        path = data
        if data == "captions":
            path = str(save_boxes(tmp_path))
        if data == "codes":
            path = str(tmp_path / "codes")
            extract(tmp_path / "codes")
        args = AlignArgs(
            **parts, data=path, max_samples=3, epochs=2, lr=1e-2, output_dir=str(tmp_path / "run")
        )
        branch, tokenizer, items, notes = build_run(args)
        frozen = {n: p.clone() for n, p in branch.named_parameters() if "projector" not in n}
        before = branch.projector.proj.weight.clone()
        final = train(args, branch, items, notes=notes, tokenizer=tokenizer)
        assert final.name == "projector_final.pt" and len(items) == 3
        assert all(torch.equal(p, frozen[n]) for n, p in branch.named_parameters() if n in frozen)
        assert not torch.equal(before, branch.projector.proj.weight)
        said = json.loads((tmp_path / "run" / "train_args.json").read_text())
        assert vae_to_fingerprints(make_vae()).items() <= said.items() and said["latent_dim"] == 4

    def test_the_control_shuffles_raw_shapes_too(self, parts: dict[str, str]) -> None:
        branch, tokenizer = build_branch(AlignArgs(**parts))
        items = ShapeItems(GeneratedShapes(VAE_CONFIG, num=3, seed=2), tokenizer)
        own = mean_loss(branch, items, batch_size=2)
        other = mean_loss(branch, items, batch_size=2, shuffle=True)
        assert own == pytest.approx(mean_loss(branch, items, batch_size=3), abs=1e-5)
        assert own != pytest.approx(other, abs=1e-6)


class TestExtraction:
    def test_a_folder_that_is_half_done_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cadwright.training.align.extract.SHARD", 2)
        extract(tmp_path / "a")
        kept = (tmp_path / "a" / "codes-00000.npz").read_bytes()
        (tmp_path / "a" / "texts-00001.jsonl").unlink()
        lines: list[str] = []
        source = GeneratedShapes(VAE_CONFIG, num=4, seed=2)
        extract_latents(source, make_vae(), tmp_path / "a", say=lines.append)
        assert lines == ["4 of 4 shapes"] and len(LatentFolder(tmp_path / "a")) == 4
        assert (tmp_path / "a" / "codes-00000.npz").read_bytes() == kept

    def test_a_shape_that_fails_is_named_and_left_out(self, tmp_path: Path) -> None:
        path = save_boxes(tmp_path)
        (tmp_path / "box1.stl").write_bytes(b"nothing")
        failed = []
        left_out = extract_latents(
            ListedShapes(path, VAE_CONFIG), make_vae(), tmp_path / "out",
            fail=lambda number, error: failed.append((number, str(error))),
        )  # fmt: skip
        assert left_out == 1 and failed[0][0] == "1" and "box1.stl" in failed[0][1]
        assert len(LatentFolder(tmp_path / "out")) == 2

    def test_codes_of_another_vae_are_refused(self, parts: dict[str, str], tmp_path: Path) -> None:
        extract(tmp_path / "codes")
        with pytest.raises(InputError, match="another extraction"):
            extract_latents(
                GeneratedShapes(VAE_CONFIG, num=4, seed=2), make_vae(1), tmp_path / "codes"
            )
        config, weights = save_vae(tmp_path / "other", seed=1)
        args = {**parts, "vae_config": config, "vae_ckpt": weights}
        with pytest.raises(InputError, match="another VAE"):
            build_run(AlignArgs(**args, data=str(tmp_path / "codes")))


class TestSettings:
    def test_all_may_learn_and_the_language_model_is_kept(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        extract(tmp_path / "codes")
        args = AlignArgs(
            vl_model=parts["vl_model"], data=str(tmp_path / "codes"), train_all=True, epochs=2,
            schedule="cosine", warmup_ratio=0.5, lr=1e-2, output_dir=str(tmp_path / "run"),
        )  # fmt: skip
        branch, tokenizer, items, notes = build_run(args)
        language: Any = branch.vl_model
        tower = {n: p.clone() for n, p in language.named_parameters() if ".visual." in n}
        rows = language.get_input_embeddings().weight.clone()
        train(args, branch, items, notes=notes, tokenizer=tokenizer)
        assert not torch.equal(rows, language.get_input_embeddings().weight)
        assert all(torch.equal(p, tower[n]) for n, p in language.named_parameters() if n in tower)
        assert (tmp_path / "run" / "language_final" / "tokenizer.json").is_file()

    def test_a_bfloat16_language_model_learns_beside_float32_parts(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        args = AlignArgs(
            **parts, data="generator", max_samples=2, epochs=1, dtype="bfloat16", device="cpu",
            output_dir=str(tmp_path),
        )  # fmt: skip
        branch, _, items, _ = build_run(args)
        embeddings: Any = branch.vl_model.get_input_embeddings()  # type: ignore[operator]
        assert embeddings.weight.dtype == torch.bfloat16
        assert {p.dtype for p in branch.projector.parameters()} == {torch.float32}
        assert branch.vae.vq.embeddings.weight.dtype == torch.float32
        train(args, branch, items)

    def test_lora_is_kept_as_adapters(self, parts: dict[str, str], tmp_path: Path) -> None:
        pytest.importorskip("peft")
        args = AlignArgs(
            **parts, data="generator", max_samples=2, epochs=1, use_lora=True, lora_r=2,
            output_dir=str(tmp_path),
        )  # fmt: skip
        branch, tokenizer, items, notes = build_run(args)
        train(args, branch, items, notes=notes, tokenizer=tokenizer)
        assert (tmp_path / "lora_final" / "adapter_config.json").is_file()

    def test_the_projector_can_have_a_rate_of_its_own(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        args = AlignArgs(
            **parts, data="generator", max_samples=2, epochs=1, lr=1e-9, projector_lr=1e-2,
            train_all=True, output_dir=str(tmp_path),
        )  # fmt: skip
        branch, _, items, _ = build_run(args)
        before = {name: value.clone() for name, value in branch.state_dict().items()}
        train(args, branch, items)
        moved = {
            name: float((value - before[name]).abs().max())
            for name, value in branch.state_dict().items()
            if value.is_floating_point()
        }
        assert max(v for name, v in moved.items() if name.startswith("projector.")) > 5e-3
        assert max(v for name, v in moved.items() if not name.startswith("projector.")) < 1e-6

    def test_dummy_data_stays_within_the_vocabulary(self, parts: dict[str, str]) -> None:
        args = AlignArgs(vl_model=parts["vl_model"], dummy_data=True, dummy_samples=7)
        branch, tokenizer, items, notes = build_run(args)
        assert len(items) == 7 and notes["latent_dim"] == 16
        assert max(int(item["input_ids"].max()) for item in items) < len(tokenizer)
        assert branch(**collate_3d_text(items[:2])).loss > 0


class TestWarmUp:
    def test_the_projector_alone_learns_and_a_stopped_warm_up_goes_on(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        extract(tmp_path / "codes", depth=True)
        args = AlignArgs(vl_model=parts["vl_model"], data=str(tmp_path / "codes"),
                         projector="depth", warm_up=8, epochs=1,
                         output_dir=str(tmp_path / "run"))  # fmt: skip
        branch, _, items, notes = build_run(args)
        language = {n: p.clone() for n, p in branch.vl_model.named_parameters()}
        lines: list[str] = []
        train(args, branch, items, notes=notes, say=lines.append)
        warm = [line for line in lines if "warm-up" in line]
        losses = [float(line.split("loss ")[1].split(",")[0]) for line in warm]
        assert len(losses) == 8 and losses[-1] < losses[0]
        assert all(torch.equal(p, language[n]) for n, p in branch.vl_model.named_parameters())
        assert (tmp_path / "run" / "projector_final.pt").is_file()

        shapes = LatentFolder(tmp_path / "codes", depth=True)
        ends = warmed_up_at_once_and_in_two(new_projector, shapes, tmp_path)
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])

    def test_what_cannot_be_warmed_up_is_refused(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match="--projector"):
            AlignArgs(warm_up=1)
        with pytest.raises(InputError, match="--projector"):
            warm_up(Projector3D(4, 32), [], epochs=1)
        with pytest.raises(InputError, match="needs a folder"):
            warm_up(new_projector(), GeneratedShapes(VAE_CONFIG, num=2, seed=2), epochs=1)
        path = save_boxes(tmp_path)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({**row, "captions": ["red"], "questions": []}) + "\n"
                                for row in rows))  # fmt: skip
        extract_latents(ListedShapes(path, VAE_CONFIG), make_vae(), tmp_path / "codes", depth=True)
        with pytest.raises(InputError, match="name kinds or counts"):
            warm_up(new_projector(), LatentFolder(tmp_path / "codes", depth=True), epochs=1)


def new_projector() -> DepthProjector3D:
    torch.manual_seed(0)
    return DepthProjector3D(4, 32, size=16)


class TestBadInput:
    def test_a_config_and_a_checkpoint_that_do_not_fit(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        values = json.loads(Path(parts["vae_config"]).read_text())
        values["models"]["vqvae"]["args"]["latent_channels"] = 8
        (tmp_path / "other.json").write_text(json.dumps(values))
        with pytest.raises(CheckpointError, match="the config asks for"):
            build_run(AlignArgs(**{**parts, "vae_config": str(tmp_path / "other.json")}))

    def test_a_latent_dim_that_differs(self, parts: dict[str, str]) -> None:
        with pytest.raises(InputError, match="latent_dim 16, the VAE 4"):
            build_branch(AlignArgs(**parts), latent_dim=16)

    def test_an_empty_band_and_coordinates_out_of_range(self, parts: dict[str, str]) -> None:
        branch, tokenizer = build_branch(AlignArgs(**parts))
        item = ShapeItems(GeneratedShapes(VAE_CONFIG, num=1, seed=2), tokenizer)[0]
        raw = item["inputs_3d"]
        nothing = {k: v[:0] for k, v in raw.items()}
        with pytest.raises(InputError, match="its band holds no voxel"):
            collate_3d_text([{**item, "inputs_3d": nothing}])
        far = {**raw, "sparse_index": raw["sparse_index"] + 16}
        with pytest.raises(InputError, match="(?i)coordinates"):
            branch(**collate_3d_text([{**item, "inputs_3d": far}]))

    def test_an_answer_cut_off_whole_is_an_error_and_never_a_loss(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        args = AlignArgs(
            **parts, data="generator", max_samples=2, text_length=4, output_dir=str(tmp_path)
        )
        branch, _, items, _ = build_run(args)
        with pytest.raises(InputError, match="cut off whole"):
            train(args, branch, items)

    def test_no_data_and_raw_data_without_a_vae(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match="nothing to learn from"):
            build_run(AlignArgs(**parts))
        args = AlignArgs(vl_model=parts["vl_model"], data=str(save_boxes(tmp_path)))
        with pytest.raises(InputError, match="needs a VAE"):
            build_run(args)

    def test_a_language_model_that_is_incomplete_or_a_device_that_is_none(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        from safetensors.torch import load_file, save_file

        language = Path(save_language(tmp_path / "language"))
        state = load_file(language / "model.safetensors")
        state.pop(next(name for name in state if "layers" in name))
        save_file(state, language / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match="lacks"):
            build_branch(AlignArgs(vl_model=str(language)), latent_dim=4)
        with pytest.raises(CheckpointError, match="device 'nowhere'"):
            build_branch(AlignArgs(**parts, device="nowhere"))

    @pytest.mark.parametrize(
        "change",
        [{"vae_config": "a"}, {"truncate_mode": "tail"}, {"dtype": "float16"}, {"clip": 0.0},
         {"schedule": "x"}, {"projector_lr": -1.0}, {"use_lora": True, "train_all": True},
         {"lr": float("nan")}],
    )  # fmt: skip
    def test_arguments_that_make_no_run(self, change: dict[str, Any]) -> None:
        with pytest.raises(InputError):
            AlignArgs(**change)

    def test_a_shuffle_needs_two(self) -> None:
        branch = Qwen3VLWith3DBranch(make_vl(), Projector3D(D, H))
        with pytest.raises(InputError, match="shuffle two"):
            mean_loss(
                branch, dummy_items(1, latent_dim=D, vocab_size=9), batch_size=1, shuffle=True
            )
