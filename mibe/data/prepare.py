"""From the raw files of a download to a folder of prepared data, all of it or none."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from mibe.data import store
from mibe.data.contents import content_notes
from mibe.data.labels import check_splits
from mibe.data.raw import RawFiles
from mibe.data.readers.common import POOL
from mibe.data.schema import to_line
from mibe.data.store import MANIFEST, SPLIT_ORDER, Manifest, data_dir, previous
from mibe.errors import DataError, UsageError
from mibe.task import OPEN, Access, AccessLevel, Example, Source

SCHEMA = 1
"""Version of the layout of data folders and manifests."""

ABANDONED = 24 * 3600
"""Age in seconds from which an unfinished folder is what a killed run left behind, and not a run at work."""

LONGEST_CELL = 1 << 17
"""Characters of a cell in an official table."""

Splits = Mapping[str, Sequence[Example]]


def prepare(
    name: str,
    source: Source,
    raw_path: Path,
    *,
    variant: str | None = None,
    access: Access = OPEN,
    labels: Collection[str] = (),
) -> Manifest:
    """Read the raw files at `raw_path` and write the data set `name` to the data directory; returns its manifest.

    What is there already is replaced at the end and at once: a failure, or a kill at any moment, leaves it whole.
    Credentialed data is for its owner's eyes alone (files 0600 in a folder 0700).

    The variant `pool` brings in a train split, for worked examples, beside the test split that is here.

    Raises `DataError` when the files are not what they should be or cannot be written, or a target is not among the
    `labels` (none: it is no label), `UsageError` for a variant that the source does not know.
    """
    splits, about = read_splits(name, source, raw_path, variant=variant)
    if variant == POOL:
        splits = {**splits, "test": _test_here(name)}
        about["notes"].append("test: as it was here")
    check_splits(name, splits, labels)
    return write(data_dir() / name, splits, about, private=access.level is AccessLevel.CREDENTIALED)


def _test_here(name: str) -> list[Example]:
    """The test split of the prepared data, or of the package's."""
    if "test" not in store.splits(name):
        raise DataError(f"{name} has no test split here for the train split to stand beside")
    return store.load_examples(name, "test")


def read_splits(name: str, source: Source, raw_path: Path, *, variant: str | None = None) -> tuple[Splits, Manifest]:
    """The splits in the raw files, checked, and what the manifest says of them; raises as `prepare` does."""
    chosen = source.variants[0] if variant is None else variant
    if chosen not in source.variants:
        raise UsageError(f"{name} has no variant {chosen!r}; it has {', '.join(source.variants)}")
    raw = RawFiles(raw_path)
    # The limit is the process's, and reading tables of one's own lifts it.
    csv.field_size_limit(LONGEST_CELL)
    try:
        splits = source.read(raw, variant=chosen)
    except csv.Error as error:
        raise DataError(f"{raw.latest} is not the official table ({error}); download it again") from None
    if chosen == source.variants[0]:
        raw.notes += check_counts(name, splits, source)
    _check_filled(name, splits, source)
    return splits, describe(name, source, splits, raw, variant=chosen)


def check_counts(name: str, splits: Splits, source: Source) -> list[str]:
    """Compare the splits with the official sizes; returns a note for each official split that is not there.

    Raises `DataError` for a split of another size, or when there is no test split.
    """
    if "test" in source.counts and "test" not in splits:
        raise DataError(f"{name}: there is no test split in these files. {source.obtain}")
    for split, examples in splits.items():
        if split in source.counts and len(examples) != source.counts[split]:
            others = f"; or is it another variant ({', '.join(source.variants[1:])})?" if source.variants[1:] else ""
            raise DataError(
                f"{name}: expected {source.counts[split]:,} {split} examples, found {len(examples):,}; this is not "
                f"the whole official release. {source.obtain.rstrip('.')}{others or '.'}"
            )
    return [f"{split}: not among the source files" for split in source.counts if split not in splits]


def _check_filled(name: str, splits: Splits, source: Source) -> None:
    """Raise `DataError` for a split without a document."""
    if empty := [split for split, examples in splits.items() if not examples]:
        raise DataError(f"{name}: no document of the {empty[0]} split is in these files. {source.obtain}")


def describe(name: str, source: Source, splits: Splits, raw: RawFiles, *, variant: str) -> Manifest:
    """The part of a manifest that is known before the splits are written."""
    return {
        "schema": SCHEMA,
        "name": name,
        "variant": variant,
        "reader": type(source).__name__,
        "reader_version": source.version,
        "licence": source.licence,
        "homepage": source.homepage,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": raw.sources(),
        "notes": [*raw.notes, *content_notes(splits)],
    }


def write(target: Path, splits: Splits, about: Manifest, *, private: bool = False, compress: bool = False) -> Manifest:
    """Write splits and manifest to a new folder and put it in the place of `target`; returns the manifest.

    `private` keeps everybody but the owner from reading it; `compress` writes gzip files.
    """
    manifest = about | {"counts": {}, "splits": {}}
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).exists():
        raise DataError(f"{target} was made by hand (it has no {MANIFEST}) and would be lost; move it away first")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
        fresh.mkdir(mode=0o700 if private else 0o777)
        try:
            for split in sorted(splits, key=_split_rank):
                _check_ids(about["name"], split, splits[split])
                manifest["counts"][split] = len(splits[split])
                file = fresh / (f"{split}.jsonl.gz" if compress else f"{split}.jsonl")
                with _create(file, private) as stream:
                    lines = _lines(about["name"], split, splits[split])
                    manifest["splits"][split] = {"file": file.name, **_write_lines(stream, lines, compress)}
            with _create(fresh / MANIFEST, private) as stream:
                stream.write((json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode())
            _put_in_place(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error.strerror or error}; nothing was changed. "
            "Free some space there, or choose another folder with MIBE_DATA_DIR"
        ) from None
    return manifest


def _check_ids(name: str, split: str, examples: Sequence[Example]) -> None:
    counted = Counter(example.id for example in examples)
    if twice := [ident for ident, count in counted.items() if count > 1]:
        raise DataError(f"{name}: the id {twice[0]!r} occurs twice in {split}; ids must be unique")


def _lines(name: str, split: str, examples: Iterable[Example]) -> Iterator[bytes]:
    for example in examples:
        try:
            yield (to_line(example) + "\n").encode()
        except ValueError as error:
            raise DataError(f"{name}: the example {example.id!r} of {split} cannot be written: {error}") from None


def _create(path: Path, private: bool) -> BinaryIO:
    # The mode is set as the file is made: there is no moment in which others could open it.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666), "wb")


def _write_lines(stream: BinaryIO, lines: Iterable[bytes], compress: bool) -> dict[str, Any]:
    """Write the lines; returns size and sha256 of what they hold, before compression."""
    digest, size = hashlib.sha256(), 0
    # No time and no name in the gzip header: equal content gives equal files.
    packed = gzip.GzipFile("", "wb", fileobj=stream, mtime=0) if compress else nullcontext(stream)
    with packed as out:
        for line in lines:
            out.write(line)
            digest.update(line)
            size += len(line)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _put_in_place(fresh: Path, target: Path) -> None:
    # A folder cannot be exchanged for another in one step. Between the two renames `store.find` reads the old data
    # from its second name, so that a kill here loses nothing either.
    old = previous(target)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _remove_abandoned(target: Path) -> None:
    for folder in target.parent.glob(f".{target.name}.*.new"):
        if time.time() - folder.stat().st_mtime > ABANDONED:
            shutil.rmtree(folder, ignore_errors=True)


def _split_rank(split: str) -> tuple[int, str]:
    return (SPLIT_ORDER.index(split), "") if split in SPLIT_ORDER else (len(SPLIT_ORDER), split)
