"""The commands `mellama-train forgetting | export`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mellama_train.commands.options import key_value
from mellama_train.commands.quiet import quieten


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    _add_forgetting(
        commands.add_parser("forgetting", help="mibe's suite `forgetting` on two models, with the differences")
    )
    _add_export(
        commands.add_parser("export", help="write a trained model as one folder to use, adapters merged, with a card")
    )


def _add_forgetting(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_forgetting)
    p.add_argument("base", metavar="BASE", help="the model before training: a folder, or a hub's name")
    p.add_argument("tuned", metavar="TUNED", help="the model after it; an adapter folder of BASE will do")
    p.add_argument("--limit", type=int, metavar="N", help="documents of each task (default: all)")
    p.add_argument(
        "--scoring",
        choices=("generate", "loglikelihood"),
        default="generate",
        help="as of mibe eval (default generate)",
    )
    p.add_argument("--output", type=Path, default=Path("runs"), metavar="DIR", help="where the run folders go")
    p.add_argument(
        "--model-args",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="an argument of mibe's model hf for both models, e.g. dtype=bfloat16; may be given several times",
    )
    p.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help="of what is printed (default text)"
    )


def _add_export(p: argparse.ArgumentParser) -> None:
    p.set_defaults(command=_export)
    p.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a run's output folder, its final/, or a checkpoint of it by any engine",
    )
    p.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to write; it must be new or empty")
    p.add_argument("--merge-lora", action="store_true", help="add LoRA adapters to the weights of their model")
    p.add_argument("--base", metavar="MODEL", help="the model that was trained, where it has moved since")
    p.add_argument("--precision", choices=("bf16", "fp16", "fp32"), help="of the weights written (default: the run's)")
    p.add_argument(
        "--mibe-run",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="a run folder of mibe whose scores go into the card; may be given again",
    )
    p.add_argument(
        "--push", metavar="OWNER/NAME", help="send the folder to this repository of the Hugging Face hub, too"
    )
    p.add_argument(
        "--permission",
        metavar="TEXT",
        help="what lets a model of data under an agreement, or of unknown access, go there; for the card",
    )


def _forgetting(a: argparse.Namespace) -> int:
    """What a model has forgotten of what its base model knew."""
    from mellama_train.publish.forgetting import measure, render

    found = measure(a.base, a.tuned, output=a.output, limit=a.limit, arguments=dict(a.model_args), scoring=a.scoring)
    print(render(found, a.format))
    return 0


def _export(a: argparse.Namespace) -> int:
    """A model folder to use, out of what training left."""
    quieten()
    from mellama_train.errors import ExportError
    from mellama_train.publish.inputs import check

    if a.permission and not a.push:
        raise ExportError("--permission is for what --push sends; give both or none")
    check(a.checkpoint, a.to, merge_lora=a.merge_lora, base=a.base, mibe_runs=a.mibe_run)
    from mellama_train.engines.ranks import Ranks
    from mellama_train.publish.export import export
    from mellama_train.publish.push import Destination

    ranks = Ranks.join()
    try:
        done = export(
            a.checkpoint,
            a.to,
            ranks=ranks,
            merge_lora=a.merge_lora,
            base=a.base,
            precision=a.precision,
            mibe_runs=a.mibe_run,
            push=Destination(a.push, a.permission) if a.push else None,
        )
    finally:
        ranks.leave()
    for line in done.notes:
        print(line, file=sys.stderr)
    print(done.folder)
    if done.address:
        print(done.address)
    return 0
