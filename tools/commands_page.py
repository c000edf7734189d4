"""Write docs/commands.md: every command and option with its line of help, from the parsers themselves.

python tools/commands_page.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import mellama_train.cli
import mibe.cli

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

HEAD = """\
# Commands and options

Every command of `mibe` and `mellama-train`, as `--help` tells them. `python tools/commands_page.py` writes this page.
"""


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser of each command that can be given, in the order of `--help`."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for each in action.choices.values():
            yield from commands(each)


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a command that it tells of, without `--help`."""
    return [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS
    ]


def page() -> str:
    """The page as text."""
    parts = [HEAD]
    for program in (mibe.cli.parser(), mellama_train.cli.parser()):
        helps = dict(_helps(program))
        for each in commands(program):
            rows = [f"| {_cell(_names(action))} | {_cell(_text(each, action))} |" for action in options(each)]
            table = ["| | |", "|---|---|", *rows, ""] if rows else []
            parts.append("\n".join([f"## {each.prog}", "", f"{_sentence(helps[each.prog])}", "", *table]))
    return "\n".join(parts)


def _helps(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Each command and its line in the list of commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            lines = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, each in action.choices.items():
                yield each.prog, lines[name]
                yield from _helps(each)


def _names(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{name}{f' {value}' if value else ''}`" for name in action.option_strings)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper()


def _text(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
