"""`mibe pairs`: fairness from a file of answers with one column a version of each question."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mibe.cli.options import Commands, add_data_use_arguments, add_interval_arguments
from mibe.cli.own import ACCESS
from mibe.errors import UsageError

if TYPE_CHECKING:
    from mibe.data.pairs import PairFile
    from mibe.data_use import Egress


def add_commands(commands: Commands) -> None:
    """Add `pairs`."""
    p = commands.add_parser("pairs", help="how often answers differ by who the patient is, from a file of answers")
    p.set_defaults(command=_pairs)
    p.add_argument("file", metavar="FILE", help="JSON lines or CSV, one row a question, one column a version of it")
    p.add_argument(
        "--pair",
        action="append",
        default=[],
        metavar="ATTRIBUTE=COLUMN:COLUMN",
        help="the columns of an attribute's values (default: as AMQA calls them); give it again for each attribute",
    )
    p.add_argument("--target", metavar="COLUMN", help="the column of the right answer (default: answer_idx, …)")
    p.add_argument("--model", metavar="NAME", help="the file holds questions: ask this model, and write --answers")
    p.add_argument("--model-args", default="", metavar="K=V,…", help="e.g. pretrained=PATH_OR_HUB_NAME")
    p.add_argument("--answers", metavar="FILE", help="where the model's answers go, JSON lines in the same form")
    p.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="of an answer in free text")
    p.add_argument(
        "--judge", metavar="NAME", help="a model that says whether two answers give the same advice, for free text"
    )
    p.add_argument(
        "--access",
        choices=ACCESS,
        default="credentialed",
        help="credentialed (default): text stays on this machine",
    )
    add_data_use_arguments(p)
    add_interval_arguments(p)
    p.add_argument(
        "--format",
        choices=("text", "json", "csv", "markdown"),
        default="text",
        help="of what is printed (default text)",
    )


def _answered(a: argparse.Namespace, file: PairFile) -> tuple[PairFile, Egress | None]:
    """The file with the answers of the model, and what left this machine."""
    from mibe.analysis.pairs_asked import ask_pairs
    from mibe.data.pairs import read_pairs
    from mibe.models import load_model, parse_model_args

    if a.answers is None:
        raise UsageError("--model writes its answers to a file; name it by --answers FILE")
    if a.max_new_tokens < 1:
        raise UsageError(f"--max-new-tokens {a.max_new_tokens} is out of range; at least 1")
    with closing(load_model(a.model, parse_model_args(a.model_args))) as model:
        leaving = ask_pairs(file, model, Path(a.answers), max_new_tokens=a.max_new_tokens, **_data_use(a))
    columns = [f"{name}={':'.join(own.values())}" for name, own in file.columns.items()]
    answers = read_pairs(Path(a.answers), a.pair or columns, target=file.target, access=file.access)
    return replace(answers, name=file.name), leaving


def _data_use(a: argparse.Namespace) -> dict[str, Any]:
    """The file whose text may leave, by its name without its ending, and the agreement that permits it."""
    allowed = tuple(name.strip() for name in a.allow_egress.split(",") if name.strip())
    return {"allow_egress": allowed, "agreement": a.agreement}


def _pairs(a: argparse.Namespace) -> int:
    from mibe.analysis.pairs import pair_figures
    from mibe.analysis.pairs_text import render
    from mibe.data.pairs import read_pairs
    from mibe.task import AccessLevel

    file = read_pairs(Path(a.file), a.pair, target=a.target, access=AccessLevel(a.access))
    leaving = None
    if a.model is not None:
        file, leaving = _answered(a, file)
    found = pair_figures(file, judge=a.judge, resamples=a.resamples, seed=a.seed, **_data_use(a))
    if leaving is not None:
        found = replace(found, egress=(leaving, *found.egress))
    print(render(found, a.format))
    return 0
