"""Options that several commands share, and how they are handed on."""

from __future__ import annotations

import argparse
from typing import Any, TypeAlias

FORMATS = ("text", "json", "csv", "markdown", "latex")

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `add_subparsers` returns: where a command is added."""


def add_model_arguments(p: argparse.ArgumentParser, *, required: bool) -> None:
    """The model, and what the prompts of `eval`, `plan` and `show` depend on."""
    p.add_argument("--model", required=required, metavar="NAME", help="hf, vllm, openai, lm_eval:NAME, demo, …")
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
    p.add_argument(
        "--thinking-budget",
        type=int,
        metavar="N",
        help="tokens of reasoning before an answer (default 8,192 or as fits)",
    )
    p.add_argument(
        "--at-budget",
        choices=("stop", "close"),
        default="stop",
        help="where reasoning uses its room up: stop there (default), or close it, so that the model answers",
    )
    add_protocol_argument(p)
    add_data_use_arguments(p)


def add_task_arguments(p: argparse.ArgumentParser) -> None:
    """Which tasks: by name, or by a suite of the paper."""
    which = p.add_mutually_exclusive_group(required=True)
    which.add_argument("--tasks", metavar="A,B", help="tasks and groups (mibe tasks lists them)")
    which.add_argument("--suite", metavar="NAME", help="a setting of the paper: tasks and their worked examples")


def add_protocol_argument(p: argparse.ArgumentParser) -> None:
    """How prompts, parsers and metrics are."""
    p.add_argument(
        "--protocol",
        default="default",
        metavar="NAME",
        help="default, or paper: prompts, parsers and metrics bug for bug as the released code had them",
    )


def add_data_use_arguments(p: argparse.ArgumentParser) -> None:
    """What lets credentialed text leave this machine."""
    p.add_argument(
        "--allow-egress", default="", metavar="A,B", help="credentialed tasks whose text a remote model may get"
    )
    p.add_argument("--agreement", metavar="TEXT", help="the agreement that permits --allow-egress, for the record")


def add_scoring_arguments(p: argparse.ArgumentParser) -> None:
    """What scores beyond a task's own metrics."""
    add_bertscore_argument(p)
    p.add_argument(
        "--judge", metavar="NAME", help="who says that a diagnosis is right: exact, or a model such as openai:gpt-4o"
    )


def add_bertscore_argument(p: argparse.ArgumentParser) -> None:
    """The encoder of BERTScore."""
    p.add_argument(
        "--bertscore",
        metavar="MODEL[:LAYER]",
        help="also compare summaries by BERTScore with this encoder, a hub name or a folder",
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
    allowed = [name.strip() for name in a.allow_egress.split(",") if name.strip()]
    return {"allow_egress": tuple(allowed), "agreement": a.agreement}


def prompt_settings_of(a: argparse.Namespace) -> dict[str, Any]:
    """The settings that `eval` and `show` share. A number of examples that was not given is left to the suite."""
    given = {} if a.num_fewshot is None else {"num_fewshot": a.num_fewshot}
    return given | {
        "split": a.split,
        "seed": a.seed,
        "max_new_tokens": a.max_new_tokens,
        "thinking_budget": a.thinking_budget,
        "at_budget": a.at_budget,
        "fewshot_per_document": a.fewshot_per_document,
        "protocol": a.protocol,
    }
