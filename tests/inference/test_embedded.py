from __future__ import annotations

from pathlib import Path

import pytest

from cadwright.errors import CheckpointError, InputError
from cadwright.inference import embedded
from cadwright.inference.embedded import embedded_folder, embedded_kinds, name_kinds


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(embedded, "_assets", lambda: tmp_path)
    return tmp_path


def add(assets: Path, name: str) -> None:
    (assets / name).mkdir()
    (assets / name / "config.json").write_text("{}")


def test_package_reads_points_offline() -> None:
    assert "points" in embedded_kinds()
    assert (embedded_folder() / "model.safetensors").is_file()


def test_input_without_a_model_is_refused_with_what_is_read(assets: Path) -> None:
    add(assets, "embedded")
    for kind, word in (("views", "pictures"), ("words", "text")):
        with pytest.raises(InputError, match=f"reads meshes and point clouds, not {word}.*--model"):
            embedded_folder(kind)  # type: ignore[arg-type]


def test_multimodal_folder_is_taken_for_pictures_and_text_once_it_is_there(assets: Path) -> None:
    add(assets, "embedded")
    add(assets, "embedded_multimodal")
    assert embedded_kinds() == ("points", "views", "words")
    assert embedded_folder("points").name == "embedded"
    assert embedded_folder("views").name == embedded_folder("words").name == "embedded_multimodal"


def test_lost_assets_are_a_broken_installation(assets: Path) -> None:
    with pytest.raises(CheckpointError, match="lost its embedded model"):
        embedded_folder()


def test_kinds_are_named_for_people() -> None:
    assert name_kinds(["points"]) == "meshes and point clouds"
    assert name_kinds(["words", "points"]) == "meshes and point clouds and text"
    assert name_kinds(embedded.KINDS) == "meshes and point clouds, pictures and text"
