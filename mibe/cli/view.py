"""The command `mibe view`."""

from __future__ import annotations

import argparse
import sys

from mibe.cli.options import Commands
from mibe.errors import UsageError


def add_commands(commands: Commands) -> None:
    """Add it to the command line."""
    view = commands.add_parser("view", help="show all runs in a browser: live progress, leaderboard, reports")
    view.set_defaults(command=_view)
    view.add_argument("runs", nargs="*", default=["runs"], metavar="DIR", help="folders that hold runs (default runs)")
    view.add_argument("--port", type=int, default=0, metavar="N", help="port to listen at (default: a free one)")


def _view(a: argparse.Namespace) -> int:
    try:
        from mibe.view.server import serve
    except ModuleNotFoundError as error:
        raise UsageError(f'the view of runs needs {error.name}: pip install "mibe[view]"') from None
    try:
        serve(a.runs, port=a.port, announce=_announce)
    except KeyboardInterrupt:
        print("\nmibe: stopped", file=sys.stderr)
    return 0


def _announce(address: str) -> None:
    print(address, flush=True)
    print("  works once, for one browser on this machine; Ctrl-C ends it", file=sys.stderr)
