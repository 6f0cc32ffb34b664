"""Where things are in a job's folder: the one list that server and workers share.

``upload-K.SUFFIX`` is what came, ``target*`` what was read of it, ``out/`` what is downloaded.
"""

from __future__ import annotations

TMP = "tmp"  # what libraries write on the side
TARGET_SHAPE, TARGET_FACTS, TARGET_PICTURE = "target.npz", "target.json", "target.png"
TARGET_DRAWN, RESULT_DRAWN = "target.cwg", "result.cwg"
RESULT_DOCUMENT = "result.json"
OUT = "out"


def thumbnail_name(index: int) -> str:
    """The file that shows a candidate."""
    return f"candidate-{index}.png"
