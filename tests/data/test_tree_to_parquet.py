from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from cadwright.apps.cli import main
from cadwright.data.finite import open_data
from cadwright.data.sources import open_source
from cadwright.data.tree_to_parquet import tree_to_parquet
from cadwright.errors import InputError
from cadwright.geometry.frames import PROGRAM_TO_UNIT, normalise
from cadwright.geometry.stl import save_stl
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program

parquet = pytest.importorskip("pyarrow.parquet")

BOX = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n" + (
    "r=w0.workplane(offset=0/2).box(200,{},80)"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree" / "train" / "batch_00"
    folder.mkdir(parents=True)
    for k in range(5):
        (folder / f"{k}.py").write_text(BOX.format(40 + 10 * k))
    (folder / "5.py").write_text("import os\nr=os.system('true')")
    return tmp_path / "tree"


def read(out: Path) -> dict[str, list[object]]:
    tables = [parquet.read_table(path) for path in sorted(out.glob("*.parquet"))]
    return {name: sum((t[name].to_pylist() for t in tables), []) for name in tables[0].column_names}


def test_shards_hold_the_programs_and_points_on_their_solids(tree: Path, tmp_path: Path) -> None:
    found = tree_to_parquet(open_source(tree), tmp_path / "out", num_points=16, shard_size=2)
    assert (found.written, found.left_out) == (5, 1)
    assert found.reasons[0].startswith("train/batch_00/5: ")
    columns = read(tmp_path / "out")
    assert columns["index"] == list(range(5))
    assert columns["program"] == [BOX.format(40 + 10 * k) for k in range(5)]
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 3
    half = np.array([100.0, 20.0, 40.0]) / 100
    points = np.array(columns["points"][0]).reshape(16, 3)
    off = np.abs(np.abs(points) - half).min(axis=1)
    assert off.max() < 1e-6 and (np.abs(points) <= half + 1e-6).all()


def test_shards_are_what_training_reads(tree: Path, tmp_path: Path) -> None:
    tree_to_parquet(open_source(tree), tmp_path / "out", num_points=16)
    data = open_data(tmp_path / "out", num_points=8)
    texts = {data(0, index).text for index in range(len(data))}
    assert texts == {BOX.format(40 + 10 * k) for k in range(5)}
    assert data(0, 0).points.shape == (8, 3)


def test_any_number_of_workers_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        tree_to_parquet(open_source(tree), tmp_path / str(workers), num_points=8, workers=workers)
    one, two = (tmp_path / str(w) / "shard-00000.parquet" for w in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_meshes_become_points_without_programs(tmp_path: Path) -> None:
    mesh = program_to_mesh(text_to_program(BOX.format(60))).mesh
    assert mesh is not None
    (tmp_path / "meshes").mkdir()
    save_stl(normalise(mesh, PROGRAM_TO_UNIT), tmp_path / "meshes" / "a.stl")
    (tmp_path / "meshes" / "b.stl").write_text("no mesh")
    found = tree_to_parquet(open_source(tmp_path / "meshes"), tmp_path / "out", num_points=16)
    assert (found.written, found.left_out) == (1, 1)
    columns = read(tmp_path / "out")
    assert columns["name"] == ["a"] and "program" not in columns
    assert np.abs(columns["points"][0]).max() == pytest.approx(1.0, abs=1e-6)


def test_words_keep_programs_of_another_dialect_untouched(tmp_path: Path) -> None:
    (tmp_path / "t" / "cadquery").mkdir(parents=True)
    (tmp_path / "t" / "cadquery" / "a.py").write_text("r=cq.Workplane().box(1,2,3).cut(x)")
    rows = [{"uid": "a", "description": "A box."}, {"uid": "b", "description": "Lost."}]
    (tmp_path / "t" / "train.pkl").write_bytes(pickle.dumps(rows))
    found = tree_to_parquet(open_source(tmp_path / "t"), tmp_path / "out")
    assert (found.written, found.reasons) == (1, ["b: there is no program"])
    columns = read(tmp_path / "out")
    assert columns["words"] == ["A box."] and "points" not in columns
    assert columns["program"] == ["r=cq.Workplane().box(1,2,3).cut(x)"]


def test_shards_are_not_mixed_with_others(tree: Path, tmp_path: Path) -> None:
    tree_to_parquet(open_source(tree), tmp_path / "out", num_points=8)
    with pytest.raises(InputError, match="holds shards already"):
        tree_to_parquet(open_source(tree), tmp_path / "out", num_points=8)
    with pytest.raises(InputError, match="at least 1"):
        tree_to_parquet(open_source(tree), tmp_path / "new", num_points=0)


def test_command_converts_and_names_what_it_left_out(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["convert", str(tree), "--out", str(out), "--points", "8"]) == 0
    text = capsys.readouterr().out
    assert "5 items" in text and "1 left out" in text and "batch_00/5" in text
    note = parquet.read_schema(out / "shard-00000.parquet").metadata[b"cadwright"]
    assert json.loads(note) == {"source": "CADRecodeTree", "num_points": 8}
    assert main(["convert", str(tmp_path / "absent"), "--out", str(out)]) == 1
    assert "not a folder" in capsys.readouterr().err
