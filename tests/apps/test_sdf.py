"""``cadwright sdf``: files, table, exit status."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cadwright.apps.cli import main
from cadwright.geometry.sdf_io import file_to_sha256, load_sdf, read_metadata
from cadwright.geometry.stl import save_stl
from cadwright.types import Mesh

pytest.importorskip("numba")


@pytest.fixture
def box_file(tmp_path: Path) -> Path:
    import manifold3d as m3

    from cadwright.geometry.manifolds import manifold_to_mesh

    path = tmp_path / "box.stl"
    save_stl(manifold_to_mesh(m3.Manifold.cube((30, 20, 10))), path)
    return path


def test_a_part_becomes_a_file_and_a_row(
    tmp_path: Path, box_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    out = tmp_path / "sdf"
    assert main(["sdf", str(box_file), "--resolution", "24", "--out", str(out), "--mesh"]) == 0
    sha = file_to_sha256(box_file)
    sdf = load_sdf(out / f"{sha}_r24.npz")
    row = read_metadata(out)[sha]
    assert row["sdf_computed"] == "True" and row["captions"] == "[]"
    assert int(row["r24_num_points"]) == len(sdf.values) and row["file_identifier"] == "box.stl"
    printed = capsys.readouterr().out
    assert f"{len(sdf.values)} samples at 24" in printed and " MB" in printed
    from cadwright.geometry.mesh_io import load_shape

    back = load_shape(out / f"{sha}_r24.stl")
    assert np.allclose(back.bounds, [[0, 0, 0], [30, 20, 10]], atol=1e-3)


def test_json_two_resolutions_and_the_band(
    tmp_path: Path, box_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sdf", str(box_file), "--out", str(tmp_path), "--json", "--band", "2"]
    assert main([*words, "--resolution", "16"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["closed"] and entry["seconds"] > 0 and entry["working_mb"] > 0
    assert load_sdf(entry["file"]).band == pytest.approx(2 * 15 / 16)
    assert main([*words, "--resolution", "20"]) == 0
    (row,) = read_metadata(tmp_path).values()
    assert row["r16_num_points"] and row["r20_num_points"]


def test_a_part_that_fails_costs_a_sentence_and_a_row_and_the_others_are_done(
    tmp_path: Path, box_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = tmp_path / "cloud.npy"
    np.save(cloud, np.random.default_rng(0).random((50, 3)))
    out = tmp_path / "sdf"
    words = [str(cloud), str(tmp_path / "none.stl"), str(box_file)]
    assert main(["sdf", *words, "--resolution", "16", "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert "a point cloud has no surface" in captured.err and "none.stl" in captured.err
    assert "box.stl" in captured.out and len(captured.err.splitlines()) == 2
    rows = read_metadata(out)
    assert "no surface" in rows[file_to_sha256(cloud)]["r16_error"]
    assert rows[file_to_sha256(cloud)]["sdf_computed"] == "False"


def test_an_open_sheet_is_said_to_be_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = Mesh(np.array([[0.0, 0, 0], [4, 0, 0.3], [4, 3, 0], [0, 3, 0.3]]),
                 np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32))  # fmt: skip
    save_stl(sheet, tmp_path / "sheet.stl")
    words = ["sdf", str(tmp_path / "sheet.stl"), "--resolution", "32", "--out", str(tmp_path)]
    assert main(words) == 0
    assert "open: sides by winding number, nothing inside" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--resolution", "4"], [], ["--resolution", "x"]])
def test_a_command_line_that_makes_no_sense(box_file: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["sdf", str(box_file), *words])
    assert stop.value.code == 2


def test_a_resolution_too_high_and_a_folder_that_is_a_file(
    tmp_path: Path, box_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sdf", str(box_file), "--resolution", "4000", "--out", str(tmp_path / "o")]) == 1
    assert "resolution must be 8 to 1024" in capsys.readouterr().err
    assert main(["sdf", str(box_file), "--resolution", "16", "--out", str(box_file)]) == 1
    assert "the output folder is a file" in capsys.readouterr().err
