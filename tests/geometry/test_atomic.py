"""atomic_write: the target is the whole new file or exactly what it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cadwright.errors import InputError
from cadwright.geometry.atomic import atomic_write


def test_the_file_appears_only_at_the_end_and_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(target):
        pass
    assert target.read_text() == "old"


def test_writers_that_look_at_the_suffix_are_not_misled(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.npy") as temporary:
        np.save(temporary, np.arange(3))  # appends .npy to a name that lacks it
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "a.txt")
    with atomic_write(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink() and (tmp_path / "real" / "a.txt").read_text() == "new"


def test_the_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_folder_and_a_folder_as_target_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        with atomic_write(tmp_path / "nowhere" / "a.txt"):
            pass
    with pytest.raises(InputError, match="is a folder"), atomic_write(tmp_path):
        pass
