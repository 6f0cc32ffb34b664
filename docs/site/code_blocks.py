"""The code blocks of the documents: which there are, and which of them a test runs.

In: Markdown files. Out: blocks with their place, language and flag. A comment on the line before a
fence says how its block is treated; without one it is run by the quick tests:

    <!-- slow -->               run by the slow tests (pytest -m slow)
    <!-- exit 1 -->             run, and must end with that status
    <!-- not run: REASON -->    not run; counted, and listed with its reason on a page of the site

Blocks of ``text`` and those without a language are no code. Not covered: running (tests/docs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = {"sh", "python"}  # by a shell, and in one namespace a page
LOADED = {"yaml", "json"}  # must be well-formed
PLAIN = {"", "text"}
_OPEN = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*)\s*$")
_FLAG = re.compile(r"^\s*<!-- (?P<flag>slow|exit \d+|not run: .+) -->\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: file name in its folder.
        line: of the fence, from 1.
        language: as the fence says.
        text: without the fences.
        flag: the comment before it, or empty.
    """

    page: str
    line: int
    language: str
    text: str
    flag: str = ""

    @property
    def place(self) -> str:
        """Page and line, for messages."""
        return f"{self.page}:{self.line}"

    @property
    def reason(self) -> str:
        """Why it is not run; empty if it is."""
        return self.flag.removeprefix("not run: ") if self.flag.startswith("not run: ") else ""

    @property
    def status(self) -> int:
        """What a shell must end with."""
        return int(self.flag.removeprefix("exit ")) if self.flag.startswith("exit ") else 0

    @property
    def is_run(self) -> bool:
        """Whether a test runs it, quick or slow."""
        return self.language in RUN and not self.reason

    @property
    def is_slow(self) -> bool:
        """Whether only the slow tests run it."""
        return self.is_run and self.flag == "slow"


def read_blocks(path: Path) -> list[Block]:
    """All blocks of a Markdown file, in order.

    Raises:
        ValueError: a fence is not closed, or a flag stands before no fence.
    """
    return list(_blocks(path.name, path.read_text(encoding="utf-8").splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    flag, number = "", 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := _FLAG.match(line):
            flag = found["flag"]
        elif opened := _OPEN.match(line):
            first = number
            while number < len(lines) and lines[number].strip() != opened["fence"]:
                number += 1
            if number == len(lines):
                raise ValueError(f"{page}:{first}: the fence is not closed")
            body = [text.removeprefix(opened["indent"]) for text in lines[first:number]]
            yield Block(page, first, opened["language"], "\n".join(body) + "\n", flag)
            flag, number = "", number + 1
        elif flag and line.strip():
            raise ValueError(f"{page}:{number}: the comment stands before no code block")
