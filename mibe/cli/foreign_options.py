"""Options of lm-eval 0.4 and of the released code, which is an lm-eval 0.3, and what each of them is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from mibe.models.arguments import parse_model_args, switch


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


_TRACKER = instead(
    "--track wandb or --track trackio (docs/run-files.md); their own settings are their environment variables"
)

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
