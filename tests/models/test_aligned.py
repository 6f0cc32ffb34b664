"""Aligned models from folders, and what they answer: all parts must fit, answers are repeatable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.align_toys import VAE_CONFIG, make_tokenizer, save_boxes, save_language, save_vae
from tests.models.test_align3d import TYPES, make_vl

from cadwright.errors import CheckpointError, InputError
from cadwright.models.align3d.aligned import Aligned, Parts, load_aligned
from cadwright.models.align3d.depth_projector import DepthProjector3D
from cadwright.models.align3d.describe import answer, describe_mesh
from cadwright.models.align3d.export import export_aligned
from cadwright.models.align3d.sources import GeneratedShapes, Shape
from cadwright.models.vqvae.inputs import sdfs_to_batch
from cadwright.program.file_to_mesh import file_to_mesh
from cadwright.training.align.args import AlignArgs
from cadwright.training.align.build import build_run
from cadwright.training.align.run import train

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that needs nothing from elsewhere but VAE and language model."""
    folder = tmp_path_factory.mktemp("aligned")
    config, weights = save_vae(folder / "vae")
    args = AlignArgs(
        vae_config=config, vae_ckpt=weights, vl_model=save_language(folder / "language"),
        data="generator", max_samples=2, epochs=1, block=2, projector_layers=2, final_norm=True,
        output_dir=str(folder / "run"),
    )  # fmt: skip
    branch, tokenizer, items, notes = build_run(args)
    train(args, branch, items, notes=notes, tokenizer=tokenizer)
    return folder / "run"


def change_args(run: Path, to: Path, **changes: Any) -> Path:
    to.mkdir()
    args = json.loads((run / "train_args.json").read_text())
    (to / "train_args.json").write_text(json.dumps({**args, **changes}))
    (to / "projector_final.pt").write_bytes((run / "projector_final.pt").read_bytes())
    return to


class TestLoading:
    def test_the_weights_are_those_of_the_run_and_nothing_learns(self, run: Path) -> None:
        aligned = load_aligned(run)
        saved = torch.load(run / "projector_final.pt", weights_only=True)
        found = aligned.branch.projector.state_dict()
        assert saved.keys() == found.keys() and "ln.weight" in found
        assert all(torch.equal(found[name], saved[name]) for name in saved)
        assert not any(p.requires_grad for p in aligned.branch.parameters())
        assert not aligned.branch.training and aligned.branch.block == 2

    def test_a_run_that_was_stopped_gives_its_newest_epoch(self, run: Path, tmp_path: Path) -> None:
        stopped = change_args(run, tmp_path / "stopped")
        (stopped / "projector_final.pt").rename(stopped / "projector_epoch2.pt")
        state = torch.load(stopped / "projector_epoch2.pt", weights_only=True)
        torch.save({k: v * 0 for k, v in state.items()}, stopped / "projector_epoch10.pt")
        newest = load_aligned(stopped).branch.projector
        assert all(not value.any() for value in newest.state_dict().values())

    def test_another_vae_is_refused(self, run: Path, tmp_path: Path) -> None:
        config, weights = save_vae(tmp_path / "vae", seed=1)
        with pytest.raises(CheckpointError, match="aligned to another VAE"):
            load_aligned(run, parts=Parts(vae_config=config, vae_ckpt=weights))
        with pytest.raises(CheckpointError, match="aligned to another VAE"):
            load_aligned(change_args(run, tmp_path / "x", vae_config=None, vae_ckpt=None))

    def test_what_is_missing_or_broken_is_named(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="no such folder"):
            load_aligned(tmp_path / "lost")
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(CheckpointError, match=r"has no train_args\.json"):
            load_aligned(empty)
        bare = change_args(run, tmp_path / "bare")
        (bare / "projector_final.pt").write_bytes(b"nothing")
        with pytest.raises(CheckpointError, match="cannot be used"):
            load_aligned(bare)
        (bare / "projector_final.pt").unlink()
        with pytest.raises(CheckpointError, match="holds no projector"):
            load_aligned(bare)
        with pytest.raises(CheckpointError, match="cannot be used"):
            load_aligned(change_args(run, tmp_path / "layers", projector_layers=1))
        with pytest.raises(InputError, match="token 1 cells"):
            load_aligned(change_args(run, tmp_path / "block", block=1))
        with pytest.raises(CheckpointError, match="names no vl_model"):
            load_aligned(change_args(run, tmp_path / "language", vl_model=None))


@pytest.mark.parametrize("model_type", TYPES)
def test_every_family_trains_by_the_same_arguments_and_answers(
    model_type: str, run: Path, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer()
    language: Any = make_vl(model_type, vocab_size=len(tokenizer))
    language.save_pretrained(tmp_path / "language")
    tokenizer.save_pretrained(tmp_path / "language")
    vae = run.parent / "vae"
    args = AlignArgs(
        vae_config=str(vae / "vqvae.json"), vae_ckpt=str(vae / "model.safetensors"),
        vl_model=str(tmp_path / "language"), data="generator", max_samples=2, epochs=1,
        output_dir=str(tmp_path / "run"),
    )  # fmt: skip
    branch, _, items, notes = build_run(args)
    train(args, branch, items, notes=notes)
    aligned = load_aligned(tmp_path / "run")
    assert type(aligned.branch.vl_model).__name__ == type(language).__name__
    shape = GeneratedShapes(VAE_CONFIG, num=1, seed=4)[0]
    assert isinstance(answer(aligned, [shape], ["what is it?"], max_new_tokens=3)[0], str)


def test_an_export_stands_alone_and_answers_as_before(run: Path, tmp_path: Path) -> None:
    vae = run.parent / "vae"
    own = Parts(vae_config=vae / "vqvae.json", vae_ckpt=vae / "model.safetensors")
    shape = GeneratedShapes(VAE_CONFIG, num=1, seed=4)[0]
    before = answer(load_aligned(run), [shape], ["what is it?"], max_new_tokens=6)
    folder = export_aligned(load_aligned(run), tmp_path / "out", dtype=torch.float32)
    assert str(run.parent) not in (folder / "train_args.json").read_text()
    after = answer(load_aligned(folder, parts=own), [shape], ["what is it?"], max_new_tokens=6)
    assert before == after
    halved = export_aligned(load_aligned(run), tmp_path / "half")
    sizes = [sum(p.stat().st_size for p in f.rglob("*.safetensors")) for f in (halved, folder)]
    assert sizes[0] < 0.6 * sizes[1]
    with pytest.raises(CheckpointError, match="aligned to another VAE"):
        load_aligned(folder)  # the embedded VAE is not the one of this run
    with pytest.raises(InputError, match="another folder"):
        export_aligned(load_aligned(folder, parts=own), folder)


def trained_and_exported(
    run: Path, out: Path, **options: Any
) -> tuple[Aligned, list[str], list[str]]:
    """Train a little, export, load again: what came back, and what it says before and after."""
    vae = run.parent / "vae"
    args = AlignArgs(
        vae_config=str(vae / "vqvae.json"), vae_ckpt=str(vae / "model.safetensors"),
        vl_model=str(run.parent / "language"), data="generator", max_samples=2,
        output_dir=str(out / "run"), **options,
    )  # fmt: skip
    branch, tokenizer, items, notes = build_run(args)
    train(args, branch, items, notes=notes, tokenizer=tokenizer)
    loaded = load_aligned(out / "run")
    shape = GeneratedShapes(VAE_CONFIG, num=1, seed=4)[0]
    before = answer(loaded, [shape], ["what is it?"], max_new_tokens=6)
    folder = export_aligned(loaded, out / "out", dtype=torch.float32)
    own = Parts(vae_config=vae / "vqvae.json", vae_ckpt=vae / "model.safetensors")
    alone = load_aligned(folder, parts=own)
    return alone, before, answer(alone, [shape], ["what is it?"], max_new_tokens=6)


def test_a_projector_of_depth_maps_goes_into_an_export_and_comes_back(
    run: Path, tmp_path: Path
) -> None:
    alone, before, after = trained_and_exported(run, tmp_path, epochs=1, projector="depth")
    assert isinstance(alone.branch.projector, DepthProjector3D)
    assert after == before
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_aligned(change_args(tmp_path / "run", tmp_path / "mlp", projector="mlp"))


def test_adapters_are_merged_into_an_export(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    alone, before, after = trained_and_exported(run, tmp_path, epochs=2, lr=0.1, use_lora=True)
    assert not any("lora" in name for name, _ in alone.branch.named_parameters())
    assert after == before


class TestAnswers:
    def test_a_part_gives_the_same_words_alone_in_a_batch_and_as_codes(self, run: Path) -> None:
        aligned = load_aligned(run)
        source = GeneratedShapes(VAE_CONFIG, num=3, seed=4)
        shapes = [source[k] for k in range(3)]
        questions = ["How many holes are there?", "What is it?", "how many bodies?"]
        together = answer(aligned, shapes, questions, max_new_tokens=6)
        alone = [
            answer(aligned, [s], [q], max_new_tokens=6)[0]
            for s, q in zip(shapes, questions, strict=True)
        ]
        vae: Any = aligned.branch.vae
        codes = [vae.Encode(sdfs_to_batch([s.sdf])) for s in shapes if s.sdf is not None]
        told = [Shape("", (), None, code.feats, code.coords) for code in codes]
        assert together == alone == answer(aligned, told, questions, max_new_tokens=6)

    def test_a_mesh_of_any_size_and_place_is_the_same_part(self, run: Path, tmp_path: Path) -> None:
        save_boxes(tmp_path)
        mesh = file_to_mesh(tmp_path / "box0.stl")
        moved = type(mesh)(mesh.vertices * 8 + 64, mesh.faces)
        aligned = load_aligned(run)
        said = describe_mesh(aligned, mesh, max_new_tokens=6)
        assert said == describe_mesh(aligned, moved, max_new_tokens=6)

    def test_an_empty_question_is_refused(self, run: Path, tmp_path: Path) -> None:
        save_boxes(tmp_path)
        with pytest.raises(InputError, match="question is empty"):
            describe_mesh(
                load_aligned(run),
                file_to_mesh(tmp_path / "box0.stl"),
                question=" ",
            )
