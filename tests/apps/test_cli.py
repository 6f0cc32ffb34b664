from __future__ import annotations

from pathlib import Path

import pytest

from cadwright.apps.cli import COMMANDS, main, make_parser

RECIPES = Path(__file__).parents[2] / "recipes"


def words_of(verb: str) -> list[str]:
    rest = {
        "reconstruct": ["a.stl", "b.stl", "--out", "d"],
        "run": ["p.py", "--out", "x.step"],
        "render": ["m.stl", "--out", "x.png"],
        "generate": ["--out", "d", "--num", "3"],
        "train": ["r.yaml", "lr=1", "seed=2"],
    }
    return [verb, *rest[verb]]


@pytest.mark.parametrize("verb", ["reconstruct", "run", "render", "generate", "train"])
def test_every_verb_leads_to_its_module(verb: str) -> None:
    args = make_parser().parse_args(words_of(verb))
    assert args.execute in {command.execute for command in COMMANDS}
    assert args.execute.__module__.endswith(f".{verb}")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["reconstruct", "a.stl"],
        ["reconstruct", "a.stl", "--out", "d", "--candidates", "0"],
        ["reconstruct", "a.stl", "--out", "d", "--budget", "-1"],
        ["reconstruct", "a.stl", "--out", "d", "--budget", "nan"],
        ["reconstruct", "a.stl", "--out", "d", "--seed", "-3"],
        ["run", "p.py", "--out", "x.step", "--kernel", "magic"],
        ["render", "m.stl", "--out", "x.png", "--views", "3"],
        ["generate", "--out", "d"],
    ],
)
def test_bad_usage_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "usage: cadwright" in capsys.readouterr().err


def test_ctrl_c_is_status_130_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cadwright.program.file_to_mesh.file_to_mesh", interrupt)
    assert main(["render", "m.stl", "--out", "x.png"]) == 130
    assert capsys.readouterr().err == "cadwright: interrupted\n"


def test_generate_writes_shards_and_goes_on_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    words = ["generate", "--out", str(tmp_path / "s"), "--seed", "4", "--points", "16"]
    assert main([*words, "--num", "4", "--shard-size", "4"]) == 0
    first = (tmp_path / "s" / "shard-00000.parquet").read_bytes()
    assert main([*words, "--num", "6", "--shard-size", "4"]) == 0
    assert (tmp_path / "s" / "shard-00000.parquet").read_bytes() == first
    assert (tmp_path / "s" / "shard-00001.parquet").is_file()
    assert main([*words, "--num", "8", "--shard-size", "5"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("cadwright: ")
    assert captured.err.count("\n") == 1
    assert "6 samples" in captured.out


def test_train_with_a_bad_recipe_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("output_dir: out\nsteps: 3\n")
    assert main(["train", str(recipe)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cadwright: ")
    assert "steps" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("task", "module", "name"),
    [
        ("sft", "cadwright.training.sft", "train"),
        ("rl", "cadwright.training.rl.run", "train_rl"),
        ("vqvae", "cadwright.training.vqvae.run", "train"),
    ],
)
def test_train_hands_each_task_to_its_own_trainer(
    task: str,
    module: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("accelerate")
    seen: list[object] = []
    monkeypatch.setattr(f"{module}.{name}", lambda config: seen.append(config) or tmp_path)
    recipe = RECIPES / {"sft": "smoke", "rl": "rl_smoke", "vqvae": "vqvae_smoke"}[task]
    assert main(["train", f"{recipe}.yaml", "output_dir=elsewhere"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"
    assert [config.output_dir for config in seen] == ["elsewhere"]  # type: ignore[attr-defined]


def test_train_names_the_tasks_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("output_dir: out\ntask: dream\n")
    assert main(["train", str(recipe)]) == 1
    assert "sft, rl or vqvae, not 'dream'" in capsys.readouterr().err
