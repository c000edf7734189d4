"""The command line: thin commands over the API. Results go to standard output, news and errors to standard error.

Exit codes: 0 success; 1 more failed samples than `--max-errors`; 2 bad usage, data or model; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import mibe
from mibe.errors import MibeError

FORMATS = ("text", "json", "csv", "markdown", "latex")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line each."""
    arguments = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except MibeError as error:
        print(f"mibe: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmibe: interrupted; every response so far is kept, the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output left (`mibe … | head`): nothing more to say, nor to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="mibe", description="Scores medical language models on the MIBE benchmark.")
    top.add_argument("--version", action="version", version=f"mibe {mibe.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _eval_parser(commands.add_parser("eval", help="score a model on tasks"))
    _tasks_parser(commands.add_parser("tasks", help="list the tasks, their data and licences"))
    _show_parser(commands.add_parser("show", help="show one prompt exactly as a model gets it"))
    _data_parser(commands.add_parser("data", help="list, prepare, verify or download data sets"))
    _score_parser(commands.add_parser("score", help="score text that was generated elsewhere"))
    _parse_parser(commands.add_parser("parse", help="print what a task's parser reads from outputs"))
    _rescore_parser(commands.add_parser("rescore", help="score a finished run again from its saved text"))
    return top


def _add_model_arguments(p: argparse.ArgumentParser, *, required: bool) -> None:
    p.add_argument("--model", required=required, metavar="NAME", help="hf, demo, dummy, … or the name of a plugin")
    p.add_argument("--model-args", default="", metavar="K=V,…", help="e.g. pretrained=PATH_OR_HUB_NAME,dtype=bfloat16")
    p.add_argument("--num-fewshot", type=int, default=0, metavar="N", help="worked examples in each prompt (default 0)")
    p.add_argument("--fewshot-per-document", action="store_true", help="choose the examples anew for each document")
    p.add_argument("--split", default="test", help="the split that is scored (default test)")
    p.add_argument("--seed", type=int, default=1234, help="of document choice, examples and intervals (default 1234)")
    p.add_argument(
        "--max-new-tokens", type=int, metavar="N", help="length limit of an answer (default: each task's own)"
    )


def _eval_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_eval)
    p.add_argument("--tasks", required=True, metavar="A,B", help="tasks and groups (mibe tasks lists them)")
    _add_model_arguments(p, required=True)
    p.add_argument("--limit", type=int, metavar="N", help="score N documents of each task, the same N for everyone")
    p.add_argument("--scoring", choices=("generate", "loglikelihood"), default="generate")
    p.add_argument("--output-dir", default="runs", metavar="DIR", help="where run folders go (default runs)")
    p.add_argument("--no-cache", action="store_true", help="ask the model even where an earlier run has its answer")
    p.add_argument(
        "--max-errors", type=int, default=0, metavar="N", help="exit with 1 above N failed samples (default 0)"
    )
    p.add_argument("--resamples", type=int, default=1000, metavar="N", help="bootstrap resamples (default 1000)")
    p.add_argument("--format", choices=FORMATS, default="text", help="of the result table (default text)")


def _tasks_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_tasks)
    p.add_argument("--format", choices=("text", "json"), default="text")


def _show_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_show)
    p.add_argument("task")
    p.add_argument("--index", type=int, default=0, metavar="I", help="position in the split, from 0")
    _add_model_arguments(p, required=False)


def _data_parser(p: argparse.ArgumentParser) -> None:
    actions = p.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what is here and how to get the rest")
    listing.set_defaults(command=_data_list)
    prepare = actions.add_parser("prepare", help="bring in a data set from its official download")
    prepare.set_defaults(command=_data_prepare)
    prepare.add_argument("name")
    prepare.add_argument("--from", dest="path", required=True, metavar="PATH", help="folder, archive or file")
    prepare.add_argument("--variant", metavar="NAME", help="another version or split of the data set")
    verify = actions.add_parser("verify", help="check prepared data against its manifest")
    verify.set_defaults(command=_data_verify)
    verify.add_argument("name", nargs="?")
    download = actions.add_parser("download", help="get a prepared test set from the Hugging Face hub")
    download.set_defaults(command=_data_download)
    download.add_argument("name")
    download.add_argument("--from", dest="path", metavar="PATH", help="a local copy of the hub repository")


def _score_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_score)
    p.add_argument("--task", required=True)
    p.add_argument("--outputs", required=True, metavar="FILE", help='JSON lines {"id": …, "output": …}')
    p.add_argument("--split", default="test")
    p.add_argument("--partial", action="store_true", help="score the documents that have an output, not all")
    p.add_argument("--resamples", type=int, default=1000, metavar="N")
    p.add_argument("--seed", type=int, default=1234)
    p.add_argument("--format", choices=FORMATS, default="text")


def _parse_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_parse)
    p.add_argument("--task", required=True)
    p.add_argument(
        "file", nargs="?", default="-", help='JSON lines {"output": …, "choices": […]} (default: standard input)'
    )


def _rescore_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_rescore)
    p.add_argument("run", metavar="RUN")
    p.add_argument("--format", choices=FORMATS, default="text")


def _eval(a: argparse.Namespace) -> int:
    from mibe.evaluation import evaluate
    from mibe.models import parse_model_args
    from mibe.progress import Terminal
    from mibe.results.table import render

    if a.max_errors < 0:
        raise mibe_usage(f"--max-errors {a.max_errors} is out of range; it is a number of samples, 0 or more")
    with Terminal() as progress:
        run = evaluate(
            model=a.model,
            tasks=a.tasks,
            model_args=parse_model_args(a.model_args),
            output_dir=a.output_dir,
            use_cache=not a.no_cache,
            progress=progress,
            limit=a.limit,
            num_fewshot=a.num_fewshot,
            split=a.split,
            scoring=a.scoring,
            seed=a.seed,
            max_new_tokens=a.max_new_tokens,
            fewshot_per_document=a.fewshot_per_document,
            resamples=a.resamples,
        )
    print(render(run.record["tasks"], a.format))
    return 1 if run.failed > a.max_errors else 0


def mibe_usage(message: str) -> MibeError:
    """A usage error found by the command line itself."""
    from mibe.errors import UsageError

    return UsageError(message)


def _tasks(a: argparse.Namespace) -> int:
    from mibe.listing import tasks_json, tasks_text

    print(tasks_json() if a.format == "json" else tasks_text())
    return 0


def _show(a: argparse.Namespace) -> int:
    from mibe.listing import show
    from mibe.models import parse_model_args

    print(
        show(
            a.task,
            a.index,
            model=a.model,
            model_args=parse_model_args(a.model_args),
            num_fewshot=a.num_fewshot,
            split=a.split,
            seed=a.seed,
            max_new_tokens=a.max_new_tokens,
            fewshot_per_document=a.fewshot_per_document,
        )
    )
    return 0


def _data_list(a: argparse.Namespace) -> int:
    from mibe.listing import data_text

    print(data_text())
    return 0


def _data_prepare(a: argparse.Namespace) -> int:
    from mibe.data.prepare import prepare
    from mibe.listing import manifest_text, task_of_data

    task = task_of_data(a.name)
    manifest = prepare(task.data_name, task.source, Path(a.path), variant=a.variant, access=task.access)
    print(manifest_text(task.data_name, manifest))
    return 0


def _data_verify(a: argparse.Namespace) -> int:
    from mibe.listing import verify_text

    text, sound = verify_text(a.name)
    print(text)
    return 0 if sound else 2


def _data_download(a: argparse.Namespace) -> int:
    from mibe.data.download import download
    from mibe.listing import manifest_text, task_of_data

    task = task_of_data(a.name)
    manifest = download(task, Path(a.path) if a.path else None)
    print(manifest_text(task.data_name, manifest))
    return 0


def _score(a: argparse.Namespace) -> int:
    from mibe.offline import score_outputs
    from mibe.registry import load_task
    from mibe.results.table import render

    task = load_task(a.task)
    scores = score_outputs(task, Path(a.outputs), split=a.split, partial=a.partial, resamples=a.resamples, seed=a.seed)
    print(render({task.name: scores}, a.format))
    return 0


def _parse(a: argparse.Namespace) -> int:
    import json

    from mibe.errors import DataError
    from mibe.offline import parse_outputs
    from mibe.registry import load_task

    task = load_task(a.task)
    try:
        source = sys.stdin if a.file == "-" else Path(a.file).open(encoding="utf-8-sig")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"cannot read {a.file}: {error.strerror}") from None
    with source:
        for line in parse_outputs(task, source, "standard input" if a.file == "-" else a.file):
            print(json.dumps(line, ensure_ascii=False), flush=True)
    return 0


def _rescore(a: argparse.Namespace) -> int:
    from mibe.offline import rescore
    from mibe.results.table import render

    run = rescore(a.run)
    print(f"the earlier record is kept in {run.path / run.record['earlier']}", file=sys.stderr)
    print(render(run.record["tasks"], a.format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
