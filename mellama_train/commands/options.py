"""The options of more than one command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mellama_train.recipe.yaml_schema import Change


def add_set(p: argparse.ArgumentParser) -> None:
    """`--set KEY=VALUE`, as often as wanted: a list of `Change` in the attribute `set`."""
    p.add_argument(
        "--set",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="put a value over the file's, e.g. optimizer.learning_rate=1e-5; may be given several times",
    )


def key_value(text: str) -> Change:
    """The two sides of KEY=VALUE. Raises `argparse.ArgumentTypeError` for anything else."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value
