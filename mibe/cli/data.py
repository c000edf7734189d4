"""`mibe data`: list, prepare, verify or download data sets."""

from __future__ import annotations

import argparse
from pathlib import Path

from mibe.cli.options import Commands
from mibe.terminal.streams import show


def add_commands(commands: Commands) -> None:
    """Add `data`."""
    _data_parser(commands.add_parser("data", help="list, prepare, verify or download data sets"))


def _data_parser(p: argparse.ArgumentParser) -> None:
    actions = p.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what is here and how to get the rest")
    listing.set_defaults(command=_data_list)
    prepare = actions.add_parser("prepare", help="bring in a data set from its official download")
    prepare.set_defaults(command=_data_prepare)
    prepare.add_argument("name")
    prepare.add_argument("--from", dest="path", required=True, metavar="PATH", help="folder, archive or file")
    prepare.add_argument("--variant", metavar="NAME", help="another version or split of the data set")
    verify = actions.add_parser("verify", help="check prepared data against its manifest")
    verify.set_defaults(command=_data_verify)
    verify.add_argument("name", nargs="?")
    download = actions.add_parser("download", help="get a prepared test set from the Hugging Face hub")
    download.set_defaults(command=_data_download)
    download.add_argument("name")
    download.add_argument("--from", dest="path", metavar="PATH", help="a local copy of the hub repository")
    download.add_argument(
        "--with-train", action="store_true", help="the official release, train split included, in place of the test set"
    )


def _data_list(a: argparse.Namespace) -> int:
    """Say what data is here and how to get the rest."""
    from mibe.cli.listing import data_text

    print(data_text())
    return 0


def _data_prepare(a: argparse.Namespace) -> int:
    """Bring in a data set."""
    from mibe.cli.listing import manifest_text, task_of_data
    from mibe.data.prepare import prepare

    task = task_of_data(a.name)
    manifest = prepare(
        task.data_name, task.source, Path(a.path), variant=a.variant, access=task.access, labels=task.labels
    )
    print(manifest_text(task.data_name, manifest))
    return 0


def _data_verify(a: argparse.Namespace) -> int:
    """Check prepared data; 2 when something is wrong with it."""
    from mibe.cli.listing import verify_text

    text, sound = verify_text(a.name)
    show(text)
    return 0 if sound else 2


def _data_download(a: argparse.Namespace) -> int:
    """Get a prepared test set."""
    from mibe.cli.listing import manifest_text, task_of_data
    from mibe.data.download import download, download_release

    task = task_of_data(a.name)
    bring = download_release if a.with_train else download
    manifest = bring(task, Path(a.path) if a.path else None)
    print(manifest_text(task.data_name, manifest))
    return 0
