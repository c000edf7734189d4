"""The command line: what can be asked for; `mibe.commands` does it.

Results go to standard output, news and errors to standard error.

Exit codes: 0 success; 1 more failed samples than `--max-errors`, or stopped by a limit on cost or quota; 2 bad usage,
data or model; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

import mibe
from mibe import commands
from mibe.errors import LimitReached, MibeError
from mibe.harness.commands import add_commands
from mibe.leaderboard.commands import add_commands as add_result_commands
from mibe.rating.commands import add_commands as add_rating_commands
from mibe.report.commands import add_commands as add_report_command

FORMATS = ("text", "json", "csv", "markdown", "latex")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line each."""
    arguments = parser().parse_args(argv)
    return exit_code(partial(arguments.command, arguments))


def exit_code(command: Callable[[], int], program: str = "mibe") -> int:
    """The exit code of a command; its errors become one line each on standard error."""
    try:
        code = command()
        # Here, not at the interpreter's exit, where a reader that has left could no longer be heard of.
        sys.stdout.flush()
        return code
    except MibeError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1 if isinstance(error, LimitReached) else 2
    except KeyboardInterrupt:
        kept = "every response so far is kept, the same command goes on from here"
        print(f"\n{program}: interrupted; {kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output left (`mibe … | head`): nothing more to say, nor to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="mibe", description="Scores medical language models on the MIBE benchmark.")
    top.add_argument("--version", action="version", version=f"mibe {mibe.__version__}")
    known = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _eval_parser(known.add_parser("eval", help="score a model on tasks"))
    _plan_parser(known.add_parser("plan", help="say what a run will take: tokens, GPU hours, memory, disk"))
    _tasks_parser(known.add_parser("tasks", help="list the tasks, their data and licences"))
    _show_parser(known.add_parser("show", help="show one prompt exactly as a model gets it"))
    _data_parser(known.add_parser("data", help="list, prepare, verify or download data sets"))
    _score_parser(known.add_parser("score", help="score text that was generated elsewhere"))
    _parse_parser(known.add_parser("parse", help="print what a task's parser reads from outputs"))
    _rescore_parser(known.add_parser("rescore", help="score a finished run again from its saved text"))
    _merge_parser(known.add_parser("merge", help="put the shards of a run together"))
    _compare_parser(known.add_parser("compare", help="compare two runs on the samples that both have scored"))
    _agreement_parser(known.add_parser("agreement", help="compare the ratings of a judge and a person"))
    add_result_commands(known)
    add_rating_commands(known)
    add_report_command(known)
    add_commands(known)
    return top


def _add_model_arguments(p: argparse.ArgumentParser, *, required: bool) -> None:
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
    _add_protocol_argument(p)
    _add_data_use_arguments(p)


def _add_protocol_argument(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--protocol",
        default="default",
        metavar="NAME",
        help="default, or paper: prompts, parsers and metrics bug for bug as the released code had them",
    )


def _add_data_use_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--allow-egress", default="", metavar="A,B", help="credentialed tasks whose text a remote model may get"
    )
    p.add_argument("--agreement", metavar="TEXT", help="the agreement that permits --allow-egress, for the record")


def _add_scoring_arguments(p: argparse.ArgumentParser) -> None:
    _add_bertscore_argument(p)
    p.add_argument(
        "--judge", metavar="NAME", help="who says that a diagnosis is right: exact, or a model such as openai:gpt-4o"
    )


def _add_bertscore_argument(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--bertscore",
        metavar="MODEL[:LAYER]",
        help="also compare summaries by BERTScore with this encoder, a hub name or a folder",
    )


def _eval_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_eval)
    which = p.add_mutually_exclusive_group(required=True)
    which.add_argument("--tasks", metavar="A,B", help="tasks and groups (mibe tasks lists them)")
    which.add_argument("--suite", metavar="NAME", help="a setting of the paper: tasks and their worked examples")
    _add_model_arguments(p, required=True)
    _add_scoring_arguments(p)
    p.add_argument(
        "--skip-missing", action="store_true", help="leave out tasks whose data is not here; the table says so"
    )
    p.add_argument("--limit", type=int, metavar="N", help="score N documents of each task, the same N for everyone")
    p.add_argument("--shard", metavar="I/N", help="score the I-th of N parts of the documents (then: mibe merge)")
    p.add_argument("--scoring", choices=("generate", "loglikelihood"), default="generate")
    p.add_argument("--output-dir", default="runs", metavar="DIR", help="where run folders go (default runs)")
    p.add_argument("--no-cache", action="store_true", help="ask the model even where an earlier run has its answer")
    p.add_argument(
        "--max-errors", type=int, default=0, metavar="N", help="exit with 1 above N failed samples (default 0)"
    )
    p.add_argument("--resamples", type=int, default=1000, metavar="N", help="bootstrap resamples (default 1000)")
    p.add_argument("--format", choices=FORMATS, default="text", help="of the result table (default text)")
    _add_service_arguments(p)


def _add_service_arguments(p: argparse.ArgumentParser) -> None:
    api = p.add_argument_group("models behind an API (docs/api-models.md)")
    api.add_argument("--estimate", action="store_true", help="print prompts, tokens and cost; send nothing")
    api.add_argument("--max-cost", type=float, metavar="USD", help="stop before the run, judge included, costs more")
    api.add_argument("--batch-api", action="store_true", help="send prompts as Batch jobs: slower, at half the price")
    api.add_argument(
        "--trusted-endpoint", action="store_true", help="the server is ours: treat it as local, credentialed text too"
    )


def _plan_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_plan)
    which = p.add_mutually_exclusive_group(required=True)
    which.add_argument("--tasks", metavar="A,B", help="tasks and groups (mibe tasks lists them)")
    which.add_argument("--suite", metavar="NAME", help="a setting of the paper: tasks and their worked examples")
    _add_model_arguments(p, required=False)
    p.add_argument("--limit", type=int, metavar="N", help="N documents of each task (default all)")
    rate = p.add_argument_group("throughput of one copy of the model, in tokens a second over all its requests")
    rate.add_argument("--throughput", type=float, metavar="T", help="of tokens read and written alike")
    rate.add_argument("--prefill-throughput", type=float, metavar="T", help="of prompt tokens read")
    rate.add_argument("--decode-throughput", type=float, metavar="T", help="of tokens written")
    rate.add_argument(
        "--probe", type=int, nargs="?", const=24, metavar="N", help="time --model on N documents of each task (24)"
    )
    p.add_argument(
        "--output-share", type=float, default=0.5, metavar="S", help="mean answer by its limit (default 0.5)"
    )
    p.add_argument(
        "--characters-per-token", type=float, default=4.0, metavar="C", help="where no tokenizer is named (default 4)"
    )
    p.add_argument("--model-shape", metavar="SHAPE", help="llama2-70b, …, a model folder, or params=70e9,layers=80,…")
    p.add_argument("--dtype", default="bfloat16", help="of weights and cache: bfloat16 (default), fp8, int4, …")
    p.add_argument("--gpus", type=int, default=1, metavar="N", help="GPUs in all (default 1)")
    p.add_argument("--gpu-memory", type=float, default=80, metavar="GIB", help="of one GPU (default 80)")
    p.add_argument(
        "--gpus-per-copy", type=int, metavar="K", help="of one copy of the model (default: as its weights need)"
    )
    p.add_argument("--format", choices=("text", "markdown", "json"), default="text")


def _tasks_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_tasks)
    p.add_argument("--format", choices=("text", "json"), default="text")


def _show_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_show)
    p.add_argument("task")
    p.add_argument("--index", type=int, default=0, metavar="I", help="position in the split, from 0")
    _add_model_arguments(p, required=False)


def _data_parser(p: argparse.ArgumentParser) -> None:
    actions = p.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what is here and how to get the rest")
    listing.set_defaults(command=commands.run_data_list)
    prepare = actions.add_parser("prepare", help="bring in a data set from its official download")
    prepare.set_defaults(command=commands.run_data_prepare)
    prepare.add_argument("name")
    prepare.add_argument("--from", dest="path", required=True, metavar="PATH", help="folder, archive or file")
    prepare.add_argument("--variant", metavar="NAME", help="another version or split of the data set")
    verify = actions.add_parser("verify", help="check prepared data against its manifest")
    verify.set_defaults(command=commands.run_data_verify)
    verify.add_argument("name", nargs="?")
    download = actions.add_parser("download", help="get a prepared test set from the Hugging Face hub")
    download.set_defaults(command=commands.run_data_download)
    download.add_argument("name")
    download.add_argument("--from", dest="path", metavar="PATH", help="a local copy of the hub repository")


def _score_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_score)
    p.add_argument("--task", required=True)
    p.add_argument("--outputs", required=True, metavar="FILE", help='JSON lines {"id": …, "output": …}')
    p.add_argument("--split", default="test")
    p.add_argument("--partial", action="store_true", help="score the documents that have an output, not all")
    _add_protocol_argument(p)
    _add_scoring_arguments(p)
    _add_data_use_arguments(p)
    p.add_argument("--resamples", type=int, default=1000, metavar="N")
    p.add_argument("--seed", type=int, default=1234)
    p.add_argument("--format", choices=FORMATS, default="text")


def _parse_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_parse)
    p.add_argument("--task", required=True)
    _add_protocol_argument(p)
    p.add_argument(
        "file", nargs="?", default="-", help='JSON lines {"output": …, "choices": […]} (default: standard input)'
    )


def _rescore_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_rescore)
    p.add_argument("run", metavar="RUN")
    _add_bertscore_argument(p)
    p.add_argument("--format", choices=FORMATS, default="text")


def _merge_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_merge)
    p.add_argument("runs", nargs="+", metavar="RUN", help="the run folder of each shard")
    p.add_argument("--output-dir", default="runs", metavar="DIR", help="where the merged run goes (default runs)")
    p.add_argument("--partial", action="store_true", help="merge even where shards are missing or samples failed")
    p.add_argument("--format", choices=FORMATS, default="text")


def _compare_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_compare)
    p.add_argument("run_a", metavar="RUN_A")
    p.add_argument("run_b", metavar="RUN_B")
    p.add_argument("--list", metavar="TASK", help="print the samples of a task on which the runs differ")
    p.add_argument("--force", action="store_true", help="compare even where data, prompts or protocol differ")
    _add_interval_arguments(p)
    p.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")


def _agreement_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_agreement)
    p.add_argument(
        "file_a",
        metavar="FILE_A",
        help='JSON lines {"id": …, "rank": 1, "match": true} (rank is optional), the sample log of a judged run, or '
        "ratings of people as DATABASE or DATABASE:RATER",
    )
    p.add_argument("file_b", metavar="FILE_B")
    _add_interval_arguments(p)
    p.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")


def _add_interval_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--resamples", type=int, default=1000, metavar="N", help="bootstrap resamples (default 1000)")
    p.add_argument("--seed", type=int, default=1234, help="of the intervals (default 1234)")


if __name__ == "__main__":
    sys.exit(main())
