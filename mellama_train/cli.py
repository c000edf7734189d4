"""The command line of mellama-train."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from mellama_train.corpus.commands import add_commands as add_corpus_commands
from mellama_train.errors import TrainError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line each."""
    arguments = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except TrainError as error:
        print(f"mellama-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmellama-train: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="mellama-train", description="Trains medical language models.")
    known = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_corpus_commands(known)
    return top


if __name__ == "__main__":
    sys.exit(main())
