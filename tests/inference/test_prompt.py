from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cadwright.errors import InputError
from cadwright.inference.prompt import is_picture, views_to_prompt, words_to_name, words_to_prompt

TILE = 134


def views(size: int = 128) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(60, 256, (size, size, 3), dtype=np.uint8) for _ in range(4)]


def test_four_views_become_the_published_picture_with_black_frames(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.png" for k in range(4)]
    for view, path in zip(views(), paths, strict=True):
        Image.fromarray(view).save(path)
    prompt = views_to_prompt(paths, name=None)  # type: ignore[arg-type]
    assert (prompt.name, prompt.kind) == ("0", "views")
    assert prompt.picture is not None
    pixels = np.asarray(prompt.picture)
    assert pixels.shape == (2 * TILE, 2 * TILE, 3)
    for k, view in enumerate(views()):
        tile = pixels[k // 2 * TILE :, k % 2 * TILE :][:TILE, :TILE]
        np.testing.assert_array_equal(tile[3:-3, 3:-3], view)
        assert not tile[:3].any() and not tile[:, -3:].any()


def test_views_that_have_their_frame_get_no_second_one() -> None:
    framed = [np.pad(view, ((3, 3), (3, 3), (0, 0))) for view in views()]
    one, two = views_to_prompt(framed, name="a"), views_to_prompt(views(), name="a")
    assert one.picture is not None and two.picture is not None
    np.testing.assert_array_equal(np.asarray(one.picture), np.asarray(two.picture))


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_other_than_four_views_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"4 views, not {count}"):
        views_to_prompt([views()[0]] * count, name=None)


def test_views_of_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="one size"):
        views_to_prompt([*views()[:3], views(64)[0]], name=None)


def test_picture_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "fake.png").write_text("not a picture")
    with pytest.raises(InputError, match="fake.png is not a readable picture"):
        views_to_prompt(tmp_path / "fake.png", name=None)
    with pytest.raises(InputError, match="absent.png"):
        views_to_prompt(tmp_path / "absent.png", name=None)
    with pytest.raises(InputError, match="of bytes"):
        views_to_prompt(np.zeros((4, 4, 3)), name=None)  # type: ignore[arg-type]


def test_pictures_are_told_from_shapes() -> None:
    assert is_picture("a.PNG") and is_picture(Path("b.jpeg")) and is_picture(views()[0])
    assert is_picture(Image.new("RGB", (2, 2)))
    assert not is_picture("a.stl") and not is_picture(np.zeros((5, 3))) and not is_picture(7)


def test_names_come_from_the_words_and_stay_inside_the_folder() -> None:
    assert words_to_name("A round plate, 10 mm high; hole") == "a-round-plate-10-mm"
    assert words_to_name("../..") == "part"
    assert len(words_to_name("x" * 300)) <= 40
    assert words_to_prompt(" a ring ", name=None).text == "a ring"
    assert words_to_prompt("a ring", name="../up").name == "_up"
    with pytest.raises(InputError, match="empty"):
        words_to_prompt(" \n", name=None)
