"""The pages that are made: nothing of the command line is missing, nothing is counted wrongly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from code_blocks import read_blocks
from command_reference import _cell, commands, commands_to_markdown, options
from hooks import blocks_to_markdown, documents, on_page_markdown

from cadwright.apps.cli import COMMANDS, make_parser

ROOT = Path(__file__).parents[2]


def test_every_command_and_option_is_on_its_page() -> None:
    text = commands_to_markdown()
    found = list(commands(make_parser()))
    assert len(found) >= len(COMMANDS)
    for name, command, summary in found:
        assert f"## {name}\n" in text and _cell(summary) in text
        section = text.split(f"## {name}\n")[1].split("\n## ")[0]
        for _, shown in options(command):
            for action in shown:
                names = action.option_strings or [action.metavar or action.dest]
                assert all(str(name) in section for name in names)


def test_the_count_of_blocks_adds_up() -> None:
    paths = documents(ROOT / "docs")
    text = blocks_to_markdown(paths)
    numbers = [
        int(row.split("|")[2])
        for row in text.splitlines()
        if row.startswith(("| in", "| run", "| not"))
    ]
    assert numbers[0] == sum(numbers[1:])
    left_out = [block for path in paths for block in read_blocks(path) if block.reason]
    assert all(block.reason in text for block in left_out) and numbers[3] == len(left_out)


def test_links_of_the_repository_become_links_of_the_site() -> None:
    text = "[a](../README.md) [b](../CONTRIBUTING.md#tests) [c](design.md)"
    expected = "[a](index.md) [b](contributing.md#tests) [c](design.md)"
    assert on_page_markdown(text, None, None, None) == expected


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs/images").rglob("*.png"))
    assert len(pictures) > 7
    assert all(path.stat().st_size < 100_000 for path in pictures)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text and '<link rel="stylesheet" href="http' not in text, page
