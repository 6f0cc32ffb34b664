"""Recipes: what is written is what runs, and every mistake is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cadwright.errors import InputError
from cadwright.training.config import (
    FIXED_ON_RESUME,
    TrainConfig,
    config_from_values,
    config_to_yaml,
    load_config,
)

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text("output_dir: out\nlr: 0.5\nbatch_size: 3\n")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_of_the_project_is_valid(path: Path) -> None:
    config = load_config(path)
    assert Path(config.output_dir).name == path.stem


def test_there_are_recipes_to_check() -> None:
    assert {"embedded", "smoke"} <= {path.stem for path in RECIPES}


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
