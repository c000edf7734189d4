"""What the command line takes, asked of its own parser: what may stand under which name, and what excludes what."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from mibe.cli.given import given
from mibe.cli.options import names_of
from mibe.errors import UsageError, unknown
from mibe.models.arguments import parse_model_args, parse_template_args, write_model_args

Options: TypeAlias = dict[str, Any]
"""Option, as it is spelled behind its dashes → value: text, number, True, a list of texts, or a table of arguments."""

OF_THE_COMMAND = frozenset({"help", "write", "set", "estimate"})
"""Options that say what becomes of a file, and so cannot stand in one."""
OF_THE_WHOLE = frozenset({"format", "max-errors"})
"""Options that hold for all models together."""


class Known:
    """The options of a command, and what may stand under each of their names in a file."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._actions: Mapping[str, argparse.Action] = {
            name: action
            for action in parser._actions
            for option in action.option_strings
            if option.startswith("--") and (name := option[2:]) not in OF_THE_COMMAND
        }
        self._groups = [
            [option[2:] for action in group._group_actions for option in action.option_strings]
            for group in parser._mutually_exclusive_groups
        ]

    def given(self, a: argparse.Namespace) -> Options:
        """The options that stood on the command line."""
        dests = given(a)
        found = {
            name: value
            for name, action in self._actions.items()
            if (value := getattr(a, action.dest)) != action.default or action.dest in dests
        }
        return {name: self._as_table(name, value) for name, value in found.items()}

    def check(self, name: str, value: object, where: str = "") -> Any:
        """The value of an option as `Options` have it.

        `where` is "models" or "settings" in a table of these. Raises `UsageError` for a name that is no option, and
        for a value that it does not take.
        """
        if name not in self._actions:
            raise unknown("key", name, self._actions)
        if name in OF_THE_WHOLE and where:
            raise UsageError(f"{name} is of all models together; put it above the first [[{where}]]")
        action = self._actions[name]
        takes, fits = _kind(action, value)
        if not fits:
            raise UsageError(f"{name} must be {takes}")
        if (names := names_of(action)) is not None and value not in names:
            raise UsageError(f"{name} must be one of {', '.join(map(str, names))}")
        if _is_repeated(action):
            return [value] if isinstance(value, str) else value
        if isinstance(value, list):
            value = ",".join(value)
        return self._as_table(name, value)

    def overlaid(self, *layers: Options) -> Options:
        """The options of several layers, of which a later one counts before an earlier one.

        Arguments of a model are laid over each other one by one. What excludes an option of an earlier layer (a suite
        the tasks) takes its place.
        """
        whole: Options = {}
        for layer in layers:
            for name, value in layer.items():
                for group in self._groups:
                    if name in group:
                        whole = {other: kept for other, kept in whole.items() if other == name or other not in group}
                before = whole.get(name)
                whole[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        return whole

    def excluding(self, names: Iterable[str]) -> list[str]:
        """Of the names of one layer, those that exclude each other; none where there are fewer than two of a group."""
        for group in self._groups:
            if len(both := [name for name in names if name in group]) > 1:
                return both
        return []

    def check_whole(self, options: Options) -> None:
        """Raise `UsageError` for a run without a model or without tasks."""
        if "model" not in options:
            raise UsageError("name a model: --model hf --model-args pretrained=PATH, --model demo, …, or in a run file")
        which = next(group for group in self._groups if "tasks" in group)
        if not any(name in options for name in which):
            raise UsageError(
                f"one of the arguments {' '.join(f'--{name}' for name in which)} is required (mibe tasks lists both), "
                "or one of them in a run file"
            )

    def words(self, options: Options) -> list[str]:
        """The options as words of a command line."""
        words = []
        for name, value in options.items():
            if value is True:
                words.append(f"--{name}")
            elif isinstance(value, list):
                words += [f"--{name}={each}" for each in value]
            elif value is not False:
                words.append(f"--{name}={self.text(name, value)}")
        return words

    def text(self, name: str, value: Any) -> str:
        """A value as it is written on a command line."""
        if not isinstance(value, dict):
            return str(value)
        if name == "model-args":
            return write_model_args(value)
        return ",".join(f"{key}={json.dumps(each, ensure_ascii=False)}" for key, each in value.items())

    def is_text_or_file(self, name: str) -> bool:
        """Whether an option takes a text, or "@" and the file that holds it."""
        return str(self._actions[name].metavar).endswith("|@FILE")

    def _as_table(self, name: str, value: Any) -> Any:
        """Arguments by name, where the option takes such; a value of a model's is text."""
        if not _is_table(self._actions[name]):
            return value
        if name != "model-args":
            return parse_template_args(value) if isinstance(value, str) else value
        args = parse_model_args(value) if isinstance(value, str) else value
        return {key: each if isinstance(each, str) else json.dumps(each) for key, each in args.items()}


def _is_repeated(action: argparse.Action) -> bool:
    """Whether an option may stand several times on a command line, each time with another value."""
    return isinstance(action, argparse._AppendAction)


def _is_table(action: argparse.Action) -> bool:
    return "=" in str(action.metavar)


def _kind(action: argparse.Action, value: object) -> tuple[str, bool]:
    """What an option takes, in words, and whether the value is such."""
    if action.nargs == 0:
        return "true or false", isinstance(value, bool)
    if action.type is int:
        return "a whole number", isinstance(value, int) and not isinstance(value, bool)
    if action.type is float:
        return "a number", isinstance(value, int | float) and not isinstance(value, bool)
    if _is_table(action):
        return "a table of arguments, or text", isinstance(value, str) or (isinstance(value, dict) and is_json(value))
    if "," in str(action.metavar) or _is_repeated(action):
        texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return "text, or a list of texts", isinstance(value, str) or texts
    return "text", isinstance(value, str)


def is_json(value: object) -> bool:
    """Whether a value of TOML is one of JSON, too, which dates are not."""
    if isinstance(value, dict | list):
        return all(map(is_json, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str | bool | int | float)
