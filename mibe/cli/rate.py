"""The commands `mibe rate` and `mibe ratings`."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from mibe.cli.options import Commands
from mibe.errors import RunError, UsageError

LONGEST_NAME = 60


def add_commands(commands: Commands) -> None:
    """Add both to the command line."""
    rate = commands.add_parser("rate", help="open a page on which clinicians rate the diagnoses of runs, blinded")
    rate.set_defaults(command=_rate)
    rate.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or folders of runs; their cases are mixed")
    rate.add_argument(
        "--rater",
        action="append",
        default=[],
        metavar="NAME",
        help="who rates; give it again for each further rater (default: the name of your account)",
    )
    rate.add_argument("--seed", type=int, default=1234, help="of the order of cases (default 1234)")
    rate.add_argument("--host", default="127.0.0.1", metavar="IP", help="address to listen at (default 127.0.0.1)")
    rate.add_argument("--port", type=int, default=0, metavar="N", help="port to listen at (default: a free one)")
    rate.add_argument("--allow-network", action="store_true", help="let --host be one that other machines can reach")
    ratings = commands.add_parser("ratings", help="show and export what raters said")
    actions = ratings.add_subparsers(title="actions", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="figures by rater, and how raters and judge agree")
    show.set_defaults(command=_show)
    show.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or folders of runs")
    show.add_argument(
        "--format",
        choices=("text", "json", "csv", "markdown"),
        default="text",
        help="of what is printed (default text)",
    )
    export = actions.add_parser("export", help="one rater's marks as JSON lines for mibe agreement")
    export.set_defaults(command=_export)
    export.add_argument("run", metavar="RUN", help="a run folder, or a folder with one run")
    export.add_argument("--rater", required=True, metavar="NAME", help="whose marks")
    export.add_argument("--task", metavar="NAME", help="where a run has ratings of several tasks")
    export.add_argument("--output", metavar="FILE", help="file to write (default: standard output)")


def _rate(a: argparse.Namespace) -> int:
    raters = rater_names(a.rater or [_account()])
    try:
        from mibe.rating.server import serve
    except ModuleNotFoundError as error:
        raise UsageError(f'the rating page needs {error.name}: pip install "mibe[rate]"') from None
    try:
        serve(
            a.runs,
            raters=raters,
            seed=a.seed,
            host=a.host,
            port=a.port,
            allow_network=a.allow_network,
            announce=_announce,
        )
    except KeyboardInterrupt:
        print("\nmibe: stopped; every rating is kept, the same command goes on from here", file=sys.stderr)
    return 0


def _announce(rater: str, address: str) -> None:
    print(f"{rater}: {address}", flush=True)
    print("  works once, for one browser; Ctrl-C stops the page, starting it again gives a new one", file=sys.stderr)


def rater_names(names: list[str]) -> list[str]:
    """Names as they are kept: stripped, each once. Raises `UsageError` for one that cannot be a name."""
    found = list(dict.fromkeys(name.strip() for name in names))
    for name in found:
        if not name or not name.isprintable() or ":" in name or len(name) > LONGEST_NAME:
            raise UsageError(f"--rater {name!r}: a name has 1 to {LONGEST_NAME} printable characters and no colon")
    return found


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise UsageError("this account has no name; say who rates with --rater NAME") from None


def _show(a: argparse.Namespace) -> int:
    from mibe.rating.cases import rated_runs
    from mibe.rating.summary import render

    runs, left_out = rated_runs(a.runs)
    for line in left_out:
        print(line, file=sys.stderr)
    print(render(runs, a.format))
    return 0


def _export(a: argparse.Namespace) -> int:
    from mibe.rating.summary import export_lines
    from mibe.results.finding import one_run
    from mibe.results.run import load_run

    text = "".join(f"{line}\n" for line in export_lines(load_run(one_run(a.run)), a.rater, a.task))
    if a.output is None:
        sys.stdout.write(text)
        return 0
    try:
        Path(a.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {a.output}: {error.strerror}") from None
    return 0
