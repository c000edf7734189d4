"""The command line: what can be asked for; `mellama_train.commands` does it.

Exit codes: 0 success; 2 bad usage, recipe, data or a run that could not go on; 75 stopped by a signal with a checkpoint
written (a scheduler may start it again); 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import mibe
from mellama_train.commands import training as commands
from mellama_train.commands.corpus import add_commands as add_corpus_commands
from mellama_train.commands.instructions import add_commands as add_instructions_commands
from mellama_train.commands.options import add_set, key_value
from mellama_train.errors import StoppedError, TrainError
from mellama_train.plan.memory import GPUS
from mibe.errors import MibeError

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line each."""
    arguments = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except (TrainError, MibeError) as error:
        print(f"mellama-train: {error}", file=sys.stderr)
        return TRY_AGAIN if isinstance(error, StoppedError) else 2
    except KeyboardInterrupt:
        print("\nmellama-train: interrupted; the same command goes on from the newest checkpoint", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="mellama-train", description="Trains medical language models (Me-LLaMA).")
    top.add_argument("--version", action="version", version=f"mellama-train {mibe.__version__}")
    known = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_corpus_commands(known)
    add_instructions_commands(known)
    _stage(known.add_parser("pretrain", help="continual pretraining on a corpus"), commands.run_pretrain)
    _stage(known.add_parser("instruct", help="instruction tuning, by LoRA or of all weights"), commands.run_instruct)
    _finetune(known.add_parser("finetune", help="fine-tuning on a task of mibe: its prompts, its train split"))
    _forgetting(known.add_parser("forgetting", help="mibe's suite `forgetting` on two models, with the differences"))
    _export(known.add_parser("export", help="write a trained model as one folder to use, adapters merged, with a card"))
    _plan(known.add_parser("plan", help="memory, time and cost of a recipe, before anything starts"))
    return top


def _stage(p: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]) -> None:
    p.set_defaults(command=command)
    p.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file; docs/training.md explains its keys")
    add_set(p)


def _finetune(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_finetune)
    p.add_argument("--task", help="a task of mibe that has a train split (`mibe tasks` lists them)")
    p.add_argument("--model", metavar="PATH", help="the model to start from: a folder, or a hub's name")
    p.add_argument("--output", metavar="DIR", help="folder of the run (default: runs/MODEL-TASK)")
    p.add_argument("--recipe", type=Path, help="a YAML file for all else; without it the paper's values")
    add_set(p)


def _forgetting(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_forgetting)
    p.add_argument("base", metavar="BASE", help="the model before training: a folder, or a hub's name")
    p.add_argument("tuned", metavar="TUNED", help="the model after it; an adapter folder of BASE will do")
    p.add_argument("--limit", type=int, metavar="N", help="documents of each task (default: all)")
    p.add_argument("--scoring", choices=("generate", "loglikelihood"), default="generate")
    p.add_argument("--output", type=Path, default=Path("runs"), metavar="DIR", help="where the run folders go")
    p.add_argument(
        "--model-args",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="an argument of mibe's model hf for both models, e.g. dtype=bfloat16; may be given several times",
    )
    p.add_argument("--format", choices=("text", "markdown", "json"), default="text")


def _export(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_export)
    p.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a run's output folder, its final/, or a checkpoint of it by any engine",
    )
    p.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to write; it must be new or empty")
    p.add_argument("--merge-lora", action="store_true", help="add LoRA adapters to the weights of their model")
    p.add_argument("--base", metavar="MODEL", help="the model that was trained, where it has moved since")
    p.add_argument("--precision", choices=("bf16", "fp16", "fp32"), help="of the weights written (default: the run's)")
    p.add_argument(
        "--mibe-run",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="a run folder of mibe whose scores go into the card; may be given again",
    )


def _plan(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=commands.run_plan)
    p.add_argument("recipe", type=Path, metavar="RECIPE")
    p.add_argument("--gpus", type=int, required=True, help="GPUs, or processes on CPUs, over all nodes")
    p.add_argument("--gpu", required=True, choices=list(GPUS), help="their kind")
    p.add_argument("--nodes", type=int, help="machines they are in (default: eight in each)")
    p.add_argument("--model", help="shape of the model: a name as llama2-70b, or a folder with a config.json")
    p.add_argument("--tokens", type=float, help="tokens of an epoch, padding included (default: as the data has)")
    p.add_argument("--samples", type=int, help="samples of an epoch, for tuning")
    p.add_argument("--sample-tokens", type=float, help="tokens of one sample (default: a whole row)")
    p.add_argument("--throughput", type=float, help="tokens a second of all GPUs, where it was measured")
    p.add_argument("--utilisation", type=float, help="share of the GPUs' peak that is reached, 0.45 for example")
    p.add_argument("--price", type=float, metavar="USD", help="of a GPU-hour")


if __name__ == "__main__":
    sys.exit(main())
