"""What a person shows instead of a shape: a picture of four views, or a description.

In: files, Pillow images or arrays, or words. Out: a ``Prompt``, checked and with its picture in
the published layout. It has no scale and no frame: what is made of it is in the PROGRAM frame.
Not covered: shapes (``target``) and what the model makes of it (``decode``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cadwright.errors import InputError
from cadwright.models.cadrille.conversation import NUM_VIEWS, views_to_picture
from cadwright.models.cadrille.picture_to_patches import PictureLike, on_square_paper, read_picture

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
VIEW_SIZE, BORDER = 128, 3  # pixels of one view of the published picture, and of its black frame
BLACK = 40  # a frame may have been blurred by a JPEG
NAME_WORDS, NAME_LENGTH = 5, 40  # of the description, in the name of its output folder

ViewsSource: TypeAlias = "PictureLike | Sequence[PictureLike]"


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A part that is known by a picture or by words.

    Attributes:
        name: of the part, also of its output folder.
        kind: of input, as decoders call it.
        picture: RGB, square, four views two by two, for kind "views".
        text: the description, for kind "words".
    """

    name: str
    kind: Literal["views", "words"]
    picture: Image.Image | None = None
    text: str = ""


def is_picture(source: Any) -> bool:
    """Whether this is a picture and not a shape: by a file's suffix, or by type."""
    if isinstance(source, str | os.PathLike):
        return Path(source).suffix.lower() in PICTURE_SUFFIXES
    if isinstance(source, np.ndarray):
        return source.dtype == np.uint8 and source.ndim == 3
    return isinstance(source, Image.Image)


def views_to_prompt(views: ViewsSource, *, name: str | None) -> Prompt:
    """A prompt of one picture that holds four views, or of the four views apart.

    Args:
        views: a file, a Pillow image or (H, W, 3) uint8; or a sequence of four of them, in the
            published order: seen along (1,1,1), (-1,-1,-1), (-1,1,-1) and (1,-1,1).
        name: of the part; by default the (first) file's.
    Raises:
        InputError: it is not a picture; there are not four views, or they differ in size.
    """
    given = list(views) if isinstance(views, list | tuple) else [views]
    apart = isinstance(views, list | tuple)
    if apart and len(given) != NUM_VIEWS:
        raise InputError(f"there must be {NUM_VIEWS} views, not {len(given)}")
    first = given[0]
    own = Path(first).stem if isinstance(first, str | os.PathLike) else "part"
    pictures = [read_picture(_to_path(one)) for one in given]
    picture = views_to_picture([_framed(one) for one in pictures]) if apart else pictures[0]
    return Prompt(
        safe_name(own if name is None else name),
        "views",
        picture=on_square_paper(read_picture(picture)),
    )


def words_to_prompt(text: str, *, name: str | None) -> Prompt:
    """A prompt of a description; its name is made of its first words.

    Raises:
        InputError: there are no words.
    """
    if not text.strip():
        raise InputError("the description of the part is empty")
    own = words_to_name(text) if name is None else name
    return Prompt(safe_name(own), "words", text=text.strip())


def words_to_name(text: str) -> str:
    """'A round plate, 10 mm' -> 'a-round-plate-10-mm'."""
    flat = "".join(c if c.isalnum() else " " for c in text.lower())
    return "-".join(flat.split()[:NAME_WORDS])[:NAME_LENGTH].strip("-") or "part"


def safe_name(name: str) -> str:
    """A name that is one folder below the output folder, whatever the file was called."""
    flat = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in name)
    return flat.strip(". ") or "part"


def _to_path(picture: Any) -> Any:
    return Path(picture) if isinstance(picture, os.PathLike) else picture


def _framed(view: Image.Image) -> NDArray[np.uint8]:
    """A view with the black frame that the model knows around each; as it is if it has one."""
    pixels = np.asarray(view)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if int(edge.max()) <= BLACK:
        return pixels
    width = round(max(pixels.shape[:2]) * BORDER / VIEW_SIZE)
    return np.pad(pixels, ((width, width), (width, width), (0, 0)))
