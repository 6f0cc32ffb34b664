"""Recipes: what is written is what runs, and every mistake is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen2_vl import modeling_qwen2_vl

from cadwright.errors import InputError
from cadwright.training.config import (
    FIXED_ON_RESUME,
    TrainConfig,
    config_from_values,
    config_to_yaml,
    load_config,
)

FOLDER = Path(__file__).parents[2] / "recipes"
NAMES = """
cad_recode cadrille embedded embedded_gpu embedded_multimodal embedded_multimodal_start
embedded_start lora smoke
""".split()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text("output_dir: out\nlr: 0.5\nbatch_size: 3\nhidden_size: 256\nnum_heads: 4\n")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_of_the_project_is_valid(name: str) -> None:
    config = load_config(FOLDER / f"{name}.yaml")
    assert Path(config.output_dir).name == name


def test_cad_recode_is_trained_as_published() -> None:
    config = load_config(FOLDER / "cad_recode.yaml")
    found = (config.lr, config.weight_decay, config.schedule, config.warmup, config.iterations)
    assert found == (2e-4, 0.01, "cosine", 1000, 100_000)
    assert (config.batch_size * config.accumulation, config.num_points) == (18, 256)
    assert (config.noise_std, config.noise_probability) == (0.01, 0.5)


def test_cadrille_is_trained_as_published() -> None:
    config = load_config(FOLDER / "cadrille.yaml")
    assert (config.model, config.iterations, config.lr) == ("cadrille", 120_000, 2e-4)
    assert (config.batch_size * config.accumulation, config.picture_size) == (32, 280)
    assert config.points_weight == config.views_weight


@pytest.mark.parametrize("path", sorted((FOLDER / "accelerate").glob("*.yaml")), ids=str)
def test_accelerate_reads_its_settings_and_finds_the_layers(path: Path) -> None:
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    settings = config_args.load_config_from_file(str(path))
    assert settings.mixed_precision == ("no" if path.stem == "cpu" else "bf16")
    modules = (modeling_qwen2, modeling_qwen2_vl)
    for name in settings.fsdp_config.get("fsdp_transformer_layer_cls_to_wrap", "").split(","):
        assert not name or any(hasattr(module, name) for module in modules)


def test_written_config_reads_back_the_same(recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe, ["init_from=some folder", "schedule=wsd", "max_minutes=1.5"])
    written = tmp_path / "again.yaml"
    written.write_text(config_to_yaml(config))
    assert load_config(written) == config


def test_overrides_go_before_the_recipe_and_later_ones_before_earlier(recipe: Path) -> None:
    config = load_config(recipe, ["lr=1e-3", "batch_size=7", "batch_size=8", "resume=false"])
    assert (config.lr, config.batch_size, config.resume) == (1e-3, 8, False)


def test_integers_are_taken_where_a_float_is_wanted(recipe: Path) -> None:
    assert load_config(recipe, ["lr=1"]).lr == 1.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batchsize=4", "'batchsize'.*did you mean 'batch_size'"),
        ("batch_size=4.5", "'batch_size' must be of type int, not 4.5"),
        ("batch_size=true", "'batch_size' must be of type int, not True"),
        ("resume=1", "'resume' must be of type bool"),
        ("lr=fast", "'lr' must be of type float, not 'fast'"),
        ("lr=.nan", "'lr' must not be negative or infinite"),
        ("lr=.inf", "'lr' must not be negative or infinite"),
        ("dtype=float64", "'dtype' must be one of"),
        ("schedule=linear", "'schedule' must be one of"),
        ("noise_probability=1.5", "'noise_probability' must lie between 0 and 1"),
        ("batch_size=0", "'batch_size' must be at least 1"),
        ("num_heads=3", "'num_heads' must divide 'hidden_size'"),
        ("num_kv_heads=3", "'num_kv_heads' must divide 'num_heads'"),
        ("output_dir=null", "'output_dir' must be of type str"),
        ("hidden_size=0", "'hidden_size' must be at least 1"),
        ("encoder_lr=fast", "'encoder_lr' must be of type float or null, not 'fast'"),
        ("patience=2", "'patience' needs a 'best_metric'"),
        ("best_metric=loss", "'best_metric' must be one of"),
        ("best_metric=eval_iou", "'eval_iou' needs 'eval_programs'"),
        ("device=cuda:1", "'device' must be one of"),
        ("lr", "not of the form key=value"),
        ("lr=[1", "not YAML"),
    ],
)
def test_bad_setting_is_named(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(recipe, [override])


@pytest.mark.parametrize("text", ["- a\n- b\n", "lr: [1\n", ""])
def test_text_that_is_no_recipe_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        load_config(path)


def test_missing_recipe_and_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="lacks the setting 'output_dir'"):
        config_from_values({"lr": 0.1})


def test_every_setting_is_explained_in_the_docstring() -> None:
    text = TrainConfig.__doc__ or ""
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert {name for name in names if f"        {name}: " not in text} == set()
    assert set(FIXED_ON_RESUME) <= names
