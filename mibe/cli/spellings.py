"""Commands in the spelling of lm-eval or of the released code, in that of mibe.

Where an option means the same it just works, and is said once; where it means something else, the error names what to
give.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil

from mibe.cli.foreign_options import OPTIONS, SHORT, Meaning, Takes
from mibe.cli.model_spellings import model_here
from mibe.data.documents import examples
from mibe.errors import MibeError, UsageError
from mibe.models.arguments import parse_model_args, write_model_args
from mibe.registry import resolve
from mibe.suites import load_suite

LISTS = ("list", "list_groups", "list_subtasks", "list_tags")
"""What lm-eval has in the place of tasks to list them."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The words of a command in the spelling of mibe, a line for each change, and one for each that is wrong."""

    words: list[str]
    said: list[str]
    wrong: list[str]


def understood(words: Sequence[str], options: Collection[str]) -> Reading:
    """A command's words, without its name, in the spelling of mibe; `options` are those that the command has."""
    read: list[str] = []
    said: list[str] = []
    wrong: list[str] = []
    args: dict[str, str] = {}
    known = {**OPTIONS, **dict.fromkeys(options)} if "--model" in options else dict.fromkeys(options)
    for written, name, values in _parts(words, options):
        if name is None:
            read += values
        elif name in options:
            read += _own(written, name, values, said)
        elif name in OPTIONS and "--model" in options:
            meaning = _meaning(written, name, ",".join(values), options)
            read += meaning.words
            args |= meaning.args
            said += filter(None, [meaning.said])
            wrong += filter(None, [meaning.wrong])
        else:
            near = get_close_matches(name, known, n=1, cutoff=0.6)
            wrong.append(f"unknown option {written}" + (f"; did you mean {near[0]}?" if near else ""))
    if "--model" in options:
        read = _with_model(read, args, said, wrong)
    if "--judge" in options:
        read = _with_judge(read, said)
    if "--tasks" in options and (listed := _value(read, "--tasks")) in LISTS:
        wrong.append(f"--tasks {listed}: `mibe tasks` lists tasks, groups and suites")
    if "--limit" in options:
        read = _with_share(read, said, wrong)
    return Reading(words=read, said=said, wrong=wrong)


def _own(written: str, name: str, values: list[str], said: list[str]) -> list[str]:
    """An option that the command has, with those of its values that are known already."""
    if written != name and (written in SHORT or "_" in written):
        said.append(f"{written} is {name}")
    value = ",".join(values)
    if name == "--tasks" and len(values) > 1:
        said.append(f"tasks have commas between: {value}")
    if name == "--seed" and value.count(",") == 3:
        # lm-eval's four are of Python, numpy, torch and the worked examples.
        value = value.rpartition(",")[2]
        said.append(f"of four seeds, that of the worked examples counts: --seed {value}")
    if not values:
        return [name]
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _meaning(written: str, name: str, value: str, options: Collection[str]) -> Meaning:
    """What an option elsewhere is for a command with these options."""
    try:
        meaning = OPTIONS[name][1](written, value)
    except UsageError as error:
        return Meaning(wrong=f"{written}: {error}")
    if any(word.startswith("--") and word not in options for word in meaning.words):
        return Meaning(said=f"{written} is left out: it changes nothing in this command")
    return meaning


def _parts(words: Sequence[str], options: Collection[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Each option as written, its name here or elsewhere, and its words; words that belong to none have no name.

    Of an option that the command has itself only those that lm-eval takes several words for get more than they need.
    """
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            yield "", None, [word, *waiting]
            return
        written, equals, value = word.partition("=")
        name = _name(written, options)
        if name is None:
            yield "", None, [word]
            continue
        values = [value] if equals else []
        for _ in range(0 if equals else _room(name, options, waiting)):
            if not waiting or waiting[0].startswith("--") or waiting[0] in SHORT:
                break
            values.append(waiting.pop(0))
        yield written, name, values


def _room(name: str, options: Collection[str], waiting: Sequence[str]) -> int:
    """How many of the words that wait an option may take."""
    if name == "--tasks":
        return len(waiting)
    if name == "--model-args":
        return next((at for at, word in enumerate(waiting) if at and "=" not in word), len(waiting))
    if name == "--seed":
        return 1
    if name in options or name not in OPTIONS:
        return 0
    takes = OPTIONS[name][0]
    return len(waiting) if takes is Takes.SEVERAL else 0 if takes is Takes.NOTHING else 1


def _name(written: str, options: Collection[str]) -> str | None:
    """The option that a word is, with dashes in it; None for a word that is none."""
    if written in options:
        return written
    if written in SHORT:
        return SHORT[written]
    if not written.startswith("--"):
        return None
    dashed = "--" + written[2:].replace("_", "-")
    # argparse takes the beginning of an option for it.
    begun = [option for option in options if option.startswith(dashed)]
    return begun[0] if len(begun) == 1 and dashed not in OPTIONS else dashed


def _value(words: Sequence[str], option: str) -> str | None:
    """What the last of this option was given."""
    places = [at for at, word in enumerate(words) if word == option and at + 1 < len(words)]
    return words[places[-1] + 1] if places else None


def _set(words: Sequence[str], option: str, value: str) -> list[str]:
    """The words with this option at this value, once."""
    rest: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word != option:
            rest.append(word)
        elif waiting:
            waiting.pop(0)
    return [option, value, *rest]


def _with_model(words: list[str], more: Mapping[str, str], said: list[str], wrong: list[str]) -> list[str]:
    """The words with the model under its name here, and with the arguments that options have become."""
    name, text = _value(words, "--model"), _value(words, "--model-args") or ""
    if name is None:
        return words
    try:
        args = parse_model_args(text)
        found = model_here(name, {**args, **more})
    except MibeError:
        # The command says it, without its usage.
        return words
    except ValueError as error:
        wrong.append(f"--model-args: {error}")
        return words
    said += [f"--{each} is {each}={found.args[each]} of --model-args" for each in more if each in found.args]
    said += found.said
    if (found.name, found.args) != (name, args):
        words = _set(words, "--model-args", write_model_args(found.args)) if found.args else words
        words = _set(words, "--model", found.name)
    return [*words, *found.words]


def _with_judge(words: list[str], said: list[str]) -> list[str]:
    """The words with the judge under its name here, NAME:ARGUMENTS."""
    name = _value(words, "--judge")
    if name is None or ":" in name or (found := model_here(name, {})).name == name:
        return words
    here = f"{found.name}:{write_model_args(found.args)}"
    said.append(f"--judge {name} is --judge {here}")
    return _set(words, "--judge", here)


def _with_share(words: list[str], said: list[str], wrong: list[str]) -> list[str]:
    """The words with a number for lm-eval's share of the documents (`--limit 0.1`).

    A share is another number for each task, and a run has one for all: of several tasks the error tells the numbers.
    """
    text = _value(words, "--limit")
    if text is None or not re.fullmatch(r"\d*\.\d+", text):
        return words
    share = float(text)
    if _value(words, "--data") is not None:
        wrong.append(f"--limit {text}: mibe takes a number of documents; count the rows of --data, and give theirs")
        return words
    if not share % 1:
        return _set(words, "--limit", str(int(share)))
    try:
        counts = {name: ceil(share * count) for name, count in _documents(words)}
    except MibeError as error:
        wrong.append(f"--limit {text}: mibe takes a number of documents, the same for each task ({error})")
        return words
    if share < 1 and len(set(counts.values())) == 1:
        number = next(iter(counts.values()))
        said.append(f"--limit {text} is --limit {number}")
        return _set(words, "--limit", str(number))
    numbers = ", ".join(f"{number:,} of {name}" for name, number in counts.items()) if share < 1 else ""
    wrong.append(
        f"--limit {text}: mibe takes a number of documents, the same for each task"
        + (f"; this share is {numbers}" if numbers else "")
    )
    return words


def _documents(words: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each task of the command with how many documents it has."""
    tasks, suite = _value(words, "--tasks"), _value(words, "--suite")
    named = tasks or (load_suite(suite).tasks if suite else ())
    for task in resolve(named):
        yield task.name, sum(1 for _ in examples(task, _value(words, "--split") or "test"))
