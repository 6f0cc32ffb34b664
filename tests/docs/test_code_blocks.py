"""The code blocks of the documents work: run in order, a temporary folder for each page.

Quick: blocks without a flag, and every command and recipe that is named anywhere. Slow (pytest -m
slow): the blocks of whole pages. What is not run is counted here and listed on a page of the site.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_blocks import LOADED, PLAIN, RUN, Block, read_blocks

from cadwright.apps.cli import make_parser
from cadwright.errors import CadwrightError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCKS = [block for path in PAGES for block in read_blocks(path)]
# What the README runs is in test_readme; its commands are checked here.
NAMED = [*BLOCKS, *read_blocks(ROOT / "README.md"), *read_blocks(ROOT / "CONTRIBUTING.md")]
QUICK = sorted({block.page for block in BLOCKS if block.is_run and not block.is_slow})
SLOW = sorted({block.page for block in BLOCKS if block.is_slow})
# A block that no test runs is a decision. Each says why in its page; tested-blocks.md lists them.
NUM_NOT_RUN = 17

TORCHRUN = "-m torch.distributed.run"
PLACES = "src tests docs recipes benchmarks examples notebooks"
STAGES = "geometry program synth data models training inference evaluation apps assets"
_PATH = re.compile(rf"`((?:{'|'.join((PLACES + ' ' + STAGES).split())})/[\w/.-]+)`")


def place_of(block: Block) -> str:
    return block.place


@pytest.fixture()
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a page's blocks run: with the examples and recipes, and the command on the path."""
    for name in ("examples", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "CITATION.cff", tmp_path)
    commands = tmp_path / ".commands"
    commands.mkdir()
    for name, words in (("cadwright", "-m cadwright"), ("python", ""), ("torchrun", TORCHRUN)):
        command = commands / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        command.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def run_blocks(page: str, *, slow: bool) -> None:
    """Run a page's blocks in order; Python blocks share their names."""
    names: dict[str, object] = {"__name__": page}
    for block in BLOCKS:
        if block.page != page or not block.is_run or (block.is_slow and not slow):
            continue
        if block.language == "sh":
            shell = ["bash", "-euo", "pipefail", "-c", block.text]
            done = subprocess.run(shell, capture_output=True, text=True, timeout=900, check=False)
            assert done.returncode == block.status, f"{block.place}\n{done.stdout}{done.stderr}"
        else:
            code = compile(block.text, block.place, "exec")
            exec(code, names)  # noqa: S102 (this project's own documents)


def commands_in(block: Block) -> Iterator[list[str]]:
    """The words of each line of a shell block, less comments, pipes and redirections."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\||;|\s\d?>", line):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words:
                yield words


@pytest.mark.parametrize("page", QUICK)
def test_blocks_work(page: str, folder: Path) -> None:
    pytest.importorskip("numba")
    run_blocks(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW)
def test_blocks_of_whole_pages_work(page: str, folder: Path) -> None:
    for package in ("torch", "transformers", "pyarrow", "matplotlib"):
        pytest.importorskip(package)
    run_blocks(page, slow=True)


def test_every_block_says_what_it_is() -> None:
    for block in BLOCKS:
        assert block.language in RUN | LOADED | PLAIN, f"{block.place}: {block.language}"
        hidden = re.search(r"^\s*(?:\$ |cadwright |python |import )", block.text, re.MULTILINE)
        assert block.language not in PLAIN or block.page == "dialect.md" or not hidden, block.place


def test_blocks_that_are_not_run_are_counted() -> None:
    left_out = [block.place for block in BLOCKS if block.reason]
    assert len(left_out) == NUM_NOT_RUN, left_out


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language in LOADED], ids=place_of
)
def test_data_are_well_formed(block: Block) -> None:
    if block.language == "json":
        json.loads(block.text)
    else:
        pytest.importorskip("yaml").safe_load(block.text)


def test_every_command_that_is_named_exists() -> None:
    parser = make_parser()
    seen = 0
    for block in NAMED:
        for words in commands_in(block) if block.language == "sh" else ():
            if Path(words[0]).name == "cadwright":
                seen += 1
                try:
                    parser.parse_args(words[1:])
                except SystemExit as stop:
                    assert not stop.code, f"{block.place}: {shlex.join(words)}"
            elif "-m" in words:
                module = words[words.index("-m") + 1]
                assert importlib.util.find_spec(module), f"{block.place}: no module {module}"
    assert seen > 20


def test_every_recipe_that_is_named_loads_with_its_changes() -> None:
    pytest.importorskip("yaml")
    from cadwright.training.config import load_config
    from cadwright.training.recipe import read_values
    from cadwright.training.rl.config import load_rl_config
    from cadwright.training.vqvae.config import load_config as load_vqvae_config

    loaders = {"sft": load_config, "rl": load_rl_config, "vqvae": load_vqvae_config}
    for block in NAMED:
        for words in commands_in(block) if block.language == "sh" else ():
            recipes = [word for word in words if re.fullmatch(r"recipes/\w+\.yaml", word)]
            if recipes:
                changes = [word for word in words if re.fullmatch(r"\w+=\S*", word)]
                try:
                    task = read_values(ROOT / recipes[0], changes).get("task", "sft")
                    loaders[task](ROOT / recipes[0], changes)
                except CadwrightError as error:
                    pytest.fail(f"{block.place}: {error}")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_every_path_that_is_named_exists(page: Path) -> None:
    for name in _PATH.findall(page.read_text(encoding="utf-8")):
        tries = [
            base / f"{name}{end}" for base in (ROOT, ROOT / "src/cadwright") for end in ("", ".py")
        ]
        assert any(path.exists() for path in tries), f"{page.name} names {name}, which is not there"


def test_flags_are_read_and_unknown_places_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: no GPU -->\n```sh\nx\n```\n\n<!-- exit 1 -->\n```sh\ny\n```\n")
    first, second = read_blocks(page)
    assert (first.reason, first.is_run, first.line) == ("no GPU", False, 2)
    assert (second.status, second.is_run, second.text) == (1, True, "y\n")
    page.write_text("<!-- slow -->\nwords\n")
    with pytest.raises(ValueError, match="no code block"):
        read_blocks(page)
