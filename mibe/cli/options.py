"""Options that several commands share, and how they are handed on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from mibe.errors import UsageError

# As `Settings` has them, which the command line does without until a command runs; a test compares the two.
GENERATIONS = ("auto", "greedy", "model")
THINKING = ("auto", "on", "off")
AT_BUDGET = ("stop", "close")
STYLES = ("direct", "cot")
PROMPTS = ("table", "released")
SCORINGS = ("generate", "loglikelihood")

FORMATS = ("text", "json", "csv", "markdown", "latex")

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `add_subparsers` returns: where a command is added."""


def one_of(names: tuple[str, ...]) -> str:
    """How help shows that a value is one of these names, for an option whose value is checked with all other names of
    the command: argparse would stop at the first that is wrong."""
    return f"{{{','.join(names)}}}"


def names_of(action: argparse.Action) -> tuple[Any, ...] | None:
    """The values of which an option takes one, whoever checks them; None for an option that takes any other."""
    if action.choices is not None:
        return tuple(action.choices)
    shown = str(action.metavar)
    return tuple(shown[1:-1].split(",")) if shown.startswith("{") else None


def add_run_file_arguments(p: argparse.ArgumentParser) -> None:
    """A run as a file: read, changed in a place, written."""
    p.add_argument("run_file", nargs="?", metavar="RUN.toml", help="options in a file, for one model or several")
    file = p.add_argument_group("a run as a file (docs/run-files.md)")
    file.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="limit=20, model-args.dtype=float16: any option"
    )
    file.add_argument("--write", metavar="FILE", help="write what was asked for into a run file, and run nothing")


def add_model_arguments(p: argparse.ArgumentParser, *, required: bool) -> None:
    """The model, and what the prompts of `eval`, `plan` and `show` depend on."""
    p.add_argument(
        "--model", required=required, metavar="NAME", help="hf, vllm, openai, lm_eval:NAME, demo, …, or a folder"
    )
    p.add_argument("--model-args", default="", metavar="K=V,…", help="e.g. pretrained=PATH_OR_HUB_NAME,dtype=bfloat16")
    p.add_argument(
        "--num-fewshot", type=int, metavar="N", help="worked examples in each prompt (default 0, or the suite's)"
    )
    p.add_argument("--fewshot-per-document", action="store_true", help="choose the examples anew for each document")
    p.add_argument("--split", default="test", help="the split that is scored (default test)")
    p.add_argument("--seed", type=int, default=1234, help="of document choice, examples and intervals (default 1234)")
    p.add_argument(
        "--max-new-tokens", type=int, metavar="N", help="length limit of an answer (default: each task's own)"
    )
    add_protocol_argument(p)
    add_asking_arguments(p)
    add_data_use_arguments(p)


def add_task_arguments(p: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Which tasks: by name, or by a suite of the paper."""
    which = p.add_mutually_exclusive_group(required=required)
    which.add_argument("--tasks", metavar="A,B", help="tasks and groups (mibe tasks lists them)")
    which.add_argument("--suite", metavar="NAME", help="a setting of the paper: tasks and their worked examples")
    which.add_argument("--data", metavar="FILE", help="your own table, or a task file (docs/own-data.md)")


def add_asking_arguments(p: argparse.ArgumentParser) -> None:
    """How the model is asked, beside the task's own prompt."""
    ask = p.add_argument_group("how the model is asked (docs/generation.md)")
    ask.add_argument(
        "--system-prompt", metavar="TEXT|@FILE", help="goes before the prompt, as a turn of its own in a chat"
    )
    ask.add_argument(
        "--thinking", metavar=one_of(THINKING), default="auto", help="the chat template's switch (default its own)"
    )
    ask.add_argument("--reasoning-effort", metavar="LEVEL", help="low, medium, high, …: as template or server take it")
    ask.add_argument(
        "--chat-template-args", default="", metavar="K=V,…", help="any switch of the chat template; values as JSON"
    )
    ask.add_argument(
        "--prompt-style",
        metavar=one_of(STYLES),
        default="direct",
        help="cot: one sentence that asks for a chain of thought",
    )
    ask.add_argument(
        "--thinking-budget",
        type=int,
        metavar="N",
        help="tokens of reasoning before an answer (default 8,192 or as fits)",
    )
    ask.add_argument(
        "--at-budget",
        metavar=one_of(AT_BUDGET),
        default="stop",
        help="where reasoning uses its room up: stop there (default), or close it, so that the model answers",
    )


def add_generation_arguments(p: argparse.ArgumentParser) -> None:
    """How the next token is chosen, and how often an answer is drawn."""
    how = p.add_argument_group("how text is generated (docs/generation.md)")
    how.add_argument(
        "--generation",
        metavar=one_of(GENERATIONS),
        default="auto",
        help="greedy, or model: as its checkpoint says (auto: greedy, with advice for models that reason)",
    )
    how.add_argument(
        "--temperature", type=float, metavar="T", help="0 is greedy; the four here count before --generation"
    )
    how.add_argument("--top-p", type=float, metavar="P", help="of the likeliest tokens that make up this share")
    how.add_argument("--top-k", type=int, metavar="K", help="of the K likeliest tokens")
    how.add_argument("--min-p", type=float, metavar="P", help="of tokens at least P times as likely as the likeliest")
    add_repeats_argument(how)
    add_vary_argument(how)
    how.add_argument("--constrain", action="store_true", help="the answer is one of the task's labels or letters")
    how.add_argument(
        "--no-option-texts",
        action="store_true",
        help="with --scoring loglikelihood: letters alone, without the options' texts (docs/likelihood.md)",
    )


def add_vary_argument(p: argparse._ActionsContainer) -> None:
    """In which other forms each document is asked."""
    p.add_argument(
        "--vary",
        metavar="WHAT[:K],…",
        help="ask each document in other forms too: options, wording, shots, noise, distractor (docs/robustness.md); "
        "sex, age, ethnicity, insurance, language (docs/fairness.md)",
    )


def add_repeats_argument(p: argparse._ActionsContainer) -> None:
    """How often an answer is drawn."""
    p.add_argument("--repeats", type=int, default=1, metavar="K", help="draws for each document (docs/repeats.md)")


def add_protocol_argument(p: argparse.ArgumentParser) -> None:
    """How prompts, parsers and metrics are."""
    p.add_argument(
        "--protocol",
        default="default",
        metavar="NAME",
        help="default, or paper: prompts, parsers and metrics bug for bug as the released code had them",
    )
    p.add_argument(
        "--prompts",
        metavar=one_of(PROMPTS),
        help="the wording: of the paper's table A2, or of the code released with it (default: the protocol's own)",
    )


def add_data_use_arguments(p: argparse.ArgumentParser) -> None:
    """What lets credentialed text leave this machine."""
    p.add_argument(
        "--allow-egress", default="", metavar="A,B", help="credentialed tasks whose text a remote model may get"
    )
    p.add_argument("--agreement", metavar="TEXT", help="the agreement that permits --allow-egress, for the record")


def add_scoring_arguments(p: argparse.ArgumentParser) -> None:
    """What scores beyond a task's own metrics."""
    add_encoder_arguments(p)
    p.add_argument(
        "--judge", metavar="NAME", help="who says that a diagnosis is right: exact, or a model such as openai:gpt-4o"
    )


def add_encoder_arguments(p: argparse.ArgumentParser) -> None:
    """The models that compare summaries."""
    p.add_argument(
        "--bertscore",
        metavar="MODEL[:LAYER]",
        help="also compare summaries by BERTScore with this encoder, a hub name or a folder",
    )
    p.add_argument(
        "--bartscore",
        metavar="PATH",
        help="also by BARTScore: weights (bart_score.pth), a model's folder or hub name, or MODEL:WEIGHTS",
    )


def add_interval_arguments(p: argparse.ArgumentParser) -> None:
    """How intervals are drawn."""
    p.add_argument("--resamples", type=int, default=1000, metavar="N", help="bootstrap resamples (default 1000)")
    p.add_argument("--seed", type=int, default=1234, help="of the intervals (default 1234)")


def model_args_of(a: argparse.Namespace) -> dict[str, str]:
    """The model's arguments, those that have a flag of their own among them."""

    from mibe.models import parse_model_args

    flags = {name: "true" for name in ("batch_api", "trusted_endpoint") if getattr(a, name)}
    return parse_model_args(a.model_args) | flags


def data_use_of(a: argparse.Namespace) -> dict[str, Any]:
    """The tasks whose text may leave, and the agreement that permits it."""
    from mibe.registry import name_here

    allowed = [name_here(name.strip()) or name.strip() for name in a.allow_egress.split(",") if name.strip()]
    return {"allow_egress": tuple(allowed), "agreement": a.agreement}


def prompt_settings_of(a: argparse.Namespace) -> dict[str, Any]:
    """The settings that `eval`, `plan` and `show` share; a number of examples that was not given is the suite's."""
    from mibe.models.arguments import parse_template_args

    given = {} if a.num_fewshot is None else {"num_fewshot": a.num_fewshot}
    return given | {
        "split": a.split,
        "seed": a.seed,
        "max_new_tokens": a.max_new_tokens,
        "fewshot_per_document": a.fewshot_per_document,
        "protocol": a.protocol,
        "prompts": a.prompts,
        "system_prompt": None if a.system_prompt is None else text_or_file(a.system_prompt, "--system-prompt"),
        "thinking": a.thinking,
        "reasoning_effort": a.reasoning_effort,
        "chat_template_args": parse_template_args(a.chat_template_args),
        "prompt_style": a.prompt_style,
        "thinking_budget": a.thinking_budget,
        "at_budget": a.at_budget,
    }


def generation_settings_of(a: argparse.Namespace) -> dict[str, Any]:
    """The settings that `eval` alone has: the next token, the draws, the answers allowed, how summaries are scored."""
    names = ("generation", "temperature", "top_p", "top_k", "min_p", "repeats", "constrain", "bartscore", "vary")
    return {name: getattr(a, name) for name in names} | {"option_texts": not a.no_option_texts}


def text_or_file(text: str, option: str) -> str:
    """What was given to `option`: the text, or after an "@" what a file holds, without the end of its last line."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).expanduser().read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option} {text}: the file cannot be read ({error})") from None
