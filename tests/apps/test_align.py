"""``cadwright align`` and ``cadwright describe``: the seed's arguments, files, sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.align_toys import NUM_WORDS, save_boxes, save_language, save_vae

from cadwright.apps.cli import main, make_parser
from cadwright.models.align3d.aligned import ASSETS

pytest.importorskip("numba")


def test_the_seeds_arguments_have_its_defaults() -> None:
    args = make_parser().parse_args(["align", "train"])
    assert args.vl_model == "Qwen/Qwen2-VL-2B-Instruct" and args.output_dir == "./outputs_3d_vl"
    assert (args.max_3d_tokens, args.use_3d_pos, args.projector_layers) == (2048, False, 1)
    assert (args.lr, args.epochs, args.batch_size) == (1e-4, 3, 2)
    assert (args.use_lora, args.lora_r) == (False, 8)
    assert (args.dummy_data, args.dummy_samples) == (False, 50)
    assert args.vae_config is None and args.vae_ckpt is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Extracted and trained by the command line."""
    folder = tmp_path_factory.mktemp("align")
    config, weights = save_vae(folder / "vae")
    vae = ["--vae_config", config, "--vae_ckpt", weights]
    language, data = save_language(folder / "language"), str(save_boxes(folder))
    codes, out = str(folder / "codes"), str(folder / "run")
    assert main(["align", "extract", *vae, "--data", data, "--output_dir", codes]) == 0
    words = ["--data", codes, "--vl_model", language, "--output_dir", out, "--epochs", "2"]
    assert main(["align", "train", *vae, *words, "--use_3d_pos", "--lr", "1e-3"]) == 0
    return folder / "run"


def test_the_outputs_are_the_published_ones(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {
        "projector_epoch0.pt", "projector_epoch1.pt", "projector_final.pt", "train_args.json",
    } <= names  # fmt: skip
    said = json.loads((run / "train_args.json").read_text())
    assert said["epochs"] == 2 and said["use_3d_pos"] is True and said["latent_dim"] == 4


@pytest.mark.parametrize("published", [False, True])
def test_eval_reads_a_run_by_its_folder_or_its_projector(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], published: bool
) -> None:
    named = ["--model", str(run)]
    if published:
        named = ["--projector_ckpt", str(run / "projector_final.pt")]
    words = ["--data", str(run.parent / "captions.jsonl"), "--max_new_tokens", "4"]
    assert main(["align", "eval", *named, *words, "--output_dir", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["num"] == 3 and 0 <= printed["bleu_1"] <= 1 and "meteor" in printed
    assert (tmp_path / "eval_results.jsonl").is_file()


def test_dummy_data_needs_neither_data_nor_vae(run: Path, tmp_path: Path) -> None:
    words = ["--dummy_data", "--dummy_samples", "3", "--epochs", "1"]
    language = str(run.parent / "language")
    assert main(
        ["align", "train", *words, "--vl_model", language, "--output_dir", str(tmp_path)]
    ) == 0  # fmt: skip
    assert (tmp_path / "projector_final.pt").is_file()


def test_language_makes_a_model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cadwright.training.align.language.NUM_VOCABULARY", NUM_WORDS)
    monkeypatch.setattr("cadwright.training.align.language.NUM_HELD_OUT", 2)
    words = "--hidden_size 32 --num_layers 1 --num_heads 2 --num_kv_heads 1 --steps 1".split()
    more = ["--intermediate_size", "32", "--batch_size", "2", "--output_dir", str(tmp_path)]
    assert main(["align", "language", *words, *more]) == 0
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_a_part_is_described_and_one_that_fails_costs_a_sentence(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box, lost = str(run.parent / "box0.stl"), str(run.parent / "lost.stl")
    words = ["--model", str(run), "--max_new_tokens", "3"]
    assert main(["describe", box, *words]) == 0
    alone = capsys.readouterr().out
    assert main(["describe", lost, box, *words, "--ask", "how many holes?", "--json"]) == 1
    captured = capsys.readouterr()
    entries = json.loads(captured.out)
    assert "lost.stl" in entries[0]["error"] and "text" in entries[1] and alone.endswith("\n")
    assert captured.err.count("cadwright: ") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["describe", "x.stl", "--ask", " "], "needs a question"),
        (["describe", "x.stl", "--model", "nowhere"], "no such folder"),
        (["align", "train", "--vae_config", "a.json"], "both --vae_config and --vae_ckpt"),
        (["align", "train", "--dummy_data", "--vl_model", "nowhere"], "there is no folder nowhere"),
        (["align", "train", "--epochs", "0"], "epochs must be at least 1"),
        (["align", "train", "--dummy_data", "--dummy_samples", "0"], "dummy_samples"),
        (["align", "extract", "--data", "a.txt", "--output_dir", "x"], "from .jsonl or .csv"),
        (["align", "extract", "--data", "a.jsonl", "--vae_ckpt", "x", "--output_dir", "x"], "both"),
        (["align", "eval", "--model", "nowhere", "--data", "generator"], "no such folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    said = capsys.readouterr().err.strip().splitlines()
    sentences = [line for line in said if line.startswith("cadwright: ")]
    assert len(sentences) == 1 and message in sentences[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not ASSETS.is_dir(), reason="the package has no embedded describing model")
def test_the_embedded_model_sees_that_a_box_is_a_box(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_boxes(tmp_path)
    assert main(["describe", str(tmp_path / "box0.stl"), "--ask", "how many holes?"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "It has 0 through holes.\n"
    figures = json.loads((ASSETS / "figures.json").read_text())
    assert f"holes {figures['holes_right']:.0%}" in captured.err
    assert main(["describe", str(tmp_path / "box0.stl")]) == 0
    assert "1 body" in capsys.readouterr().out
