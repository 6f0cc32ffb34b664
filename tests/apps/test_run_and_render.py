from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reconstruct_stubs import DISC, OPEN_LOOP, RING

from cadwright.apps.cli import main
from cadwright.geometry.frames import Placement
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.stl import save_stl
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_user import program_to_user, user_program_to_text
from cadwright.program.text_to_program import text_to_program


@pytest.fixture
def ring_stl(tmp_path: Path) -> Path:
    mesh = program_to_mesh(text_to_program(RING)).mesh
    assert mesh is not None
    save_stl(mesh, tmp_path / "ring.stl")
    return tmp_path / "ring.stl"


def fails(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cadwright: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_run_builds_an_stl_of_the_programs_own_size(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(RING)
    out = tmp_path / "x.stl"
    assert main(["run", str(tmp_path / "p.py"), "--out", str(out), "--kernel", "fast"]) == 0
    np.testing.assert_allclose(load_shape(out).bounds, [[-100, -100, -30], [100, 100, 30]])


def test_run_puts_a_part_in_metres_where_it_belongs(tmp_path: Path) -> None:
    placement = Placement(0.0005, np.array([1.0, 2.0, 3.0]))
    text = user_program_to_text(program_to_user(text_to_program(DISC), placement))
    assert ".scale(0.001)" in text
    (tmp_path / "p.py").write_text(text)
    out = tmp_path / "x.stl"
    assert main(["run", str(tmp_path / "p.py"), "--out", str(out), "--kernel", "fast"]) == 0
    expected = placement.apply([[-100, -100, -30], [100, 100, 30]])
    np.testing.assert_allclose(load_shape(out).bounds, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("import os\nr=1", "line 1, column 1"),
        (RING.replace("circle(60", "ellipse(60"), "ellipse"),
        ("r=(", "line 1"),
        (OPEN_LOOP, "invalid"),
        ("", "no expression"),
    ],
)
def test_run_says_what_is_wrong_and_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, word: str
) -> None:
    (tmp_path / "p.py").write_text(text)
    out = tmp_path / "x.stl"
    words = ["run", str(tmp_path / "p.py"), "--out", str(out), "--kernel", "fast"]
    error = fails(words, capsys)
    assert str(tmp_path / "p.py") in error
    assert word in error
    assert [path.name for path in tmp_path.iterdir()] == ["p.py"]


def test_run_refuses_files_that_are_no_text_or_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.py").write_bytes(b"\xff\xfe\x00\x80")
    assert "not a text" in fails(
        ["run", str(tmp_path / "p.py"), "--out", str(tmp_path / "x.stl")], capsys
    )
    absent = str(tmp_path / "absent.py")
    assert absent in fails(["run", absent, "--out", str(tmp_path / "x.stl")], capsys)


@pytest.mark.parametrize(("out", "word"), [("x.obj", ".step"), ("x.step", "fast kernel")])
def test_run_refuses_formats_it_cannot_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, word: str
) -> None:
    (tmp_path / "p.py").write_text(RING)
    words = ["run", str(tmp_path / "p.py"), "--out", str(tmp_path / out), "--kernel", "fast"]
    assert word in fails(words, capsys)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--size", "64"], (128, 128)),
        (["--size", "80", "--views", "1"], (80, 80)),
        (["--size", "64", "--views", "2"], (128, 64)),
        (["--model-views"], (268, 268)),
    ],
)
def test_render_draws_a_picture_of_the_size_asked_for(
    ring_stl: Path, options: list[str], size: tuple[int, int]
) -> None:
    out = ring_stl.with_name("x.png")
    assert main(["render", str(ring_stl), "--out", str(out), *options]) == 0
    with Image.open(out) as picture:
        assert picture.size == size
        assert len(picture.getcolors(1 << 16) or range(99)) > 10


def test_render_refuses_points_and_bad_names(
    tmp_path: Path, ring_stl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).random((50, 3)))
    out = str(tmp_path / "x.png")
    assert "point cloud" in fails(["render", str(tmp_path / "cloud.npy"), "--out", out], capsys)
    assert ".png" in fails(["render", str(ring_stl), "--out", str(tmp_path / "x.jpg")], capsys)
    nowhere = str(tmp_path / "no" / "x.png")
    assert "does not exist" in fails(["render", str(ring_stl), "--out", nowhere], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cloud.npy", "ring.stl"]
