"""From the words of a command line to its arguments, in the spelling of mibe or in one that others have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

AS_THEY_STAND = frozenset({"lm-eval"})
"""Commands whose words are another program's."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors come before its usage, where they are found."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, a line each, then how the command is used; exit with 2."""
        sys.stderr.write("".join(f"mibe: {line}\n" for line in message.splitlines()))
        self.print_usage(sys.stderr)
        sys.exit(2)


def parse(
    top: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser], words: Sequence[str]
) -> argparse.Namespace:
    """The arguments of a command line; what was understood in a foreign spelling is said on standard error.

    Exits as argparse does for help, and with 2 where something is wrong: every unknown option is told at once.
    """
    command = words[0] if words else ""
    if command not in commands or command in AS_THEY_STAND:
        return top.parse_args(words)
    from mibe.cli.spellings import understood

    own = commands[command]
    reading = understood(words[1:], _options(own))
    if reading.wrong:
        own.error("\n".join(reading.wrong))
    if reading.said:
        print(f"mibe: understood: {'; '.join(dict.fromkeys(reading.said))}", file=sys.stderr)
    return top.parse_args([command, *reading.words])


def _options(parser: argparse.ArgumentParser) -> frozenset[str]:
    """The options of a command, those of its actions (`mibe data prepare`) among them."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                found |= _options(each)
    return frozenset(found)
