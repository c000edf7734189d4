"""Token files that datatrove wrote, taken over as a corpus. Export needs no code: our shards are of the same form."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mellama_train.corpus.config import problem_of_name
from mellama_train.corpus.shards import Corpus, Shard, as_entry, index_of, write_manifest
from mellama_train.corpus.tokens import DocumentTokenizer
from mellama_train.errors import CorpusError
from mellama_train.recipe.problems import problem_of_output
from mellama_train.recipe.ranges import ROW_LENGTH
from mibe.task import AccessLevel


def import_datatrove(
    folder: Path, target: Path, *, source: str, tokenizer: Path, access: AccessLevel, length: int
) -> Corpus:
    """The `*.ds` of a folder, linked (or else copied) into the corpus `target` as one source.

    Raises `CorpusError` when an index does not fit its tokens, or an id lies outside the tokenizer's vocabulary.
    """
    files = sorted(folder.rglob("*.ds"))
    if problems := [*_problems(folder, files, target, source, tokenizer, length)]:
        raise CorpusError("\n".join(problems))
    known = DocumentTokenizer.load(tokenizer)
    (target / "shards" / source).mkdir(parents=True, exist_ok=True)
    shards = [_take(file, target, source, f"train-{n:05d}.ds", known) for n, file in enumerate(files)]
    write_manifest(
        target,
        {
            "content": "imported",
            "tokenizer": {
                "path": str(tokenizer),
                "sha256": known.sha256,
                "vocabulary": known.vocabulary,
                "eos": known.eos,
                "eos_id": known.eos_id,
                "bos": None,
            },
            "dtype": known.dtype.str,
            "mixture": {"length": length, "tokens": None, "seed": 1234},
            "sources": {
                source: {
                    "weight": 1.0,
                    "max_epochs": 1.0,
                    "access": str(access),
                    "agreements": [],
                    "inputs": [{"format": "datatrove", "access": str(access), "counts": {}}],
                    "train": {key: sum(getattr(s, key) for s in shards) for key in ("documents", "tokens")},
                    "held_out": {"documents": 0, "tokens": 0},
                }
            },
            "decontamination": None,
            "shards": [as_entry(shard) for shard in shards],
        },
    )
    return Corpus.open(target)


def _problems(
    folder: Path, files: list[Path], target: Path, source: str, tokenizer: Path, length: int
) -> Iterator[str]:
    """What is wrong with what is asked for, a line each."""
    if not files:
        yield f"no *.ds file in {folder}; it is the output folder of datatrove's DocumentTokenizer"
    if problem := problem_of_name(source):
        yield f"--source: {problem}"
    try:
        DocumentTokenizer.load(tokenizer)
    except CorpusError as error:
        yield f"--tokenizer: {error}"
    if problem := ROW_LENGTH.problem(length):
        yield f"--length: {problem}"
    if problem := problem_of_output(target):
        yield f"--to: {problem}"


def _take(file: Path, target: Path, source: str, name: str, tokenizer: DocumentTokenizer) -> Shard:
    try:
        ends = np.fromfile(index_of(file), dtype="<u8")
    except OSError:
        raise CorpusError(f"{file} has no {index_of(file).name}; write it with save_index=True") from None
    size = file.stat().st_size
    tokens = int(ends[-1]) if len(ends) else 0
    if not tokens or tokens * tokenizer.dtype.itemsize != size or np.any(np.diff(ends.astype(np.int64)) <= 0):
        raise CorpusError(
            f"{file} and its index do not fit together: {size:,} bytes, and {tokens:,} tokens of "
            f"{tokenizer.dtype.itemsize} bytes in the index; was it written with another tokenizer?"
        )
    ids = np.memmap(file, dtype=tokenizer.dtype, mode="r")
    largest = max(int(ids[i : i + (1 << 24)].max()) for i in range(0, tokens, 1 << 24))
    if largest >= tokenizer.vocabulary:
        raise CorpusError(
            f"{file} holds the id {largest:,}, and the tokenizer in {tokenizer.path} has {tokenizer.vocabulary:,} ids; "
            "give the one that it was written with"
        )
    path = target / "shards" / source / name
    for old, new in ((file, path), (index_of(file), index_of(path))):
        _link(old, new)
    with path.open("rb") as tokens_file, index_of(path).open("rb") as index_file:
        return Shard(
            file=path.relative_to(target).as_posix(),
            source=source,
            split="train",
            documents=len(ends),
            tokens=tokens,
            sha256=hashlib.file_digest(tokens_file, "sha256").hexdigest(),
            index_sha256=hashlib.file_digest(index_file, "sha256").hexdigest(),
        )


def _link(old: Path, new: Path) -> None:
    new.unlink(missing_ok=True)
    try:
        os.link(old, new)
    except OSError:
        # Another file system.
        shutil.copyfile(old, new)
