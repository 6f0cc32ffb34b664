from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cadwright.data.plain_pickle import pickle_to_plain
from cadwright.data.sources import CADRecodeTree, MeshFolder, SourceItem, Text2CADTree, open_source
from cadwright.errors import InputError

BOX = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n" + (
    "r=w0.workplane(offset=0/2).box(200,{},80)"
)


class Bomb:
    """Would write a file on being unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def dump(value: Any, path: Path, protocol: int | None = None) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.fixture
def recode(tmp_path: Path) -> Path:
    for name in ("train/batch_00/0", "train/batch_00/2", "train/batch_00/10", "train/batch_01/11"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(BOX.format(path.stem))
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "7.py").write_text(BOX.format(7))
    (tmp_path / "train" / "batch_00" / "2.stl").write_bytes(b"mesh")
    return tmp_path


@pytest.fixture
def text2cad(tmp_path: Path) -> Path:
    (tmp_path / "cadquery" / "0035").mkdir(parents=True)
    (tmp_path / "cadquery" / "0035" / "00359148.py").write_text("r=1")
    rows = [
        {"uid": "0035/00359148", "description": "A plate."},
        {"uid": "0036/1", "description": "?"},
    ]
    dump(rows, tmp_path / "test.pkl")
    return tmp_path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_as_they_were(tmp_path: Path, protocol: int) -> None:
    shared = ["a", 1, -(2**70), 0.5, None, True]
    value = {"rows": [shared, shared, (1, "é")], 3: {"x": []}}
    assert pickle_to_plain(dump(value, tmp_path / "a.pkl", protocol)) == value


def test_values_that_hold_themselves_do_not_hang(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert pickle_to_plain(dump(loop, tmp_path / "a.pkl"))[0]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Path("x"), "pathlib"),
        (np.zeros(2), "numpy"),
        (print, ".print"),
        ([{"deep": (complex(1, 2),)}], ".complex"),
        ({1, 2}, "set"),
        (b"bytes", "bytes"),
        (np.float32(1), "numpy"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_anything_else_is_an_error_that_names_its_class(
    tmp_path: Path, value: Any, name: str, protocol: int
) -> None:
    path = dump([value], tmp_path / "a.pkl", protocol)
    with pytest.raises(InputError, match=r"a\.pkl holds a .*but only lists") as caught:
        pickle_to_plain(path)
    assert name in str(caught.value) or "_codecs.encode" in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_pickle_is_called(tmp_path: Path, protocol: int) -> None:
    path = dump([Bomb(tmp_path / "boom")], tmp_path / "a.pkl", protocol)
    with pytest.raises(InputError, match="holds a"):
        pickle_to_plain(path)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        b"\x80\x04",
        b"\x80\x04]q",
        pickle.dumps(["a" * 99])[:-9],
        b"cos\nsystem\n.",
    ],
)
def test_broken_pickles_are_one_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.pkl"):
        pickle_to_plain(tmp_path / "a.pkl")
    with pytest.raises(InputError, match="No such file"):
        pickle_to_plain(tmp_path / "absent.pkl")


def test_cad_recode_without_an_index_is_all_its_programs_in_order(recode: Path) -> None:
    source = open_source(recode)
    assert isinstance(source, CADRecodeTree)
    assert source.names == [
        "train/batch_00/0", "train/batch_00/2", "train/batch_00/10", "train/batch_01/11",
    ]  # fmt: skip
    assert source[0] == SourceItem("train/batch_00/0", BOX.format(0))
    assert source[1].mesh_path == recode / "train" / "batch_00" / "2.stl"
    assert [item.name for item in open_source(recode, "val")] == ["val/7"]


def test_cad_recode_with_an_index_is_what_it_lists(recode: Path) -> None:
    rows = [{"py_path": "train/batch_00/2.py", "mesh_path": "train/batch_00/2.stl"}]
    dump(rows, recode / "train.pkl")
    source = open_source(recode)
    assert len(source) == 1
    assert list(source)[0].program == BOX.format(2)


def test_text2cad_gives_words_and_programs_where_there_are(text2cad: Path) -> None:
    source = open_source(text2cad, "test")
    assert isinstance(source, Text2CADTree)
    assert list(source) == [
        SourceItem("0035/00359148", "r=1", words="A plate."),
        SourceItem("0036/1", None, words="?"),
    ]


def test_mesh_folder_gives_meshes_by_number(tmp_path: Path) -> None:
    for name in ("10.stl", "9.stl", "readme.txt"):
        (tmp_path / name).write_bytes(b"")
    source = open_source(tmp_path, "test")
    assert isinstance(source, MeshFolder)
    assert [item.mesh_path for item in source] == [tmp_path / "9.stl", tmp_path / "10.stl"]


@pytest.mark.parametrize("path", ["../secret.py", "/etc/hosts", "train/../../secret.py"])
def test_index_cannot_lead_out_of_the_folder(recode: Path, path: str) -> None:
    dump([{"py_path": path}], recode / "train.pkl")
    with pytest.raises(InputError, match="outside"):
        open_source(recode)


def test_words_cannot_lead_out_of_the_folder(text2cad: Path) -> None:
    dump([{"uid": "../../secret", "description": "x"}], text2cad / "test.pkl")
    with pytest.raises(InputError, match="outside"):
        list(open_source(text2cad, "test"))


@pytest.mark.parametrize("rows", [[], {"a": 1}, ["x"], [{"py_path": 3}], [{}]])
def test_index_of_another_form_is_refused(recode: Path, rows: Any) -> None:
    dump(rows, recode / "train.pkl")
    with pytest.raises(InputError, match=r"train\.pkl"):
        open_source(recode)


def test_unknown_layouts_and_lost_files_are_named(recode: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="none of the known data sets"):
        open_source(tmp_path / "other")
    with pytest.raises(InputError, match="not a folder"):
        open_source(tmp_path / "absent")
    with pytest.raises(InputError, match=r"neither test\.pkl nor programs"):
        open_source(recode, "test")
    dump([{"py_path": "train/lost.py"}], recode / "train.pkl")
    with pytest.raises(InputError, match=r"lost\.py: No such file"):
        list(open_source(recode))
