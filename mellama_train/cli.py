"""The command line: it runs one of `mellama_train.commands`.

Exit codes: 0 success; 2 bad usage, recipe, data or a run that could not go on; 75 stopped by a signal with a checkpoint
written (a scheduler may start it again); 130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import mibe
from mellama_train.commands import corpus, draws, instructions, plan, publish, training
from mellama_train.errors import StoppedError, TrainError
from mibe.errors import MibeError

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""

OF_EXTRA = ("accelerate", "datatrove", "peft", "safetensors", "tokenizers", "torch", "transformers", "yaml")
"""Packages that the base installation lacks and training wants (extra train)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line each, as do the several that one may tell of at once.

    In Python's development mode (`python -X dev -m mellama_train …`) their tracebacks follow, for authors of trainers.
    """
    arguments = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except (TrainError, MibeError) as error:
        for line in str(error).splitlines():
            print(f"mellama-train: {line}", file=sys.stderr)
        if sys.flags.dev_mode:
            traceback.print_exception(error)
        return TRY_AGAIN if isinstance(error, StoppedError) else 2
    except ModuleNotFoundError as error:
        if error.name not in OF_EXTRA:
            raise
        print(f'mellama-train: {error.name} is not installed: pip install "mibe[train]"', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmellama-train: interrupted; the same command goes on from the newest checkpoint", file=sys.stderr)
        return 130


def run(command: Callable[[], int] = main) -> None:
    """Run the command and end the process with its exit code, without taking Python apart.

    A thread of a process group that has not yet let go of its last tensor aborts a process that takes Python apart, and
    torchrun then counts a finished run as failed (seen with gloo, where DeepSpeed keeps the group). What other packages
    have registered for the end of the process runs before: of such functions the first registered is the last called.
    """
    codes: list[int] = []

    def end() -> None:
        if codes:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(codes[0])

    atexit.register(end)
    codes.append(command())
    sys.exit(codes[0])


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="mellama-train", description="Trains medical language models (Me-LLaMA).")
    top.add_argument("--version", action="version", version=f"mellama-train {mibe.__version__}")
    known = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for subject in (corpus, instructions, draws, training, publish, plan):
        subject.add_commands(known)
    return top


if __name__ == "__main__":
    run()
