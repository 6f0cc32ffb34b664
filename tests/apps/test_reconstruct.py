from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reconstruct_stubs import DISC, PLACEMENT, RING, StubDecoder

from cadwright.apps.cli import main
from cadwright.apps.commands.reconstruct import part_names
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.geometry.pictures import save_png
from cadwright.geometry.stl import save_stl
from cadwright.inference import embedded, pipeline
from cadwright.inference.embedded import embedded_folder, embedded_kinds, name_kinds
from cadwright.inference.result import FILES
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

OPTIONS = ["--candidates", "2", "--budget", "0"]


@pytest.fixture(autouse=True)
def stub_model(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model, no OpenCASCADE."""
    real = pipeline.Reconstructor

    def make(model: str, *, tokenizer: str | None, device: str) -> pipeline.Reconstructor:
        return real(
            StubDecoder(RING, DISC) if model == "embedded" else model,
            tokenizer=tokenizer,
            device=device,
        )  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "Reconstructor", make)


def ring() -> Mesh:
    mesh = program_to_mesh(text_to_program(RING)).mesh
    assert mesh is not None
    return normalise(mesh, PLACEMENT)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    save_stl(ring(), tmp_path / "in" / "good.stl")
    return tmp_path / "in" / "good.stl"


def write_nan(path: Path) -> None:
    mesh = ring()
    save_stl(
        Mesh(np.where(mesh.vertices == mesh.vertices[0], np.nan, mesh.vertices), mesh.faces), path
    )


def write_truncated(path: Path) -> None:
    save_stl(ring(), path)
    path.write_bytes(path.read_bytes()[:-70])


def write_ten_million_faces(path: Path) -> None:
    """Only as long as its header says, a sparse file that takes no room on the disk."""
    count = 10_000_000
    with path.open("wb") as file:
        file.write(bytes(80) + count.to_bytes(4, "little"))
        file.truncate(84 + 50 * count)


def write_flat(path: Path) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=float)
    save_stl(Mesh(corners, np.array([[0, 1, 2], [0, 2, 1]], dtype=np.int32)), path)


def write_fins(path: Path) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]], dtype=np.int32)
    save_stl(Mesh(corners, faces), path)


BAD: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "empty": ("a.stl", lambda path: path.write_bytes(b""), "empty"),
    "truncated": ("a.stl", write_truncated, "cut off"),
    "text": (
        "a.stl",
        lambda path: path.write_text("Dear Sir,\nattached is"),
        "not an STL",
    ),
    "picture": ("a.stl", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200)), "PNG"),
    "STL named ply": ("a.ply", lambda path: save_stl(ring(), path), "STL file"),
    "unknown suffix": ("a.foo", lambda path: path.write_text("x"), "unknown kind"),
    "NaN": ("a.stl", write_nan, "finite"),
    "zero volume": ("a.stl", write_flat, "no volume"),
    "not manifold": ("a.stl", write_fins, "not manifold"),
    "10 million faces": ("a.stl", write_ten_million_faces, "10000000 triangles"),
    "folder": ("a.stl", lambda path: path.mkdir(), "folder"),
    "absent": ("a.stl", lambda path: None, "no such file"),
    "damaged OBJ": ("a.obj", lambda path: path.write_text("v 1 2 x\nf 1 2 3\n"), "a.obj"),
    "few points": ("a.npy", lambda path: np.save(path, np.ones((3, 3))), "points"),
}


@pytest.mark.parametrize(("name", "write", "word"), BAD.values(), ids=BAD.keys())
def test_bad_part_costs_one_sentence_and_the_others_are_done(
    tmp_path: Path, good: Path, capfd: pytest.CaptureFixture[str],
    name: str, write: Callable[[Path], Any], word: str,
) -> None:  # fmt: skip
    bad, out = tmp_path / "in" / name, tmp_path / "out"
    write(bad)
    assert main(["reconstruct", str(bad), str(good), "--out", str(out), *OPTIONS]) == 1
    captured = capfd.readouterr()
    assert captured.err.startswith(f"cadwright: {bad}: ")
    assert captured.err.count("\n") == 1
    assert word in captured.err
    assert captured.err.count(name) == 1  # the file is named once
    assert captured.out.startswith("good: IoU 1.000")
    assert [path.name for path in out.iterdir()] == ["good"]
    assert {path.name for path in (out / "good").iterdir()} == set(FILES)


def test_all_bad_leaves_no_output_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["reconstruct", str(tmp_path / "x.stl"), str(tmp_path), "--out", str(out), *OPTIONS]
    assert main(words) == 1
    assert capsys.readouterr().err.count("cadwright: ") == 2
    assert not out.exists()


def test_json_holds_reports_and_errors_in_order(
    tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = good.with_name("absent.stl")
    words = ["reconstruct", str(good), str(absent), "--out", str(tmp_path / "out"), "--json"]
    assert main([*words, *OPTIONS]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert first["part"] == str(good)
    assert first["report"]["iou"] > 0.99
    assert Path(first["folder"]) == tmp_path / "out" / "good"
    assert second.keys() == {"part", "error"}
    assert "no such file" in second["error"]


def test_nothing_is_drawn_where_stderr_is_no_terminal(
    tmp_path: Path, good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", str(good), "--out", str(tmp_path / "out"), *OPTIONS]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    assert str(tmp_path / "out" / "good") in captured.out


def test_result_is_in_the_frame_of_the_file(tmp_path: Path, good: Path) -> None:
    assert main(["reconstruct", str(good), "--out", str(tmp_path / "out"), *OPTIONS]) == 0
    result = load_shape(tmp_path / "out" / "good" / "part.stl")
    np.testing.assert_allclose(result.bounds, load_shape(good).bounds, atol=1e-4)


def test_parts_of_one_name_get_folders_of_their_own() -> None:
    names = part_names(["part", "part", "part-2", "part"])
    assert names == ["part", "part-2", "part-2-2", "part-3"]


def test_output_folder_that_is_a_file_is_refused(
    tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    assert main(["reconstruct", str(good), "--out", str(tmp_path / "out"), *OPTIONS]) == 1
    assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_ctrl_c_stops_with_130_and_leaves_nothing_half_written(
    tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cadwright.inference.result.save_png", interrupt)
    out = tmp_path / "out"
    assert main(["reconstruct", str(good), "--out", str(out), *OPTIONS]) == 130
    assert capsys.readouterr().err == "cadwright: interrupted\n"
    assert list(out.iterdir()) == []


def test_model_that_lacks_a_tensor_ends_the_call_with_its_name(
    tmp_path: Path, good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from cadwright.models import CADRecode, CADRecodeConfig, CADRecodeProcessor
    from cadwright.models.cad_recode.tokenizer import build_tokenizer

    torch.manual_seed(0)
    tokenizer = build_tokenizer([RING], min_count=1)
    config = CADRecodeConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=24, num_points=32,
    )  # fmt: skip
    folder = tmp_path / "model"
    CADRecode(config).save_pretrained(folder)
    CADRecodeProcessor(tokenizer, num_points=32).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    capfd.readouterr()
    words = ["reconstruct", str(good), str(good), "--out", str(tmp_path / "out")]
    assert main([*words, "--model", str(folder), *OPTIONS]) == 1
    error = capfd.readouterr().err
    assert "model.norm.weight" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def picture(path: Path) -> Path:
    mesh = ring()
    save_png(mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds))), path)
    return path


def test_mesh_picture_views_and_text_in_one_call(
    tmp_path: Path, good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown, out = picture(tmp_path / "shown.png"), tmp_path / "out"
    views = [str(picture(tmp_path / f"view{k}.png")) for k in range(4)]
    words = ["reconstruct", str(good), str(shown), "--views", *views, "--text", "A flat ring"]
    assert main([*words, "--out", str(out), *OPTIONS]) == 0
    captured = capfd.readouterr()
    assert {path.name for path in out.iterdir()} == {"good", "shown", "view0", "a-flat-ring"}
    for folder in out.iterdir():
        assert {path.name for path in folder.iterdir()} == set(FILES)
    assert captured.out.count("no distance was measured") == 3
    assert "shown: 1.000 by the picture" in captured.out
    assert "a-flat-ring: " in captured.out and "by agreement" in captured.out


@pytest.mark.parametrize("count", [0, 1, 5])
def test_views_are_four_or_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    views = [str(tmp_path / f"{k}.png") for k in range(count)]
    assert main(["reconstruct", "--out", str(tmp_path / "out"), "--views", *views]) == 1
    assert capsys.readouterr().err == f"cadwright: --views: there must be 4 pictures, not {count}\n"


def test_nothing_to_do_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", "--out", str(tmp_path / "out")]) == 1
    assert "--views or --text" in capsys.readouterr().err


def test_picture_that_is_none_costs_one_sentence(
    tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, out = tmp_path / "bad.png", tmp_path / "out"
    bad.write_text("no picture")
    assert main(["reconstruct", str(bad), str(good), "--out", str(out), *OPTIONS]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"cadwright: {bad}") and "not a readable picture" in error
    assert error.count("\n") == 1
    assert [path.name for path in out.iterdir()] == ["good"]


def test_help_says_what_the_embedded_model_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reconstruct", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"The embedded model reads {name_kinds(embedded_kinds())}" in text


def test_embedded_model_refuses_what_it_cannot_read_and_does_the_rest(
    tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: StubDecoder, *_: Any, words: str | None = None, **options: Any) -> list[str]:
        if words is not None:
            embedded_folder("words")
        return [RING] * options["num_candidates"]

    monkeypatch.setattr(embedded, "embedded_kinds", lambda: ("points",))
    monkeypatch.setattr(StubDecoder, "decode", refuse)
    out = tmp_path / "out"
    assert main(["reconstruct", str(good), "--text", "a ring", "--out", str(out), *OPTIONS]) == 1
    captured = capsys.readouterr()
    assert "a ring: the embedded model reads meshes and point clouds, not text" in captured.err
    assert captured.out.startswith("good: IoU 1.000")
