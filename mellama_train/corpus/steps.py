"""The steps of a build as datatrove's pipeline steps: each runs alike under its local, Slurm and Ray executors.

A task reads its files, cleans, decontaminates, and writes what is left with its signatures; when the duplicates of all
tasks are known, it reads that again and writes shards. Counts are kept by each step and written when a task is through.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
from backports import zstd
from datatrove.data import Document as Item
from datatrove.pipeline.base import PipelineStep

from mellama_train.corpus.config import CorpusConfig, Decontamination, Input
from mellama_train.corpus.decontaminate import TestIndex, report_line
from mellama_train.corpus.documents import Broken
from mellama_train.corpus.permutation import mix
from mellama_train.corpus.shards import Shard, ShardWriter, Split, as_entry
from mellama_train.corpus.sources import FORMATS
from mellama_train.corpus.tokens import DocumentTokenizer
from mellama_train.errors import CorpusError

# Characters encoded at once. An encoded token takes some 100 bytes until it is written, so larger batches cost memory
# (400 MB at 16 million characters) and are no faster; those of a few thousand characters are, by up to a half, slower.
BATCH = 1 << 20


@dataclass(frozen=True, slots=True)
class WorkFile:
    """One file of one input of a source."""

    source: str
    number: int
    path: Path


@dataclass(frozen=True, slots=True)
class Work:
    """The working folder of a build, and what lies where in it."""

    folder: Path

    @property
    def signatures(self) -> Path:
        """MinHash signatures, a folder a band."""
        return self.folder / "signatures"

    @property
    def pairs(self) -> Path:
        """Pairs of duplicates."""
        return self.folder / "pairs"

    @property
    def removals(self) -> Path:
        """The duplicates to remove, a file a task."""
        return self.folder / "removals"

    @property
    def tests(self) -> Path:
        """The index of test sets."""
        return self.folder / "tests"

    def clean(self, rank: int) -> Path:
        """The cleaned documents of a task."""
        return self.folder / "clean" / f"{rank:05d}.jsonl.zst"

    def hits(self, rank: int) -> Path:
        """The decontamination report of a task."""
        return self.folder / "hits" / f"{rank:05d}.jsonl"

    def counts(self, step: str, rank: int) -> Path:
        """What a step counted in a task."""
        return self.folder / "counts" / f"{step}-{rank:05d}.json"

    def shards(self, rank: int) -> Path:
        """The manifest entries of a task's shards."""
        return self.folder / "shards" / f"{rank:05d}.json"


class CountedStep(PipelineStep):  # type: ignore[misc]
    """A step that counts, by "source/number of the input/what"."""

    type = "mellama-train"

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work
        self.counts: Counter[str] = Counter()

    def count(self, item: Item, what: str, number: int = 1) -> None:
        """Add to a count of the input that the document is of."""
        self.counts[f"{item.metadata['source']}/{item.metadata['input']}/{what}"] += number

    def save(self, rank: int) -> None:
        """Write the counts: the step is through with its task."""
        write_json(self.work.counts(self.name, rank), self.counts)


class ReadFiles(CountedStep):
    """The documents of the files of a task."""

    name = "read"

    def __init__(self, config: CorpusConfig, work: Work, tasks: list[list[WorkFile]]) -> None:
        super().__init__(work)
        self.config = config
        self.tasks = tasks

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Item]:
        """Yield them. Raises `CorpusError` for a damaged file and, unless it may skip them, for a broken document."""
        for file in self.tasks[rank]:
            chosen = self.config.sources[file.source].inputs[file.number]
            for document in FORMATS[chosen.format].read(file.path):
                if isinstance(document, Broken):
                    if chosen.broken == "fail":
                        raise CorpusError(
                            f"{document.where}: {document.reason}; mend it, or count and skip such with broken: skip"
                        )
                    self.counts[f"{file.source}/{file.number}/broken"] += 1
                elif chosen.keeps(document.fields):
                    metadata = {"source": file.source, "input": file.number}
                    item = Item(text=document.text, id=document.id, metadata=metadata)
                    self.count(item, "read")
                    self.count(item, "characters read", len(document.text))
                    yield item
                else:
                    self.counts[f"{file.source}/{file.number}/not chosen"] += 1
        self.save(rank)


class Clean(CountedStep):
    """The cleaning steps of each document's input, counted one by one."""

    name = "clean"

    def __init__(self, config: CorpusConfig, work: Work) -> None:
        super().__init__(work)
        self.config = config

    def run(self, data: Iterator[Item], rank: int = 0, world_size: int = 1) -> Iterator[Item]:
        """Yield the documents of which something is left."""
        inputs = {(name, i): x for name, s in self.config.sources.items() for i, x in enumerate(s.inputs)}
        steps = {key: chosen.steps() for key, chosen in inputs.items()}
        for item in data:
            for step in steps[item.metadata["source"], item.metadata["input"]]:
                before = item.text
                item.text = step.apply(before)
                if not item.text.strip():
                    self.count(item, f"dropped by {step.name}")
                    break
                if item.text != before:
                    self.count(item, f"changed by {step.name}")
            else:
                if item.text.strip():
                    yield item
                else:
                    self.count(item, "dropped as empty")
        self.save(rank)


class Decontaminate(CountedStep):
    """Leaves out documents that hold a passage of a test set, and reports every hit."""

    name = "decontaminate"

    def __init__(self, config: CorpusConfig, work: Work, settings: Decontamination) -> None:
        super().__init__(work)
        self.config = config
        self.settings = settings

    def run(self, data: Iterator[Item], rank: int = 0, world_size: int = 1) -> Iterator[Item]:
        """Yield the clean ones."""
        index = TestIndex(self.work.tests)
        path = self.work.hits(rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as report:
            for item in data:
                removed = False
                for hit in index.hits(item.text):
                    over = hit.coverage >= self.settings.coverage
                    removed |= over
                    access = self._input(item).access_level
                    source = item.metadata["source"]
                    print(
                        report_line(index, hit, document=item.id, source=source, access=access, removed=over),
                        file=report,
                    )
                if removed:
                    self.count(item, "contaminated")
                else:
                    yield item
        self.save(rank)

    def _input(self, item: Item) -> Input:
        chosen: Input = self.config.sources[item.metadata["source"]].inputs[item.metadata["input"]]
        return chosen


class WriteClean(CountedStep):
    """Writes the documents that are left aside, and passes them on."""

    name = "write"

    def run(self, data: Iterator[Item], rank: int = 0, world_size: int = 1) -> Iterator[Item]:
        """Yield all."""
        path = self.work.clean(rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with zstd.open(part, "wt", level=1, encoding="utf-8") as file:
            for item in data:
                line = {"id": item.id, "text": item.text, **item.metadata}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self.count(item, "unique and duplicate")
                yield item
        part.replace(path)
        self.save(rank)


class ReadClean(CountedStep):
    """The documents that `WriteClean` wrote, in the same order."""

    name = "read again"

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Item]:
        """Yield all."""
        with zstd.open(self.work.clean(rank), "rt", encoding="utf-8") as file:
            for line in file:
                value = json.loads(line)
                metadata = {"source": value["source"], "input": value["input"]}
                yield Item(text=value["text"], id=value["id"], metadata=metadata)


class WriteShards(CountedStep):
    """Tokenises, and writes one shard of each source and split that occurs in the task."""

    name = "shards"

    def __init__(self, config: CorpusConfig, work: Work, folder: Path) -> None:
        super().__init__(work)
        self.config = config
        self.folder = folder

    def run(self, data: Iterator[Item], rank: int = 0, world_size: int = 1) -> None:
        """Write the shards and what the manifest says of them."""
        chosen = self.config.tokenizer
        tokenizer = DocumentTokenizer.load(chosen.path, eos=chosen.eos, bos=chosen.bos)
        writers: dict[tuple[str, Split], ShardWriter] = {}
        with ExitStack() as stack:
            for batch in batches(data):
                for item, ids in zip(batch, tokenizer.encode([item.text for item in batch]), strict=True):
                    key = (item.metadata["source"], self._split(item.text))
                    if key not in writers:
                        path = self.folder / "shards" / key[0] / f"{key[1]}-{rank:05d}.ds"
                        writers[key] = stack.enter_context(ShardWriter(path, tokenizer.dtype))
                    writers[key].add([ids])
                    self.count(item, "documents")
                    self.count(item, "tokens", len(ids))
            shards: list[Shard] = [writer.finish(self.folder, *key) for key, writer in sorted(writers.items())]
        self.save(rank)
        write_json(self.work.shards(rank), [as_entry(shard) for shard in shards])

    def _split(self, text: str) -> Split:
        # By content, so that the same documents are held out whatever the order or number of files.
        share = mix(xxhash.xxh3_64_intdigest(text.encode()) ^ mix(self.config.seed)) / 2**64
        return "held_out" if share < self.config.held_out else "train"


def batches(data: Iterator[Item]) -> Iterator[list[Item]]:
    """Documents by about a million characters: of equal cost in memory, long or short as they are."""
    batch: list[Item] = []
    size = 0
    for item in data:
        batch.append(item)
        size += len(item.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def write_json(path: Path, value: Any) -> None:
    """Write aside and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    part.replace(path)
