"""One row of a batch for Cadrille: what is shown, what is asked, and what is answered.

In: points or a picture or neither, questions and answers. Out: the messages a chat template
reads, after checking that there is something to read and to learn. Not covered: token ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cadwright.errors import InputError
from cadwright.models.cadrille.picture_to_patches import PictureLike, read_picture
from cadwright.models.layers.clouds import as_clouds

QUESTION = "Generate cadquery code"
"""What the published weights are asked where points or a picture are shown."""

NUM_VIEWS = 4
"""The views of a part in one picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """What a person shows and asks, and the programs that answer.

    Attributes:
        questions: in turn; a part in words, or what to do with what is shown.
        answers: programs, one for each question (for learning) or one less (a prompt).
        points: (P, 3), MODEL frame, shown with the first question; or None.
        picture: shown with the first question; or a sequence of four views; or None.
        name: what errors call it besides its number.
    """

    questions: Sequence[str] = (QUESTION,)
    answers: Sequence[str] = ()
    points: ArrayLike | None = None
    picture: PictureLike | Sequence[PictureLike] | None = None
    name: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether it is for learning."""
        return len(self.answers) == len(self.questions)

    def to_messages(self) -> list[dict[str, Any]]:
        """The list of messages that chat templates of transformers read."""
        messages = []
        for i, question in enumerate(self.questions):
            content = [{"type": "text", "text": question}]
            if i == 0 and self.picture is not None:
                content.insert(0, {"type": "video"})
            messages.append({"role": "user", "content": content})
            for answer in self.answers[i : i + 1]:
                content = [{"type": "text", "text": answer}]
                messages.append({"role": "assistant", "content": content})
        return messages


def label_of(index: int, conversation: Conversation) -> str:
    """'item 3' or 'item 3 (its name)'."""
    return f"item {index}" + (f" ({conversation.name})" if conversation.name else "")


def check_conversation(
    conversation: Conversation, label: str, *, learn: bool, special_tokens: Iterable[str]
) -> None:
    """Refuse what no model could read or learn from.

    Raises:
        InputError: nothing or two things are shown and nothing else is asked; an answer is
            missing or empty; a text holds a special token.
    """
    asked, answered = list(conversation.questions), list(conversation.answers)
    if conversation.points is not None and conversation.picture is not None:
        raise InputError(f"{label} has both points and a picture, and only one of them is read")
    if not asked or not all(question.strip() for question in asked):
        raise InputError(f"{label} has an empty question")
    shown = conversation.points is not None or conversation.picture is not None
    if not shown and asked[0] == QUESTION:
        raise InputError(f"{label} has neither points nor a picture nor words for a part")
    if learn and len(answered) < len(asked):
        raise InputError(f"{label} has no answer to learn from, unlike others of its batch")
    if len(answered) != len(asked) - (not learn):
        raise InputError(
            f"{label} has {len(asked)} questions and {len(answered)} answers; there must be as "
            "many, or one answer less in a prompt"
        )
    for answer in answered:
        if not answer.strip():
            raise InputError(f"{label} has an empty answer")
    for text in (*asked, *answered):
        if found := next((token for token in special_tokens if token in text), None):
            raise InputError(f"{label} has the special token {found} in its text")


def to_conversations(
    points: Any, pictures: Any, texts: Any, programs: Any
) -> Iterator[Conversation]:
    """Conversations of one question from lists of their parts; None for no such list.

    Raises:
        InputError: the lists are not of one length.
    """
    given = {
        "points": None if points is None else as_clouds(points),
        "pictures": None if pictures is None else _as_pictures(pictures),
        "texts": [texts] if isinstance(texts, str) else texts,
        "programs": [programs] if isinstance(programs, str) else programs,
    }
    lengths = {name: len(values) for name, values in given.items() if values is not None}
    if len(set(lengths.values())) > 1:
        counts = " and ".join(f"{length} {name}" for name, length in lengths.items())
        raise InputError(f"there must be as many of each, not {counts}")
    size = next(iter(lengths.values()), 0)
    columns = [[None] * size if values is None else values for values in given.values()]
    for cloud, picture, text, program in zip(*columns, strict=True):
        yield Conversation(
            questions=(QUESTION if text is None else text,),
            answers=() if program is None else (program,),
            points=cloud,
            picture=picture,
        )


def views_to_picture(picture: PictureLike | Sequence[PictureLike]) -> PictureLike:
    """The picture itself, or four equal views put together two by two.

    Raises:
        InputError: there are not four views, or they are not equal in size.
    """
    if not isinstance(picture, list | tuple):
        return picture  # type: ignore[return-value]
    if len(picture) != NUM_VIEWS:
        raise InputError(f"there must be {NUM_VIEWS} views, not {len(picture)}")
    # Here, because the rasteriser's module pulls in more than a processor needs.
    from cadwright.geometry.mesh_to_views import views_to_mosaic

    views = [np.asarray(read_picture(view)) for view in picture]
    if len({view.shape for view in views}) > 1:
        raise InputError(f"the views must be of one size, not {[view.shape for view in views]}")
    return views_to_mosaic(views)


def _as_pictures(pictures: Any) -> list[Any]:
    """One entry per row, from one picture, a stack of pictures or a list of them."""
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        return list(pictures)
    return list(pictures) if isinstance(pictures, list | tuple) else [pictures]
