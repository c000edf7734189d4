"""The commands `mellama-train pairs | traces`: training data made of a task's own samples."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mellama_train.commands.options import key_value
from mellama_train.commands.quiet import quieten

if TYPE_CHECKING:
    from mellama_train.draws.making import Made
    from mellama_train.model.provenance import Lineage


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    _add_pairs(commands.add_parser("pairs", help="make preference pairs of a run's right and wrong draws"))
    _add_traces(commands.add_parser("traces", help="draw answers on a train split and keep those that are right"))


def _add_pairs(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_pairs)
    p.add_argument("run", type=Path, metavar="RUN", help="a run of mibe over a train split, with --repeats")
    p.add_argument("--task", metavar="NAME", help="the task whose draws are paired (default: the run's only one)")
    p.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSON lines to write")
    _add_right(p)
    p.add_argument("--wrong", type=float, default=0.0, metavar="SCORE", help="a draw is wrong up to this (default 0)")
    p.add_argument("--per-document", type=int, default=1, metavar="N", help="pairs of a document at most (default 1)")
    p.add_argument(
        "--match-length",
        type=float,
        metavar="SHARE",
        help="the longer text of a pair has at most this share of characters more, e.g. 0.2; the nearest come first",
    )
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice among draws (default 0)")
    p.add_argument("--model", metavar="FOLDER", help="the model that was asked, for its training.json")


def _add_traces(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_traces)
    p.add_argument("--task", required=True, metavar="NAME", help="a task of mibe that has a train split")
    p.add_argument("--model", required=True, metavar="M", help="a folder, a hub's name, or a model of mibe (vllm, …)")
    p.add_argument(
        "--model-args",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="an argument of the model, e.g. dtype=bfloat16; may be given several times",
    )
    p.add_argument("--repeats", type=int, default=8, metavar="K", help="draws of each document (default 8)")
    p.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSON lines to write")
    _add_right(p)
    p.add_argument("--per-document", type=int, metavar="N", help="traces of a document (default: all that differ)")
    p.add_argument("--limit", type=int, metavar="N", help="documents that are asked (default: the whole train split)")
    p.add_argument("--temperature", type=float, default=1.0, metavar="T", help="of the draws, above 0 (default 1)")
    p.add_argument("--top-p", type=float, metavar="P", help="of the likeliest tokens that make up this share")
    p.add_argument(
        "--prompt-style",
        choices=("direct", "cot"),
        default="direct",
        help="cot: one sentence asks for a chain of thought, for models that reason only when asked to",
    )
    p.add_argument("--max-new-tokens", type=int, metavar="N", help="room for an answer (default: the task's own)")
    p.add_argument("--thinking-budget", type=int, metavar="N", help="room for reasoning (default as mibe eval)")
    p.add_argument("--seed", type=int, default=1234, metavar="N", help="of the draws (default 1234)")
    p.add_argument("--output-dir", type=Path, default=Path("runs"), metavar="DIR", help="of the run (default runs)")
    p.add_argument(
        "--allow-egress",
        action="store_true",
        help="a remote model may have credentialed text (with --agreement)",
    )
    p.add_argument("--agreement", metavar="TEXT", help="the agreement that permits it")


def _add_right(p: argparse.ArgumentParser) -> None:
    p.add_argument("--right", type=float, default=1.0, metavar="SCORE", help="a draw is right from this on (default 1)")


def _pairs(a: argparse.Namespace) -> int:
    """Pairs of draws of a run."""
    import mibe
    from mellama_train.draws.drawing import check_model
    from mellama_train.draws.making import make_pairs
    from mellama_train.draws.pairs import PairChoice
    from mellama_train.errors import DataError

    choice = PairChoice(right=a.right, wrong=a.wrong, most=a.per_document, length=a.match_length, seed=a.seed)
    _check_file(a.output)
    run = mibe.load_run(a.run)
    tasks = list(run.record["tasks"])
    if a.task is None and len(tasks) != 1:
        raise DataError(f"{a.run} has {len(tasks)} tasks; say of which by --task ({', '.join(tasks)})")
    if a.model is not None:
        check_model(run, a.model)
    elif run.record["model"].get("identity"):
        print("what the model itself learned is not looked up; --model FOLDER takes its training.json", file=sys.stderr)
    return _say(make_pairs(run, a.task or tasks[0], a.output, choice, _lineage(a.model)))


def _traces(a: argparse.Namespace) -> int:
    """Right draws of a model on a train split."""
    quieten()
    from mellama_train.corpus.writing import private_files
    from mellama_train.draws.drawing import draw, model_of
    from mellama_train.draws.files import is_private
    from mellama_train.draws.making import make_traces
    from mellama_train.draws.traces import TraceChoice
    from mellama_train.errors import DataError
    from mellama_train.trainers.inputs import open_task

    choice = TraceChoice(right=a.right, most=a.per_document)
    if not a.temperature > 0:
        raise DataError(f"--temperature {a.temperature:g}: draws of greedy text are all the same; give one above 0")
    _check_file(a.output)
    task = open_task(a.task)
    _, known = model_of(a.model, dict(a.model_args))
    settings = {
        "limit": a.limit,
        "temperature": a.temperature,
        "top_p": a.top_p,
        "prompt_style": a.prompt_style,
        "max_new_tokens": a.max_new_tokens,
        "thinking_budget": a.thinking_budget,
        "seed": a.seed,
    }
    found = _lineage(known.get("peft") or known.get("pretrained"))
    # The run holds the answers too.
    with private_files(is_private(task, found)):
        run = draw(
            a.task,
            a.model,
            dict(a.model_args),
            repeats=a.repeats,
            output_dir=a.output_dir,
            allow_egress=(task.name,) if a.allow_egress else (),
            agreement=a.agreement,
            **settings,
        )
    return _say(make_traces(run, a.task, a.output, choice, found))


def _check_file(file: Path) -> None:
    from mellama_train.draws.files import problem_of_file
    from mellama_train.errors import DataError

    if problem := problem_of_file(file):
        raise DataError(problem)


def _lineage(model: str | None) -> Lineage | None:
    """What is known of the training of the model that answered."""
    from mellama_train.model.provenance import lineage

    return None if model is None else lineage(model)


def _say(made: Made) -> int:
    for line in made.said:
        print(line, file=sys.stderr)
    print(made.file)
    return 0
