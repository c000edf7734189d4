"""`mellama-train corpus build`: from the files of a recipe to a finished corpus."""

from __future__ import annotations

import hashlib
import heapq
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter

from mellama_train.corpus import executors
from mellama_train.corpus.config import CorpusConfig, Decontamination, Deduplication
from mellama_train.corpus.decontaminate import TestIndex, index_for
from mellama_train.corpus.duplicates import Signatures, minhash_config
from mellama_train.corpus.executors import Stage
from mellama_train.corpus.locks import alone
from mellama_train.corpus.mixture import Mixture
from mellama_train.corpus.shards import MANIFEST, Corpus, write_manifest
from mellama_train.corpus.steps import (
    Clean,
    CountedStep,
    Decontaminate,
    ReadClean,
    ReadFiles,
    Work,
    WorkFile,
    WriteClean,
    WriteShards,
    write_json,
)
from mellama_train.corpus.tokens import DocumentTokenizer
from mellama_train.errors import CorpusError
from mellama_train.recipe.yaml_schema import as_json

REPORT = "decontamination.jsonl"
# Tasks of a build unless the recipe says otherwise: enough to spread and to resume by, few enough for whole shards.
MOST_TASKS = 64
COUNTING = tuple(step.name for step in (ReadFiles, Clean, Decontaminate, WriteClean, WriteShards))


def build(config: CorpusConfig, *, force: bool = False) -> Corpus | None:
    """Build the corpus of a recipe and open it, or None where the work was handed to Slurm.

    A build that was interrupted goes on with the tasks that are not done; one of another recipe, or over files that
    have changed since, starts clean. Raises `CorpusError`, also where `config.output` holds a finished corpus of
    another recipe and `force` is not set.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    try:
        with alone(config.output, CorpusError):
            return _build(config, force)
    except OSError as error:
        raise CorpusError(f"cannot go on: {error.strerror or error}: {error.filename or config.output}") from None


def _build(config: CorpusConfig, force: bool) -> Corpus | None:
    tokenizer = DocumentTokenizer.load(config.tokenizer.path, eos=config.tokenizer.eos, bos=config.tokenizer.bos)
    files = list(_files(config))
    work = Work(config.output / "work")
    index = index_for(config.decontaminate, work.folder.with_name("work.tests"))
    content = _content_hash(config, files, tokenizer, index)
    if (config.output / MANIFEST).exists() and not force:
        return _finished(config, content)
    _begin(work, content, anew=force)
    if index is not None:
        shutil.copytree(index.folder, work.tests, dirs_exist_ok=True)
        shutil.rmtree(index.folder)
    tasks = shares(files, config.execution.tasks or min(len(files), MOST_TASKS))
    executors.run(_stages(config, work, tasks, content), config.execution, work.folder / "logs")
    if config.execution.executor == "slurm":
        return None
    shutil.rmtree(work.folder)
    return opened(config.output)


def opened(folder: Path) -> Corpus:
    """A finished corpus whose weights can be met. Raises `CorpusError` otherwise."""
    Mixture.open(folder)
    return Corpus.open(folder)


def shares(files: list[WorkFile], tasks: int) -> list[list[WorkFile]]:
    """The files as `tasks` shares of about the same size, each in its old order."""
    tasks = min(tasks, len(files))
    sized = sorted(enumerate(files), key=lambda pair: (-pair[1].path.stat().st_size, pair[0]))
    heap: list[tuple[int, int, list[int]]] = [(0, number, []) for number in range(tasks)]
    for place, file in sized:
        size, number, share = heapq.heappop(heap)
        share.append(place)
        heapq.heappush(heap, (size + file.path.stat().st_size + 1, number, share))
    return [[files[place] for place in sorted(share)] for _, _, share in sorted(heap, key=lambda entry: entry[1])]


def _stages(config: CorpusConfig, work: Work, tasks: list[list[WorkFile]], content: str) -> list[Stage]:
    clean: list[PipelineStep] = [ReadFiles(config, work, tasks), Clean(config, work)]
    if isinstance(config.decontaminate, Decontamination):
        clean.append(Decontaminate(config, work, config.decontaminate))
    clean.append(WriteClean(work))
    middle: list[Stage] = []
    shards: list[PipelineStep] = [ReadClean(work)]
    if isinstance(config.deduplicate, Deduplication):
        minhash = minhash_config(config.deduplicate)
        clean.append(Signatures(work.signatures, config.deduplicate))
        pairs = MinhashDedupBuckets(str(work.signatures), str(work.pairs), config=minhash)
        clusters = MinhashDedupCluster(str(work.pairs), str(work.removals), config=minhash)
        middle = [Stage("duplicates", [pairs], minhash.num_buckets), Stage("clusters", [clusters], 1)]
        shards.append(MinhashDedupFilter(str(work.removals)))
    shards.append(WriteShards(config, work, config.output))
    finish = Stage("finish", [Finish(config, work, len(tasks), content)], 1)
    return [Stage("clean", clean, len(tasks)), *middle, Stage("tokenise", shards, len(tasks)), finish]


class Finish(CountedStep):
    """Puts together what the tasks wrote: the report and the manifest, with which the corpus is a finished one."""

    name = "finish"

    def __init__(self, config: CorpusConfig, work: Work, tasks: int, content: str) -> None:
        super().__init__(work)
        self.config = config
        self.tasks = tasks
        self.content = content

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Raises `CorpusError` for a source of which nothing is left."""
        config, work, ranks = self.config, self.work, range(self.tasks)
        shards = [entry for r in ranks for entry in json.loads(work.shards(r).read_text(encoding="utf-8"))]
        shards.sort(key=lambda shard: (shard["source"], shard["split"], shard["file"]))
        counts = _merged(work.folder / "counts")
        sources = {name: _source_entry(config, name, counts, shards) for name in config.sources}
        for name, entry in sources.items():
            if not entry["train"]["tokens"]:
                raise CorpusError(f"the source {name} is empty: {_why_empty(entry['inputs'])}")
        hits = _join_reports([work.hits(r) for r in ranks], config.output / REPORT)
        about = TestIndex(work.tests).about if isinstance(config.decontaminate, Decontamination) else None
        tokenizer = DocumentTokenizer.load(config.tokenizer.path, eos=config.tokenizer.eos, bos=config.tokenizer.bos)
        manifest = {
            "content": self.content,
            "tokenizer": {
                "path": str(config.tokenizer.path),
                "sha256": tokenizer.sha256,
                "vocabulary": tokenizer.vocabulary,
                "eos": tokenizer.eos,
                "eos_id": tokenizer.eos_id,
                "bos": tokenizer.bos,
            },
            "dtype": tokenizer.dtype.str,
            "mixture": {"length": config.length, "tokens": config.tokens, "seed": config.seed},
            "sources": sources,
            "decontamination": about and {**about, "hits": hits},
            "recipe": as_json(config),
            "versions": {name: version(name) for name in ("datatrove", "tokenizers")},
            "shards": shards,
        }
        write_manifest(config.output, manifest)
        shutil.rmtree(work.folder / "clean")
        for folder in (work.signatures, work.pairs, work.removals):
            shutil.rmtree(folder, ignore_errors=True)


def _source_entry(
    config: CorpusConfig, name: str, counts: dict[str, Counter[str]], shards: list[dict[str, Any]]
) -> dict[str, Any]:
    source = config.sources[name]
    inputs = []
    for number, chosen in enumerate(source.inputs):
        counted = dict(counts.get(f"{name}/{number}", Counter()))
        if isinstance(config.deduplicate, Deduplication):
            counted["duplicates"] = counted.get("unique and duplicate", 0) - counted.get("documents", 0)
        counted.pop("unique and duplicate", None)
        inputs.append({"format": chosen.format, "access": str(chosen.access_level), "counts": counted})
    splits = {
        split: {
            key: sum(s[key] for s in shards if (s["source"], s["split"]) == (name, split))
            for key in ("documents", "tokens")
        }
        for split in ("train", "held_out")
    }
    levels = [chosen.access_level for chosen in source.inputs]
    order = ["open", "non-commercial", "credentialed"]
    return {
        "weight": source.weight,
        "max_epochs": source.max_epochs,
        "access": max(map(str, levels), key=order.index),
        "agreements": sorted({chosen.agreement_name for chosen in source.inputs if chosen.agreement_name}),
        "inputs": inputs,
        **splits,
    }


def _why_empty(inputs: list[dict[str, Any]]) -> str:
    total: Counter[str] = Counter()
    for entry in inputs:
        total.update(entry["counts"])
    total.pop("characters read", None)
    kept = (f"{number:,} {what}" for what, number in total.items() if number and not what.startswith("changed"))
    return ", ".join(kept) or "no document was in its files"


def _merged(folder: Path) -> dict[str, Counter[str]]:
    """ "source/number of the input" → counts of all steps and tasks."""
    merged: dict[str, Counter[str]] = {}
    paths = (path for step in COUNTING for path in sorted(folder.glob(f"{step}-*.json")))
    for path in paths:
        for key, number in json.loads(path.read_text(encoding="utf-8")).items():
            source, place, what = key.split("/", 2)
            merged.setdefault(f"{source}/{place}", Counter())[what] += number
    return merged


def _join_reports(parts: Iterable[Path], target: Path) -> dict[str, dict[str, int]]:
    """All reports in one; task → documents with a hit, and those removed for it."""
    hits: dict[str, Counter[str]] = {}
    part = target.with_name(target.name + ".part")
    with part.open("w", encoding="utf-8") as joined:
        for path in filter(Path.exists, parts):
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    joined.write(line)
                    hit = json.loads(line)
                    counter = hits.setdefault(hit["task"], Counter(hits=0, removed=0))
                    counter.update(hits=1, removed=int(hit["removed"]))
    part.replace(target)
    return {task: dict(counter) for task, counter in sorted(hits.items())}


def _files(config: CorpusConfig) -> Iterator[WorkFile]:
    for name, source in config.sources.items():
        for number, chosen in enumerate(source.inputs):
            for path in chosen.files():
                yield WorkFile(name, number, path)


def _content_hash(
    config: CorpusConfig, files: list[WorkFile], tokenizer: DocumentTokenizer, index: TestIndex | None
) -> str:
    """A hash of all that decides the shards: not of weights, length and passes, which only decide how they are read."""
    recipe = as_json(replace(config, length=4096, tokens=None))
    recipe.pop("execution")
    recipe["tasks"] = config.execution.tasks
    for source in recipe["sources"].values():
        del source["weight"], source["max_epochs"]
    stats = [(f.source, f.number, str(f.path), f.path.stat().st_size, f.path.stat().st_mtime_ns) for f in files]
    parts = [recipe, stats, tokenizer.sha256, tokenizer.eos, index.about if index else None]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _finished(config: CorpusConfig, content: str) -> Corpus:
    """The corpus that is there already, with the weights of the recipe as it is now."""
    corpus = Corpus.open(config.output)
    if corpus.manifest["content"] != content:
        raise CorpusError(
            f"{config.output} holds a corpus of another recipe, tokenizer, test sets or source files; "
            "choose another output, or replace it with --force"
        )
    manifest = {
        **corpus.manifest,
        "mixture": {"length": config.length, "tokens": config.tokens, "seed": config.seed},
        "sources": {
            name: {**entry, "weight": config.sources[name].weight, "max_epochs": config.sources[name].max_epochs}
            for name, entry in corpus.manifest["sources"].items()
        },
    }
    if manifest != corpus.manifest:
        write_manifest(config.output, manifest)
    return opened(config.output)


def _begin(work: Work, content: str, *, anew: bool) -> None:
    """Go on with the working folder of the same content, or start with an empty one."""
    note = work.folder / "content.json"
    output = work.folder.parent
    if not anew and note.exists() and json.loads(note.read_text(encoding="utf-8")) == content:
        print(f"going on with the unfinished build in {work.folder}", file=sys.stderr)
    else:
        for folder in (work.folder, output / "shards"):
            if folder.exists():
                shutil.rmtree(folder)
    (output / MANIFEST).unlink(missing_ok=True)
    write_json(note, content)
