"""`mibe data`: list, prepare, verify or download data sets; add and remove tasks of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from mibe.cli.options import Commands
from mibe.cli.own import add_own_arguments, said_of
from mibe.terminal.streams import show


def add_commands(commands: Commands) -> None:
    """Add `data`."""
    _data_parser(commands.add_parser("data", help="list, prepare, verify or download data sets; add your own"))


def _data_parser(p: argparse.ArgumentParser) -> None:
    actions = p.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what is here and how to get the rest")
    listing.set_defaults(command=_data_list)
    prepare = actions.add_parser("prepare", help="bring in a data set from its official download")
    prepare.set_defaults(command=_data_prepare)
    prepare.add_argument("name", help="the task, or its data set (mibe data list)")
    prepare.add_argument(
        "--from", dest="path", metavar="PATH", help="folder, archive or file (not for diagnosis_open, made from MedQA)"
    )
    prepare.add_argument("--variant", metavar="NAME", help="another version or split of the data set")
    verify = actions.add_parser("verify", help="check prepared data against its manifest")
    verify.set_defaults(command=_data_verify)
    verify.add_argument("name", nargs="?", help="the task, or its data set (default: all that are here)")
    download = actions.add_parser("download", help="get a prepared test set from the Hugging Face hub")
    download.set_defaults(command=_data_download)
    download.add_argument("name", help="the task, or its data set (mibe data list)")
    download.add_argument("--from", dest="path", metavar="PATH", help="a local copy of the hub repository")
    download.add_argument(
        "--with-train", action="store_true", help="the official release, train split included, in place of the test set"
    )
    add = actions.add_parser("add", help="make a task of your own table or task file (docs/own-data.md)")
    add.set_defaults(command=_data_add)
    add.add_argument("data", metavar="FILE", help="a table, a task file, or with --from lm-eval a YAML of lm-eval's")
    add.add_argument("--from", dest="form", choices=("lm-eval",), help="what FILE is, where it is none of mibe's")
    add_own_arguments(add)
    remove = actions.add_parser("remove", help="delete a task that was added, and its copy of the data")
    remove.set_defaults(command=_data_remove)
    remove.add_argument("name", help="the task that was added")
    schema = actions.add_parser("schema", help="the JSON schema of a task file, for your editor")
    schema.set_defaults(command=_data_schema)


def _data_list(a: argparse.Namespace) -> int:
    """Say what data is here and how to get the rest."""
    from mibe.cli.listing import data_text

    print(data_text())
    return 0


def _data_prepare(a: argparse.Namespace) -> int:
    """Bring in a data set."""
    import sys

    from mibe.cli.listing import manifest_text, task_of_data
    from mibe.data.prepare import prepare
    from mibe.data.shipped import made_from

    task = task_of_data(a.name)
    path, variant = (Path(a.path), a.variant) if a.path else made_from(task)
    manifest = prepare(task.data_name, task.source, path, variant=variant, access=task.access, labels=task.labels)
    for note in manifest["notes"]:
        print(note, file=sys.stderr)
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


def _data_add(a: argparse.Namespace) -> int:
    """Add a task."""
    import sys

    from mibe.cli.listing import manifest_text
    from mibe.own.added import add

    if a.form == "lm-eval":
        from mibe.own.lm_eval import converted

        description, notes = converted(Path(a.data))
        manifest, lines = add(Path(a.data), said_of(a), written=description)
        lines = (*notes, *lines)
    else:
        manifest, lines = add(Path(a.data), said_of(a))
    for line in lines:
        print(line, file=sys.stderr)
    print(manifest_text(manifest["name"], manifest))
    return 0


def _data_remove(a: argparse.Namespace) -> int:
    """Delete a task that was added."""
    from mibe.own.added import remove

    print(f"{a.name} is removed, with its copy of the data in {remove(a.name)}")
    return 0


def _data_schema(a: argparse.Namespace) -> int:
    """Print the schema of a task file."""
    import json

    from mibe.own.description import json_schema

    print(json.dumps(json_schema(), ensure_ascii=False, indent=1))
    return 0
