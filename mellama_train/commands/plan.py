"""The command `mellama-train plan`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mellama_train.commands.options import add_set
from mellama_train.plan.gpus import GPUS


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    p = commands.add_parser("plan", help="memory, time and cost of a recipe, before anything starts")
    p.set_defaults(command=_plan)
    p.add_argument("recipe", type=Path, metavar="RECIPE", help="the YAML file of the run that is planned")
    p.add_argument(
        "--trainer", metavar="NAME", help="whose recipe it is (default: as its key trainer or its data tell)"
    )
    p.add_argument("--gpus", type=int, required=True, help="GPUs, or processes on CPUs, over all nodes")
    p.add_argument("--gpu", required=True, choices=list(GPUS), help="their kind")
    p.add_argument("--nodes", type=int, help="machines they are in (default: eight in each)")
    p.add_argument("--model", help="shape of the model: a name as llama2-70b, or a folder with a config.json")
    p.add_argument("--tokens", type=float, help="tokens of an epoch, padding included (default: as the data has)")
    p.add_argument("--samples", type=int, help="samples of an epoch, for tuning")
    p.add_argument("--sample-tokens", type=float, help="tokens of one sample (default: a whole row)")
    p.add_argument("--throughput", type=float, help="tokens a second of all GPUs, where it was measured")
    p.add_argument("--utilisation", type=float, help="share of the GPUs' peak that the model's own operations reach")
    p.add_argument(
        "--interconnect", type=float, metavar="GB/S", help="of a machine to the others (default: its kind's)"
    )
    p.add_argument("--storage", type=float, metavar="GB/S", help="of the disk for checkpoints (default: 5)")
    p.add_argument("--price", type=float, metavar="USD", help="of a GPU-hour")
    add_set(p)


def _plan(a: argparse.Namespace) -> int:
    """Print the plan; exit code 2 where the run does not fit."""
    from mellama_train.plan.work import Asked
    from mellama_train.trainers.reading import plan

    given = {name: value for name, value in vars(a).items() if name not in ("command", "recipe", "set", "trainer")}
    made = plan(a.recipe, Asked(**given), a.set, a.trainer)
    print(made.text)
    return 0 if made.fits else 2
