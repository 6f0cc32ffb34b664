"""Which parts a step takes: fresh ones by number, hard ones again, and the same after a resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cadwright.errors import InputError
from cadwright.geometry.mesh_to_points import mesh_to_points
from cadwright.training.rl.parts import (
    GeneratedParts,
    MeshFolder,
    PartChooser,
    fixed_parts,
    make_source,
)
from cadwright.types import Mesh

CORNERS = np.array([[x, y, z] for x in (0, 2) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6],
     [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]],
    dtype=np.int32,
)  # fmt: skip


class Boxes:
    """A part for every number but those that are multiples of ``missing``."""

    def __init__(self, missing: int = 0) -> None:
        self.missing = missing

    def part(self, number: int) -> Mesh | None:
        if self.missing and number % self.missing == 0:
            return None
        return Mesh(CORNERS * [1, 1, 1 + number], FACES)


def write_obj(path: Path, faces: np.ndarray) -> None:
    lines = [f"v {x} {y} {z}" for x, y, z in CORNERS]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_obj(tmp_path / "a.obj", FACES)
    write_obj(tmp_path / "open.obj", FACES[1:])
    (tmp_path / "deep").mkdir()
    write_obj(tmp_path / "deep" / "b.OBJ", FACES)
    (tmp_path / "broken.stl").write_text("no mesh at all")
    (tmp_path / "note.txt").write_text("not a mesh")
    return tmp_path


def test_generated_parts_fill_the_program_frame_and_depend_on_seed_and_number() -> None:
    source = GeneratedParts(3)
    one, again, other = source.part(5), source.part(5), GeneratedParts(4).part(5)
    assert one is not None and again is not None and other is not None
    assert np.allclose(one.bounds.sum(axis=0), 0, atol=1e-9)
    assert np.ptp(one.bounds, axis=0).max() == pytest.approx(200)
    assert np.array_equal(one.vertices, again.vertices)
    assert other.vertices.shape != one.vertices.shape or not np.array_equal(
        other.vertices, one.vertices
    )


def test_a_folder_gives_every_mesh_once_a_turn_in_changing_order(folder: Path) -> None:
    source = MeshFolder(folder, seed=1)
    assert {path.name for path in source.paths} == {"a.obj", "open.obj", "b.OBJ", "broken.stl"}
    turns = [[source.path(4 * turn + k).name for k in range(4)] for turn in range(6)]
    assert all(sorted(turn) == sorted(turns[0]) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1


def test_what_is_no_solid_is_passed_over(folder: Path) -> None:
    source = MeshFolder(folder, seed=1)
    for number in range(4):
        part = source.part(number)
        assert (part is None) == (source.path(number).name in ("open.obj", "broken.stl"))
        if part is not None:
            assert np.allclose(part.bounds, [[-100, -50, -50], [100, 50, 50]])
            assert len(mesh_to_points(part, num_points=4, seed=0)) == 4


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_meshes_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        make_source(str(tmp_path / name), 0)


def test_too_many_that_are_no_solids_stop_the_run(tmp_path: Path) -> None:
    write_obj(tmp_path / "open.obj", FACES[1:])
    chooser = PartChooser(MeshFolder(tmp_path, seed=0), seed=0)
    with pytest.raises(InputError, match=r"20 of 20 parts are no solids.*open\.obj"):
        chooser.choose(0, 1)


def test_a_few_that_are_missing_are_replaced_by_the_next() -> None:
    chooser = PartChooser(Boxes(missing=7), seed=0)
    assert [part.number for part in chooser.choose(0, 7)] == [1, 2, 3, 4, 5, 6, 8]
    assert (chooser.asked, chooser.failed) == (9, 2)


def test_processes_share_the_numbers_without_overlap() -> None:
    taken = [
        [p.number for p in PartChooser(Boxes(), seed=0, stride=2, offset=k).choose(0, 4)]
        for k in range(2)
    ]
    assert taken == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_parts_that_went_badly_come_again_until_they_go_well_or_are_given_up() -> None:
    chooser = PartChooser(Boxes(), seed=0, hard_below=7.5, hard_share=0.5, hard_tries=3)
    for part in chooser.choose(0, 4):
        chooser.learn(part, mean_reward=2.0)
    second = chooser.choose(1, 4)
    assert [part.is_hard for part in second] == [True, True, False, False]
    assert [part.number for part in second[2:]] == [4, 5]
    chooser.learn(second[0], mean_reward=9.0)
    chooser.learn(second[1], mean_reward=7.4)
    assert second[0].number not in chooser.hard
    assert chooser.hard[second[1].number] == 2
    chooser.learn(second[1], mean_reward=7.4)
    assert second[1].number not in chooser.hard


def test_without_mining_every_part_is_fresh() -> None:
    chooser = PartChooser(Boxes(), seed=0, hard_share=0.0)
    for step in range(3):
        for part in chooser.choose(step, 4):
            assert not part.is_hard
            chooser.learn(part, mean_reward=-10.0)
    assert chooser.asked == 12


def test_the_oldest_hard_parts_go_first() -> None:
    chooser = PartChooser(Boxes(), seed=0, hard_size=3)
    for part in chooser.choose(0, 5):
        chooser.learn(part, mean_reward=0.0)
    assert list(chooser.hard) == [2, 3, 4]


def test_a_state_goes_on_where_it_was_taken() -> None:
    chooser = PartChooser(Boxes(missing=9), seed=4)
    for step in range(3):
        for part in chooser.choose(step, 6):
            chooser.learn(part, mean_reward=float(part.number % 10))
    state = chooser.to_state()
    other = PartChooser(Boxes(missing=9), seed=4)
    other.from_state(state)
    for step in range(3, 6):
        one, two = chooser.choose(step, 6), other.choose(step, 6)
        assert [part.number for part in one] == [part.number for part in two]
        for part in one:
            chooser.learn(part, mean_reward=1.0)
            other.learn(part, mean_reward=1.0)
    assert chooser.to_state() == other.to_state()


def test_held_out_parts_are_the_first_of_their_source(folder: Path) -> None:
    assert [part.number for part in fixed_parts(Boxes(missing=2), 3)] == [1, 3, 5]
    assert len(fixed_parts(MeshFolder(folder, seed=0), 10)) == 2  # all there are, each once
