"""One row of a batch for Cadrille: what is shown, what is asked, and what is answered.

In: points or a picture or neither, questions and answers. Out: the messages a chat template
reads, after checking that there is something to read and to learn. Not covered: token ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from cadwright.errors import InputError
from cadwright.models.cadrille.picture_to_patches import PictureLike

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
