"""Which options stood on the command line, told from those that have their default."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def note_given(p: argparse.ArgumentParser) -> None:
    """Have what `p` parses say so. To be called before options are added: they are then of the two kinds below."""
    for name in (None, "store"):
        p.register("action", name, _Store)
    p.register("action", "store_true", _Flag)


def given(a: argparse.Namespace) -> frozenset[str]:
    """The names (`dest`) of the options that the command line had, at whatever value."""
    return frozenset(getattr(a, "options_given", ()))


class _Store(argparse.Action):
    """Keeps a value, and that it was given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        _keep(self, namespace, values)


class _Flag(argparse.Action):
    """Keeps that an option without a value was given."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        _keep(self, namespace, True)


def _keep(action: argparse.Action, namespace: argparse.Namespace, value: object) -> None:
    setattr(namespace, action.dest, value)
    # A new set, for argparse hands the attributes of one namespace on to another.
    namespace.options_given = given(namespace) | ({action.dest} if action.option_strings else set())
