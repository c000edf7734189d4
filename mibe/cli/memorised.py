"""`mibe memorised`: has a model learned the questions of a test set by heart?"""

from __future__ import annotations

import argparse

from mibe.cli.options import Commands, add_data_use_arguments, data_use_of
from mibe.cli.own import add_own_arguments, tasks_of

# As `mibe.memorisation.memorised` has it, which the command line does without until it runs; a test compares the two.
LIMIT = 500


def add_commands(commands: Commands) -> None:
    """Add `memorised`."""
    p = commands.add_parser("memorised", help="has a model learned the questions of a test set by heart?")
    p.set_defaults(command=_memorised)
    which = p.add_mutually_exclusive_group(required=True)
    which.add_argument("--tasks", metavar="A,B", help="tasks with questions, and groups of them")
    which.add_argument("--data", metavar="FILE", help="your own table, or a task file (docs/own-data.md)")
    add_own_arguments(p)
    p.add_argument("--model", required=True, metavar="NAME", help="hf, demo, openai, …, or a folder")
    p.add_argument("--model-args", default="", metavar="K=V,…", help="e.g. pretrained=PATH_OR_HUB_NAME")
    p.add_argument(
        "--reference", metavar="FILE", help="questions that the model cannot know (default: twins of the questions)"
    )
    p.add_argument("--reference-is-open", action="store_true", help="a remote model may get the reference questions")
    p.add_argument(
        "--limit", type=int, default=LIMIT, metavar="N", help=f"questions of each task (default {LIMIT}; 0: all)"
    )
    p.add_argument("--split", default="test", help="the split that is looked at (default test)")
    p.add_argument("--seed", type=int, default=1234, help="of the choice of questions, pairs and orders (default 1234)")
    p.add_argument("--output-dir", default="runs", metavar="DIR", help="where the record's folder goes (default runs)")
    p.add_argument("--no-cache", action="store_true", help="ask the model even where its answer is known")
    p.add_argument("--max-cost", type=float, metavar="USD", help="stop before more is spent on an API")
    add_data_use_arguments(p)
    p.add_argument(
        "--format",
        choices=("text", "json", "csv", "markdown"),
        default="text",
        help="of what is printed (default text)",
    )


def _memorised(a: argparse.Namespace) -> int:
    import sys

    from mibe.memorisation.memorised import memorised
    from mibe.memorisation.text import render
    from mibe.models import parse_model_args
    from mibe.terminal.progress import on_stderr

    tasks = tasks_of(a, a.tasks)
    assert tasks is not None
    with on_stderr() as progress:
        found = memorised(
            model=a.model,
            tasks=tasks,
            model_args=parse_model_args(a.model_args),
            reference=a.reference,
            reference_is_open=a.reference_is_open,
            limit=a.limit or None,
            split=a.split,
            seed=a.seed,
            output_dir=a.output_dir,
            use_cache=not a.no_cache,
            max_cost=a.max_cost,
            progress=progress,
            **data_use_of(a),
        )
    print(render(found, a.format))
    print(f"record: {found.path}", file=sys.stderr)
    return 0
