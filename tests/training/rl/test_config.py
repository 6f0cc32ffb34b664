"""Recipes of reinforcement learning: all parse, and mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cadwright.errors import InputError
from cadwright.training.recipe import make_settings, settings_to_yaml
from cadwright.training.rl.config import FIXED_ON_RESUME, RLConfig, load_rl_config
from cadwright.training.rl.run import main

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("rl_*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_read_and_survives_being_written(path: Path, tmp_path: Path) -> None:
    config = load_rl_config(path)
    assert config.task == "rl" and config.output_dir == f"runs/{path.stem}"
    again = tmp_path / "resolved.yaml"
    again.write_text(settings_to_yaml(config))
    assert load_rl_config(again) == config


def test_the_recipes_are_found() -> None:
    assert {"rl_embedded", "rl_cadrille", "rl_grpo", "rl_smoke"} <= {p.stem for p in RECIPES}


def test_cadrilles_recipe_is_the_published_one() -> None:
    config = load_rl_config(next(path for path in RECIPES if path.stem == "rl_cadrille"))
    assert (config.samples, config.keep, config.updates) == (16, 4, 3)
    assert (config.clip_ratio, config.lr, config.temperature) == (0.1, 3e-5, 1.0)
    assert (config.algorithm, config.hard_below, config.kl_weight) == ("dr_cppo", 7.5, 0.0)


def test_overrides_win() -> None:
    config = load_rl_config(RECIPES[0], ["lr=1e-3", "samples=8", "keep=2"])
    assert (config.lr, config.samples, config.keep) == (1e-3, 8, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sample": 4}, "no setting 'sample'; did you mean 'samples'"),
        ({"lr": "fast"}, "'lr' must be of type float"),
        ({"samples": 1}, "'samples' must be at least 2"),
        ({"samples": 4, "keep": 5}, "'keep' must not exceed"),
        ({"clip_ratio": 0.0}, "'clip_ratio' must be greater than 0"),
        ({"temperature": float("nan")}, "'temperature' must be greater than 0"),
        ({"kl_weight": -1.0}, "'kl_weight' must not be negative"),
        ({"hard_share": 1.5}, "'hard_share' must lie between 0 and 1"),
        ({"algorithm": "ppo"}, "'algorithm' must be one of"),
        ({"inputs": "words"}, "'inputs' must be one of"),
        ({"eval_parts": 0}, "'eval_parts' must be at least 1"),
        ({"invalid_reward": 1.0}, "'invalid_reward' must not be positive"),
        ({"entropy_floor": 0.0}, "'entropy_floor' must be greater"),
        ({"task": "sft"}, "'task' must be one of"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_settings({"output_dir": "x", **values}, RLConfig)


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert main(["no/such/recipe.yaml"]) == 1
    words = capsys.readouterr().err
    assert "usage" in words and "no/such/recipe.yaml" in words


def test_what_must_stay_on_a_resume_is_there() -> None:
    assert set(FIXED_ON_RESUME) <= set(RLConfig.__dataclass_fields__)
