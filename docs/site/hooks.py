"""What mkdocs makes beside the written pages: commands, tested blocks, and files of the root.

In: the parser of ``cadwright.apps.cli``, the classes of recipes, the pages' code blocks, and files
of the root. Out: pages that exist in the site alone (``on_files`` names them).
mkdocs calls ``on_files`` and ``on_page_markdown``; no text is copied by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from code_blocks import Block, read_blocks
from command_reference import commands_to_markdown
from service_reference import fill_marks
from settings_reference import settings_to_markdown

ROOT = Path(__file__).parents[2]
FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
# Links of files that are read in the repository too -> pages of the site.
_LINKS = {
    "../README.md": "index.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    made = {
        "commands.md": commands_to_markdown(),
        "settings.md": settings_to_markdown(),
        "tested-blocks.md": blocks_to_markdown(documents(Path(config.docs_dir))),
    }
    for name, source in FROM_ROOT.items():
        made[name] = (ROOT / source).read_text(encoding="utf-8")
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in what is made; turn links of the repository into links of the site."""
    return _LINK.sub(_site_link, fill_marks(markdown))


def documents(docs_dir: Path) -> list[Path]:
    """The pages that are written, whose code blocks are counted."""
    return sorted(docs_dir.glob("*.md"))


def blocks_to_markdown(paths: Iterable[Path]) -> str:
    """The page that counts code blocks and lists those that no test runs."""
    blocks = [block for path in paths for block in read_blocks(path)]
    code = [block for block in blocks if block.language in ("sh", "python")]
    left_out = [block for block in code if not block.is_run]
    lines = [
        "# What of these pages is tested",
        "",
        "The tests in `tests/docs` run the code blocks of every page in order, shell blocks and",
        "Python blocks in one temporary folder a page. Every `cadwright` command that stands",
        "anywhere, also in a block that is not run, is given to the command line's own parser, and",
        "recipes with their changes are read. The README's program and Python have tests of",
        "their own.",
        "",
        "| code blocks | number |",
        "|---|---|",
        f"| in all | {len(code)} |",
        f"| run by the quick tests | {sum(one.is_run and not one.is_slow for one in code)} |",
        f"| run by the slow tests | {sum(one.is_slow for one in code)} |",
        f"| not run | {len(left_out)} |",
        "",
        "Not run, and why:",
        "",
        "| where | first line | why |",
        "|---|---|---|",
        *(_row(block) for block in left_out),
    ]
    return "\n".join(lines) + "\n"


def _row(block: Block) -> str:
    first = block.text.strip().splitlines()[0].replace("|", "\\|")
    return f"| {block.place} | `{first}` | {block.reason} |"


def _site_link(found: re.Match[str]) -> str:
    target = _LINKS.get(found["target"], found["target"])
    return f"]({target}{found['anchor'] or ''})"
