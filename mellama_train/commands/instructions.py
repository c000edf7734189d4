"""The commands `mellama-train instructions build | show | sources`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mellama_train.commands.options import add_set


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    instructions = commands.add_parser("instructions", help="build and show the set for instruction tuning")
    actions = instructions.add_subparsers(title="actions", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="read, draw and clean the sources of a YAML file into train.jsonl")
    build.set_defaults(command=_build)
    build.add_argument("recipe", type=Path, metavar="INSTRUCTIONS.YAML", help="its sources (docs/instructions.md)")
    build.add_argument("--force", action="store_true", help="replace a finished set of another recipe")
    add_set(build)
    _add_format(build)
    show = actions.add_parser("show", help="print what was kept of each source, beside the paper's numbers")
    show.set_defaults(command=_show)
    show.add_argument("folder", type=Path, help="a built instruction set")
    _add_format(show)
    sources = actions.add_parser("sources", help="list the sources: size in the paper, access, and where to get them")
    sources.set_defaults(command=_sources)


def _add_format(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help="of what is printed (default text)"
    )


def _build(a: argparse.Namespace) -> int:
    from mellama_train.instructions.build import build, problems
    from mellama_train.instructions.config import InstructionsConfig
    from mellama_train.recipe.yaml_schema import read

    found = read(a.recipe, InstructionsConfig, a.set)
    found.refuse(problems(found.value))
    _print(build(found.value, force=a.force), a.format)
    return 0


def _show(a: argparse.Namespace) -> int:
    from mellama_train.instructions.build import read_manifest

    _print(read_manifest(a.folder), a.format)
    return 0


def _print(manifest: dict[str, object], form: str) -> None:
    import json

    from mellama_train.instructions.summary import table

    print(
        json.dumps(manifest, ensure_ascii=False, indent=1)
        if form == "json"
        else table(manifest, "markdown" if form == "markdown" else "text")
    )


def _sources(a: argparse.Namespace) -> int:
    from tabulate import tabulate

    from mellama_train.instructions.sources import SOURCES

    lines = [(s.name, s.row.title, s.row.size, str(s.access.level), s.licence, s.home) for s in SOURCES.values()]
    print(tabulate(lines, ("name", "row of the paper", "size", "access", "licence", "where to get it"), intfmt=","))
    return 0
