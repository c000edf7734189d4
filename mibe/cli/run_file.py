"""A run as a file: the options of `mibe eval` under their names, for one model or for several (`docs/run-files.md`).

    tasks = ["pubmedqa", "medqa"]
    limit = 100

    [[models]]
    model = "hf"
    model-args = { pretrained = "PATH", dtype = "bfloat16" }

What an option is, the command line alone says: which there are, what they take, which exclude each other.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mibe.cli.known import Known, Options, is_json
from mibe.cli.options import text_or_file
from mibe.data.disk import write_atomically
from mibe.data.toml import Place, key_to_toml, read_toml, to_toml
from mibe.errors import UsageError
from mibe.models.keys import hidden
from mibe.models.loading import check_known
from mibe.terminal.plain import as_text, printable

MODELS, SETTINGS = "models", "settings"
"""The tables of a file that there may be several of; every model is run with every one of the settings."""

BY_WORD = frozenset({"allow-egress", "agreement", "trusted-endpoint"})
"""Options by which credentialed text may leave this machine: a person says them, each time, and no file does."""
BY_WORD_ARGUMENT = "trusted_endpoint"
"""The argument of a model that means the same."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """What a file says: options for all runs, and those of each model and each of the settings."""

    shared: Options
    models: tuple[Options, ...] = ()
    settings: tuple[Options, ...] = ()


def read_run_file(path: Path, known: Known) -> RunFile:
    """The content of a file. Raises `UsageError` with all that is wrong in it, each with its line."""
    content, lines = read_toml(path)
    problems: list[tuple[int, str]] = []

    def table(found: Mapping[str, Any], place: Place = ()) -> Options:
        options: Options = {}
        for key, value in found.items():
            name = key.replace("_", "-")
            line = lines[*place, key]
            try:
                _refuse_words(name, value)
                if name in options:
                    raise UsageError(f"{name} stands there twice")
                options[name] = known.check(name, value, str(place[0]) if place else "")
                if name == "model":
                    check_known(options[name])
            except UsageError as error:
                problems.append((line, str(error)))
        if both := known.excluding(options):
            problems.append((lines.get(place, 1), f"{' and '.join(both)} exclude each other; give one of them"))
        return options

    def tables(key: str) -> tuple[Options, ...]:
        found = content.pop(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            problems.append((lines[key,], f"{key} are tables, each below a line [[{key}]]"))
            return ()
        return tuple(table(each, (key, number)) for number, each in enumerate(found))

    models, settings = tables(MODELS), tables(SETTINGS)
    shared = table(content)
    for number, options in enumerate(models):
        if "model" not in options and "model" not in shared:
            problems.append((lines[MODELS, number], "no model is named; give model"))
    if problems:
        told = "; ".join(f"line {line}: {text}" for line, text in sorted(problems))
        raise UsageError(f"{path}: {told}".replace("?; ", "? "))
    return RunFile(shared, models, settings)


def _refuse_words(name: str, value: object) -> None:
    """Raise `UsageError` for what a person has to say."""
    if name in BY_WORD:
        raise UsageError(f"{name} lets credentialed text leave this machine and is said on the command line: --{name}")
    if name == "model-args" and BY_WORD_ARGUMENT in (value if isinstance(value, dict) else str(value)):
        raise UsageError(f"{BY_WORD_ARGUMENT} is said on the command line: --trusted-endpoint")


def parse_sets(texts: Sequence[str], known: Known) -> Options:
    """The options of `--set KEY=VALUE`, where KEY may be the name of an option's argument: `model-args.dtype`.

    A value is TOML where it can be read so and fits, else text. Raises `UsageError` with all that is wrong.
    """
    options: Options = {}
    problems = []
    for given_text in texts:
        key, equals, text = given_text.partition("=")
        head, dot, argument = key.strip().partition(".")
        name = head.replace("_", "-")
        try:
            if not equals or not name or (dot and not argument):
                raise UsageError("give KEY=VALUE, such as limit=20 or model-args.dtype=float16")
            for candidate in (_value(text), text):
                value = {argument: candidate} if dot else candidate
                try:
                    layer = {name: known.check(name, value)}
                    break
                except UsageError as error:
                    problem = error
            else:
                raise problem
            options = known.overlaid(options, layer)
        except UsageError as error:
            problems.append(f"--set {key.strip() if equals else given_text}: {error}")
    if problems:
        raise UsageError("; ".join(problems).replace("?; ", "? "))
    return options


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except tomllib.TOMLDecodeError:
        return text


def runs_of(a: argparse.Namespace, known: Known) -> list[tuple[str, Options]]:
    """The runs that a command asks for: every model of its file with every one of the settings.

    Each is the settings, as one line for people, and all options of the run.

    What the command line says counts before the file, and `--set` before both; a model's own before the settings'.
    """
    file = RunFile({}) if a.run_file is None else read_run_file(Path(a.run_file), known)
    said = (known.given(a), parse_sets(a.set, known))
    return [
        (", ".join(_lines(settings)), known.overlaid(file.shared, settings, model, *said))
        for model in file.models or ({},)
        for settings in file.settings or ({},)
    ]


def to_file(runs: Sequence[Options], known: Known) -> str:
    """The file that these runs are read from again. Keys of services and what a person has to say are left out, and a
    comment says so."""
    left_out: dict[str, None] = {}
    written = [dict(_writable(options, known, left_out)) for options in runs]
    first = written[0]
    shared = {name: value for name, value in first.items() if all(name in o and o[name] == value for o in written)}
    lines = ["# mibe eval FILE repeats this run; docs/run-files.md says what may stand here."]
    lines += [f"# Left out: {printable(name)}." for name in left_out]
    lines += _lines(shared)
    if len(written) > 1:
        for options in written:
            lines += ["", f"[[{MODELS}]]", *_lines({n: v for n, v in options.items() if n not in shared})]
    return "\n".join(lines) + "\n"


def _lines(options: Options) -> list[str]:
    return [f"{key_to_toml(name)} = {to_toml(value)}" for name, value in options.items()]


def _writable(options: Options, known: Known, left_out: dict[str, None]) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if name in BY_WORD:
            left_out[f"{name}, which is said on the command line each time"] = None
        elif isinstance(value, dict):
            kept = {key: each for key, each in value.items() if not _is_secret(f"{key}={as_text(each)}")}
            for key in value.keys() - kept.keys():
                left_out[f"{name}.{key}, which looks like a key; --set {name}.{key}=… gives it"] = None
            # TOML has no null.
            yield name, kept if is_json(kept) else known.text(name, kept)
        elif isinstance(value, str) and _is_secret(value):
            left_out[f"{name}, which looks like a key; --set {name}=… gives it"] = None
        elif known.is_text_or_file(name) and not (text := text_or_file(value, f"--{name}")).startswith("@"):
            yield name, text
        elif value is not False:
            yield name, value


def _is_secret(text: str) -> bool:
    return hidden(text, os.environ) != text


def write_run_file(path: Path, runs: Sequence[Options], known: Known) -> None:
    """Write it. Raises `UsageError` when that cannot be done."""
    try:
        write_atomically(path, to_file(runs, known))
    except OSError as error:
        raise UsageError(f"--write {path}: the file cannot be written ({error.strerror or error})") from None
