"""`mibe verify`: the figures of a run by packages that are not ours."""

from __future__ import annotations

import argparse

from mibe.cli.options import Commands


def add_commands(commands: Commands) -> None:
    """Add `verify`."""
    _verify_parser(commands.add_parser("verify", help="compute the figures of a run again by other packages"))


def _verify_parser(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_verify)
    p.add_argument("run", metavar="RUN")
    p.add_argument("--format", choices=("text", "json"), default="text")


def _verify(a: argparse.Namespace) -> int:
    """Compute the figures of a run again; 2 where one differs."""
    from mibe.analysis.text import render_verification
    from mibe.analysis.verify import verify

    found = verify(a.run)
    print(render_verification(found, a.format))
    return 2 if found.failed else 0
