"""Options of lm-eval 0.4 and of the released code, which is an lm-eval 0.3, and what they are here.

Where one means the same it just works, and is said once; where it means something else, the error names what to give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from math import ceil
from typing import TypeAlias

from mibe.cli.model_spellings import model_here
from mibe.data.documents import examples
from mibe.errors import MibeError, UsageError
from mibe.models.arguments import parse_model_args, switch, write_model_args
from mibe.registry import resolve
from mibe.suites import load_suite


class Takes(Enum):
    """How many words after an option are its own."""

    NOTHING = "nothing"
    ONE = "one"
    MAYBE = "at most one"
    SEVERAL = "one or more"


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What an option elsewhere is here: words of the command, arguments of the model, a line of news, or an error."""

    words: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    wrong: str = ""


Reader: TypeAlias = Callable[[str, str], Meaning]
"""From an option as it was written, and its value, to what it is here."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The words of a command in the spelling of mibe, a line for each change, and one for each that is wrong."""

    words: list[str]
    said: list[str]
    wrong: list[str]


def renamed(option: str) -> Reader:
    """An option of another name."""
    return lambda written, value: Meaning(words=(option, value), said=f"{written} is {option}")


def argument(name: str) -> Reader:
    """An option that is an argument of the model; what became of it is said when the model is known."""
    return lambda written, value: Meaning(args={name: value or "true"})


def unneeded(why: str) -> Reader:
    """An option for what mibe does anyway."""
    return lambda written, value: Meaning(said=f"{written} is left out: {why}")


def instead(advice: str) -> Reader:
    """An option that means something else, or nothing, here."""
    return lambda written, value: Meaning(wrong=f"{written}: {advice}")


def _output_path(written: str, value: str) -> Meaning:
    if value.endswith((".json", ".jsonl")):
        return instead(f"a run is a folder, give --output-dir DIR; as one file: --format json > {value}")(
            written, value
        )
    return renamed("--output-dir")(written, value)


def _always(why: str, otherwise: Reader) -> Reader:
    """A switch that is always on here."""

    def read(written: str, value: str) -> Meaning:
        try:
            is_on = switch(value or "true")
        except ValueError:
            is_on = False
        return (unneeded(why) if is_on else otherwise)(written, value)

    return read


_TEMPLATE = instead("a model has one chat template here, its own; chat_template=off in --model-args turns it off")


def _model_prompt(written: str, value: str) -> Meaning:
    if value == "no_prompt":
        return unneeded("--protocol paper gives the bare prompt")(written, value)
    return instead("the model's own chat template is used; chat_template=off in --model-args turns it off")(
        written, value
    )


GENERATION: Mapping[str, str] = {
    **{name: "--" + name.replace("_", "-") for name in ("temperature", "top_p", "top_k", "min_p", "max_new_tokens")},
    "max_gen_toks": "--max-new-tokens",
    "max_tokens": "--max-new-tokens",
}
"""Keyword of generation → option."""


def _generation(written: str, value: str) -> Meaning:
    """`--gen_kwargs temperature=0.7,top_p=0.9`."""
    words: list[str] = []
    strange: list[str] = []
    for name, text in parse_model_args(value).items():
        if name in GENERATION:
            words += [GENERATION[name], text]
        elif name != "do_sample":
            strange.append(name)
    if strange:
        known = ", ".join(dict.fromkeys(GENERATION.values()))
        return Meaning(wrong=f"{written} {', '.join(strange)}: no option here; there are {known}")
    return Meaning(words=tuple(words), said=f"{written} is {' '.join(words) or 'left out: it changes nothing'}")


_TRACKER = instead("leave it out, and give a tracker what `mibe export RUN --to csv` writes")

OPTIONS: Mapping[str, tuple[Takes, Reader]] = {
    "--batch-size": (Takes.ONE, argument("batch_size")),
    "--max-batch-size": (Takes.ONE, unneeded("the largest batch that fits is found as the run goes")),
    "--device": (Takes.ONE, argument("device")),
    "--trust-remote-code": (Takes.NOTHING, argument("trust_remote_code")),
    "--output-path": (Takes.ONE, _output_path),
    "--output-base-path": (Takes.ONE, renamed("--output-dir")),
    "--system-instruction": (Takes.ONE, renamed("--system-prompt")),
    "--gen-kwargs": (Takes.SEVERAL, _generation),
    "--log-samples": (Takes.NOTHING, unneeded("every sample is kept in the run folder")),
    "--write-out": (Takes.NOTHING, unneeded("the first prompt of each task is printed; `mibe show TASK` prints any")),
    "--predict-only": (Takes.NOTHING, instead("outputs are always kept, in samples/ of the run folder; leave it out")),
    "--apply-chat-template": (
        Takes.MAYBE,
        _always("a chat model's template is always applied", _TEMPLATE),
    ),
    "--fewshot-as-multiturn": (
        Takes.MAYBE,
        _always(
            "worked examples are turns for a chat model",
            instead("worked examples are turns for a chat model; --protocol paper puts them into one"),
        ),
    ),
    "--use-cache": (Takes.ONE, unneeded("answers are always kept; --no-cache asks anew")),
    "--cache-requests": (Takes.MAYBE, unneeded("prompts are built as they are sent")),
    "--check-integrity": (Takes.NOTHING, instead("`mibe check TASK` reads and scores a task's own gold answers")),
    "--include-path": (Takes.ONE, instead("tasks of lm-eval are run by `mibe lm-eval --include_path DIR …`")),
    "--verbosity": (Takes.ONE, unneeded("news and errors are always printed")),
    "--show-config": (Takes.NOTHING, unneeded("run.json holds every setting")),
    "--wandb-args": (Takes.SEVERAL, _TRACKER),
    "--wandb-config-args": (Takes.SEVERAL, _TRACKER),
    "--trackio-args": (Takes.SEVERAL, _TRACKER),
    "--hf-hub-log-args": (Takes.SEVERAL, instead("`mibe export RUN --to hf-eval-yaml` writes what the hub reads")),
    "--confirm-run-unsafe-code": (Takes.NOTHING, unneeded("no task runs code")),
    "--metadata": (Takes.SEVERAL, instead("what a task needs is in its file (docs/add-a-dataset.md); leave it out")),
    "--samples": (Takes.ONE, instead("--limit N takes the same N documents for everyone")),
    "--config": (Takes.ONE, instead("lm-eval's YAML is not read; give its settings as options")),
    "--model-prompt": (Takes.ONE, _model_prompt),
    "--provide-description": (Takes.NOTHING, instead("a task's instruction is always given; leave it out")),
    "--description-dict-path": (Takes.ONE, instead("--system-prompt @FILE puts a text before every prompt")),
    "--data-sampling": (Takes.ONE, instead("--limit N takes the same N documents for everyone")),
    "--decontamination-ngrams-path": (
        Takes.ONE,
        instead("`mellama-train corpus build` keeps the test sets out of the training data"),
    ),
}
"""Option elsewhere, with dashes → what it takes, and what it is here."""

SHORT: Mapping[str, str] = {
    "-M": "--model",
    "-m": "--model",
    "-a": "--model-args",
    "-t": "--tasks",
    "-L": "--limit",
    "-f": "--num-fewshot",
    "-b": "--batch-size",
    "-o": "--output-path",
    "-s": "--log-samples",
    "-c": "--use-cache",
    "-w": "--write-out",
    "-x": "--predict-only",
    "-v": "--verbosity",
    "-E": "--samples",
    "-C": "--config",
}
"""lm-eval's short options."""


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
    if "--limit" in options:
        read = _with_share(read, said, wrong)
    return Reading(words=read, said=said, wrong=wrong)


def _own(written: str, name: str, values: list[str], said: list[str]) -> list[str]:
    """An option that the command has, with those of its values that are known already."""
    if written in SHORT or "_" in written:
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
        for _ in range(_room(name, options, waiting) - len(values)):
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


def _with_share(words: list[str], said: list[str], wrong: list[str]) -> list[str]:
    """The words with a number for lm-eval's share of the documents (`--limit 0.1`).

    A share is another number for each task, and a run has one for all: of several tasks the error tells the numbers.
    """
    text = _value(words, "--limit")
    if text is None or not re.fullmatch(r"\d*\.\d+", text):
        return words
    share = float(text)
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
