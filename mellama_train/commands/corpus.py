"""The commands `mellama-train corpus build | show | verify | import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mellama_train.commands.options import add_set
from mellama_train.recipe.defaults import CONTEXT


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    corpus = commands.add_parser("corpus", help="build, show and check a pretraining corpus")
    actions = corpus.add_subparsers(title="actions", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="clean, decontaminate, tokenise and pack the sources of a YAML file")
    build.set_defaults(command=_build)
    build.add_argument("recipe", type=Path, metavar="CORPUS.YAML", help="its sources and mixture (docs/corpus.md)")
    build.add_argument("--force", action="store_true", help="replace a finished corpus of another recipe")
    add_set(build)
    show = actions.add_parser("show", help="print what a corpus holds and how often each source is passed")
    show.set_defaults(command=_show)
    show.add_argument("folder", type=Path, help="a built corpus")
    show.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed (default text)")
    verify = actions.add_parser("verify", help="hash every shard again and compare with the manifest")
    verify.set_defaults(command=_verify)
    verify.add_argument("folder", type=Path, help="a built corpus")
    verify.add_argument("--tokenizer", type=Path, metavar="DIR", help="also check that the shards are of this model")
    bring = actions.add_parser("import", help="make a corpus of token files that datatrove wrote (.ds)")
    bring.set_defaults(command=_import)
    bring.add_argument("folder", type=Path, help="holds *.ds with *.ds.index")
    bring.add_argument("--source", required=True, metavar="NAME", help="what the tokens' source is called")
    bring.add_argument("--tokenizer", type=Path, required=True, metavar="DIR", help="the model folder they are of")
    bring.add_argument(
        "--access", required=True, choices=("open", "non-commercial", "credentialed"), help="terms of the text"
    )
    bring.add_argument("--length", type=int, default=CONTEXT, metavar="N", help="tokens a row (default %(default)s)")
    bring.add_argument("--to", type=Path, required=True, metavar="DIR", help="the corpus folder to write")


def _build(a: argparse.Namespace) -> int:
    from mellama_train.corpus.config import CorpusConfig
    from mellama_train.corpus.inputs import problems
    from mellama_train.recipe.yaml_schema import read

    found = read(a.recipe, CorpusConfig, a.set)
    config = found.value
    found.refuse(problems(config))
    from mellama_train.corpus.build import build
    from mellama_train.corpus.summary import text

    corpus = build(config, force=a.force)
    print(
        "submitted to Slurm; then: mellama-train corpus show " + str(config.output) if corpus is None else text(corpus)
    )
    return 0


def _show(a: argparse.Namespace) -> int:
    import json

    from mellama_train.corpus.shards import Corpus
    from mellama_train.corpus.summary import text

    corpus = Corpus.open(a.folder)
    print(json.dumps(corpus.manifest, ensure_ascii=False, indent=1) if a.format == "json" else text(corpus))
    return 0


def _verify(a: argparse.Namespace) -> int:
    from mellama_train.corpus.shards import Corpus

    corpus = Corpus.open(a.folder)
    if a.tokenizer:
        corpus.check_tokenizer(a.tokenizer)
    findings = corpus.verify()
    print("\n".join(findings) or f"{len(corpus.shards())} shards are sound")
    return 2 if findings else 0


def _import(a: argparse.Namespace) -> int:
    from mellama_train.corpus.interchange import import_datatrove
    from mellama_train.corpus.summary import text
    from mibe.task import AccessLevel

    corpus = import_datatrove(
        a.folder, a.to, source=a.source, tokenizer=a.tokenizer, access=AccessLevel(a.access), length=a.length
    )
    print(text(corpus))
    return 0
