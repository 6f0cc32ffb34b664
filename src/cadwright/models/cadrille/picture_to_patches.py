"""A picture becomes the patches that the vision tower of a Qwen-VL model reads.

In: (H, W, 3) uint8, a Pillow image or a file of any size. Out: float32 patches of a video of
one frame, always as many. The published loader's steps without torchvision: bicubic resize with
Pillow, mean and deviation of the colours, the frame given twice. Not covered: drawing views.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cadwright.errors import InputError

PictureLike = NDArray[np.uint8] | Image.Image | str | Path

PAPER = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class PatchSettings:
    """What a vision tower expects of its input.

    Attributes:
        picture_size: side in pixels that pictures are resized to. The published 280 follows
            from the 268 of the four views; the ``min_pixels`` of the published scripts has no
            effect, and a loader where it has one makes 1024 patches instead of 400.
        patch_size: side of a patch in pixels.
        merge_size: this many patches squared become one token.
        num_frames: how often the frame is given, the temporal size of a patch.
        mean: of the red, green and blue of the pictures the tower was trained with, 0 to 1.
        deviation: likewise.
    """

    picture_size: int = 280
    patch_size: int = 14
    merge_size: int = 2
    num_frames: int = 2
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    deviation: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        """Take lists, as JSON has them, and check that patches and tokens divide the picture."""
        for name in ("mean", "deviation"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        side = self.patch_size * self.merge_size
        if min(self.picture_size, side, self.num_frames) < 1 or self.picture_size % side:
            raise InputError(
                f"the picture size must be a multiple of {side} pixels, not {self.picture_size}"
            )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Frames, rows and columns of patches."""
        side = self.picture_size // self.patch_size
        return 1, side, side

    @property
    def num_patches(self) -> int:
        """N, the patches of a picture."""
        return self.grid[1] * self.grid[2]

    @property
    def num_tokens(self) -> int:
        """The tokens of a picture in a text."""
        return self.num_patches // self.merge_size**2

    @property
    def patch_width(self) -> int:
        """How many values a patch has."""
        return 3 * self.num_frames * self.patch_size**2


def picture_to_patches(picture: PictureLike, settings: PatchSettings) -> NDArray[np.float32]:
    """Resize, normalise and cut a picture.

    A picture that is not square stands on white paper, so that the part keeps its proportions.

    Args:
        picture: (H, W, 3) uint8 RGB, a Pillow image, or an image file.
        settings: of the vision tower.

    Returns:
        (N, patch_width) float32: patches by block of ``merge_size`` squared, blocks by row; in
        a patch colour, frame, row and column, the last fastest.

    Raises:
        InputError: it is not a picture.
    """
    side, patch, merge = settings.picture_size, settings.patch_size, settings.merge_size
    image = on_square_paper(read_picture(picture))
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    mean, deviation = np.array((settings.mean, settings.deviation), dtype=np.float32)
    values: NDArray[np.float32] = np.asarray(image, dtype=np.float32) / np.float32(255.0)
    values = (values - mean) / deviation
    blocks = side // (patch * merge)
    # rows: block, patch in the block, pixel; columns likewise; then the colour
    cut = values.reshape(blocks, merge, patch, blocks, merge, patch, 3)
    cut = cut.transpose(0, 3, 1, 4, 6, 2, 5).reshape(settings.num_patches, 3, 1, patch, patch)
    return cut.repeat(settings.num_frames, axis=2).reshape(settings.num_patches, -1)


def read_picture(picture: PictureLike) -> Image.Image:
    """An RGB image; what is transparent becomes paper.

    Raises:
        InputError: it is not a picture.
    """
    if isinstance(picture, str | Path):
        try:
            with Image.open(picture) as file:
                file.load()
                picture = file
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{picture} is not a readable picture: {error}") from error
    if isinstance(picture, Image.Image):
        if "A" in picture.getbands() or "transparency" in picture.info:
            layer = picture.convert("RGBA")
            paper = Image.new("RGBA", layer.size, (*PAPER, 255))
            picture = Image.alpha_composite(paper, layer)
        return picture.convert("RGB")
    found = np.asarray(picture)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or 0 in found.shape:
        raise InputError(
            f"a picture must be (height, width, 3) of bytes, not {found.shape} of {found.dtype}"
        )
    return Image.fromarray(np.ascontiguousarray(found))


def on_square_paper(image: Image.Image) -> Image.Image:
    """The image in the middle of a white square of its longer side."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    paper = Image.new("RGB", (side, side), PAPER)
    paper.paste(image, ((side - width) // 2, (side - height) // 2))
    return paper
