"""The command line's own parser -> the page "Commands and options".

In: the parser of ``cadwright``. Out: Markdown with every command, argument, option, default
and choice. Read from the parser each time the site is built, so it cannot fall behind.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterator

from cadwright.apps.cli import make_parser

WIDTH = 96  # of the usage lines


def commands_to_markdown() -> str:
    """The whole page."""
    parser = make_parser()
    lines = [
        "# Commands and options",
        "",
        "Made from the command line's own parser when this site was built;",
        "`cadwright COMMAND --help` says the same. Results go to stdout, progress and errors to",
        f"stderr. {parser.epilog}",
        "",
        "```text",
        _usage(parser),
        "```",
    ]
    for name, command, summary in commands(parser):
        lines += ["", f"## {name}", "", _cell(summary), "", "```text", _usage(command), "```", ""]
        if command.description:
            lines += [_cell(command.description), ""]
        lines += list(_tables(command))
        if command.epilog:
            lines += ["", _cell(command.epilog)]
    return "\n".join(lines) + "\n"


def commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Name, parser and summary of each command, those of groups of commands too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {one.dest: one.help or "" for one in action._choices_actions}
            for name, command in action.choices.items():
                yield f"{parser.prog} {name}", command, summaries.get(name, "")
                yield from commands(command)


def options(command: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """The groups of a command with their options, less ``--help`` and groups of commands."""
    for group in command._action_groups:
        shown = [
            action
            for action in group._group_actions
            if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
            and action.help != argparse.SUPPRESS
        ]
        if shown:
            yield group.title or "", shown


def _tables(command: argparse.ArgumentParser) -> Iterator[str]:
    for title, shown in options(command):
        yield f"| {title} | what | default |"
        yield "|---|---|---|"
        for action in shown:
            yield f"| {_name(action)} | {_help(command, action)} | {_default(action)} |"
        yield ""


def _name(action: argparse.Action) -> str:
    shown = argparse.HelpFormatter("")._format_args(action, _metavar(action))
    if not action.option_strings:
        return f"`{shown}`"
    names = ", ".join(f"`{option}`" for option in action.option_strings)
    return f"{names} `{shown}`" if shown else names


def _metavar(action: argparse.Action) -> str:
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper() if action.option_strings else action.dest


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Its words, with argparse's own replacements (%(default)s and the like)."""
    formatter = argparse.HelpFormatter(command.prog)
    return _cell(formatter._expand_help(action)) if action.help else ""


def _default(action: argparse.Action) -> str:
    if action.required and action.option_strings:
        return "required"
    if not action.option_strings or action.nargs == 0 or action.default in (None, [], ""):
        return ""
    return "" if action.default is argparse.SUPPRESS else f"`{action.default}`"


def _usage(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=WIDTH)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    return formatter.format_help().strip()


def _cell(words: str) -> str:
    """Words that stand in Markdown as they are, in a table too."""
    plain = html.escape(" ".join(words.split()), quote=False)
    return plain.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
