"""Passages of the prepared test sets of mibe, found in training text whatever its case, spacing and punctuation.

The passages are the sentences of the test examples (shorter ones joined until they have `ngram` words), as runs of
`ngram` words (13, as for GPT-3). They are taken from each form that a text is met in: as a prompt shows it, and as its
release has it. A document is removed when it holds at least the share `coverage` of the runs of a passage: a phrase of
13 words that happens to be in both does not remove it, and is in the report all the same. Runs that more than `common`
documents of the test sets share are boilerplate and do not count; examples made of one text are one document.

A hyphen may divide two words, join them, or break one at the end of a line, and where punctuation was removed "3.5"
became "35". Both sides are therefore read twice, with marks inside words as spaces and without them, and either reading
that matches counts. The second makes one word of several, so its runs are shorter by a quarter. Text with tags of HTML,
entities, escaped line ends or numbers of references in it is read without them, too.
"""

from __future__ import annotations

import html
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xxhash

import mibe
from mellama_train.corpus.config import Decontamination
from mellama_train.corpus.words import hashes, ngrams, words
from mellama_train.errors import CorpusError
from mibe.errors import MibeError
from mibe.task import AccessLevel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mellama_train.corpus.words import Hashes
    from mibe.task import Example, Task

# Marks inside a word or a number; behind a hyphen the word may go on in the next line.
INNER_MARKS = re.compile(r"(?<=[^\W_])(?:[-\u2010\u2011]\s+|(?:[^\w\s]|_)+)(?=[^\W_])")
# Tags, line ends as JSON escapes them, and [12] or [3, 5-7]: what stands between the words of a text and is not of it.
MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,300}>|\\[nrt]|\[\d+(?:\s?[,\u2013-]\s?\d+)*\]")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
ARRAYS = ("grams", "passage", "size", "example")


@dataclass(frozen=True, slots=True)
class Hit:
    """A test example of which a document holds something: `coverage` of its best passage, and the `span` of words."""

    task: str
    example: str
    coverage: float
    span: str


class TestIndex:
    """All runs of words of the test sets, memory-mapped from a folder, so that many processes share one copy."""

    __test__ = False  # For pytest, which takes classes named Test… for tests.

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    @cached_property
    def about(self) -> dict[str, Any]:
        """The settings and, for each task, examples, passages and examples too short to be looked for."""
        about: dict[str, Any] = json.loads((self.folder / "about.json").read_text(encoding="utf-8"))
        return about

    @cached_property
    def _ids(self) -> list[tuple[str, str]]:
        """[task, example id] of each example."""
        text = (self.folder / "examples.json").read_text(encoding="utf-8")
        return [(task, example) for task, example in json.loads(text)]

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        return {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}

    @cached_property
    def withheld(self) -> frozenset[str]:
        """Tasks whose text must not be in a report."""
        return frozenset(name for name, task in self.about["tasks"].items() if task["access"] == "credentialed")

    def hits(self, text: str) -> list[Hit]:
        """The test examples that `text` holds something of, the best covered first."""
        best: dict[int, Hit] = {}
        for bare in dict.fromkeys((text, html.unescape(MARKUP.sub(" ", text)))):
            for some_words, length in _readings(bare, self.about["ngram"]):
                for example, hit in self._hits(some_words, length):
                    if example not in best or hit.coverage > best[example].coverage:
                        best[example] = hit
        return sorted(best.values(), key=lambda hit: (-hit.coverage, hit.task, hit.example))

    def place_of(self, texts: Iterable[str]) -> str | None:
        """The "TASK/ID" of the test example of which these texts hold a whole passage, as a corpus is judged."""
        best = next(iter(self.hits("\n".join(texts))), None)
        if best is None or best.coverage < Decontamination().coverage:
            return None
        return f"{best.task}/{best.example}"

    def _hits(self, some_words: list[str], n: int) -> Iterator[tuple[int, Hit]]:
        """(number of the example, hit by its best passage) of one reading of a text, by its runs of `n` words."""
        grams, index = ngrams(hashes(some_words), n), self._arrays["grams"]
        if not len(grams) or not len(index):
            return
        places = np.searchsorted(index, grams)
        found = np.flatnonzero(index[np.minimum(places, len(index) - 1)] == grams)
        where: dict[int, list[int]] = {}
        counted: Counter[int] = Counter()
        seen: set[int] = set()
        for place in found.tolist():
            first = int(places[place])
            last = int(np.searchsorted(index, grams[place], side="right"))
            for passage in self._arrays["passage"][first:last].tolist():
                where.setdefault(passage, []).append(place)
                # A run that the document has twice is one run of the passage.
                counted[passage] += first not in seen
            seen.add(first)
        best: dict[int, tuple[float, int]] = {}
        for passage, count in counted.items():
            example = int(self._arrays["example"][passage])
            best[example] = max(best.get(example, (0.0, 0)), (count / int(self._arrays["size"][passage]), passage))
        for example, (coverage, passage) in best.items():
            yield example, Hit(*self._ids[example], coverage, _span(some_words, where[passage], n))


def _readings(text: str, n: int) -> Iterator[tuple[list[str], int]]:
    """(words of a text, words of a run) of each way to read it."""
    plain, joined = words(text), words(INNER_MARKS.sub("", text))
    yield plain, n
    yield joined, _joined(n)
    if joined != plain:
        # A word that a line's end broke makes the joined reading of the text the plain one of a passage.
        yield joined, n


def build_index(
    folder: Path, *, ngram: int = 13, common: int = 10, tasks: Iterable[str] | None = None, split: str = "test"
) -> TestIndex:
    """Index the test sets that are prepared (None: of all tasks) in `folder`.

    Raises `CorpusError` when a task named in `tasks` is not prepared, or none is.
    """
    names = _prepared(tasks, split)
    ids: list[tuple[str, str]] = []
    about: dict[str, Any] = {}
    passages: list[Hashes] = []
    owners: list[int] = []
    numbers: dict[tuple[str, str], int] = {}
    documents: list[int] = []
    for name in names:
        task = mibe.load_task(name)
        counts = Counter[str]()
        for example in mibe.examples(task, split):
            document = name, example.source or max(example.inputs.values(), key=len)
            forms = [*_forms(task, example)]
            if example.source and document not in numbers:
                forms.append([example.source])
            found = _runs(forms, ngram)
            own = sum(1 for _ in example_passages(example, ngram))
            counts["examples"] += 1
            counts["passages"] += own
            counts["too_short"] += not own
            passages += found
            owners += [len(ids)] * len(found)
            ids.append((name, example.id))
            documents.append(numbers.setdefault(document, len(numbers)))
        about[name] = {"access": str(task.access.level), **counts}
    arrays = _without_common(passages, np.array(owners, dtype=np.uint32), np.array(documents, dtype=np.int64), common)
    folder.mkdir(parents=True, exist_ok=True)
    for array_name, array in arrays.items():
        np.save(folder / f"{array_name}.npy", array)
    (folder / "examples.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    digest = xxhash.xxh3_128_hexdigest(b"".join(arrays[name].tobytes() for name in ARRAYS))
    text = json.dumps({"ngram": ngram, "common": common, "tasks": about, "content": digest}, ensure_ascii=False)
    (folder / "about.json.part").write_text(text, encoding="utf-8")
    (folder / "about.json.part").replace(folder / "about.json")
    return TestIndex(folder)


@contextmanager
def index_of_all() -> Iterator[TestIndex]:
    """The index of all prepared test sets, with a corpus' own settings, for as long as it is looked into."""
    settings = Decontamination()
    with tempfile.TemporaryDirectory(prefix="mibe-tests-") as folder:
        yield build_index(Path(folder), ngram=settings.ngram, common=settings.common)


def index_for(settings: Decontamination | Literal["off"], folder: Path) -> TestIndex | None:
    """The index that a file's `decontaminate` asks for."""
    if settings == "off":
        return None
    return build_index(folder, ngram=settings.ngram, common=settings.common, tasks=settings.tasks)


def example_passages(example: Example, ngram: int) -> Iterator[list[str]]:
    """The passages of an example, as words: those of its input fields, its options, and its target where it is a text.

    Sentences of fewer than `ngram` words are joined to such a run, but not to a long one: a copy of the long one alone
    would then cover it by half only.
    """
    return map(words, _passages(_texts(example), ngram))


def _texts(example: Example) -> list[str]:
    return [*example.inputs.values(), *example.choices, *([example.target] if isinstance(example.target, str) else [])]


def _forms(task: Task, example: Example) -> Iterator[list[str]]:
    """The texts of an example, and the prompt where that shows more than the texts themselves (lettered options)."""
    yield _texts(example)
    shown = task.prompt.fields(example)
    if not set(shown.values()) <= set(example.inputs.values()):
        yield [task.prompt.input.format_map(shown)]


def _runs(forms: Iterable[list[str]], ngram: int) -> list[Hashes]:
    """The runs of words of each passage of the forms, in both readings; a passage that comes twice counts once."""
    passages = dict.fromkeys(passage for texts in forms for passage in _passages(texts, ngram))
    plain = {tuple(words(passage)): ngram for passage in passages}
    joined = {tuple(words(INNER_MARKS.sub("", passage))): _joined(ngram) for passage in passages}
    readings = {**joined, **plain}
    return [np.unique(ngrams(hashes([*some]), n)) for some, n in readings.items() if len(some) >= n]


def _joined(ngram: int) -> int:
    """Words of a run of the reading without inner marks."""
    return -(-3 * ngram // 4)


def _passages(texts: Iterable[str], ngram: int) -> Iterator[str]:
    pending: list[str] = []
    for text in texts:
        for sentence in SENTENCE_END.split(text):
            if len(words(sentence)) >= ngram:
                pending = []
                yield sentence
            else:
                pending.append(sentence)
                if len(words(passage := " ".join(pending))) >= ngram:
                    yield passage
                    pending = []


def report_line(index: TestIndex, hit: Hit, *, document: str, source: str, access: AccessLevel, removed: bool) -> str:
    """One line of the report. The span is left out where the document or the task is credentialed."""
    hidden = access is AccessLevel.CREDENTIALED or hit.task in index.withheld
    return json.dumps(
        {
            "source": source,
            "document": document,
            "task": hit.task,
            "example": hit.example,
            "coverage": round(hit.coverage, 3),
            "removed": removed,
            "span": None if hidden else hit.span,
        },
        ensure_ascii=False,
    )


def problem_of_task(name: str, split: str) -> str | None:
    """Why nothing can be compared with a task that is named; None where its split is here."""
    try:
        prepared = split in mibe.prepared_splits(mibe.load_task(name))
    except MibeError as error:
        return str(error)
    if prepared:
        return None
    return (
        f"the {split} set of {name} is not prepared, so nothing can be compared with it; mibe data prepare {name} "
        "--from PATH, or leave it out of decontaminate.tasks"
    )


def _prepared(tasks: Iterable[str] | None, split: str) -> list[str]:
    """Names of tasks whose test split is here; of several tasks on the same data, the one that has all of it."""
    if tasks is not None:
        wanted = list(tasks)
        if problem := next(filter(None, (problem_of_task(name, split) for name in wanted)), None):
            raise CorpusError(problem)
        return wanted
    found: dict[str, str] = {}
    for name in sorted(mibe.list_tasks(), key=lambda name: bool(mibe.load_task(name).subset)):
        task = mibe.load_task(name)
        if task.data_name not in found and split in mibe.prepared_splits(task):
            found[task.data_name] = name
    if not found:
        raise CorpusError("no test set of mibe is here to decontaminate against; see `mibe data list`")
    return sorted(found.values())


def _without_common(
    passages: list[Hashes], example: NDArray[np.uint32], document: NDArray[np.int64], common: int
) -> dict[str, Any]:
    """The index arrays, sorted by run.

    `example`: (passages,) the number of the example that a passage is of; `document`: (examples,) of its document.
    Returned: `grams`, `passage`, (runs,) each run and the number of its passage; `size`, (passages,) runs of a passage;
    `example`.
    """
    grams = np.concatenate(passages) if passages else np.empty(0, dtype=np.uint64)
    passage = np.repeat(np.arange(len(passages), dtype=np.uint32), [len(p) for p in passages])
    order = np.argsort(grams, kind="stable")
    grams, passage = grams[order], passage[order]
    _, group = np.unique(grams, return_inverse=True)
    pairs = np.unique(np.stack([group.astype(np.int64), document[example[passage]]]), axis=1)
    kept = (np.bincount(pairs[0], minlength=1) <= common)[group] if len(grams) else np.empty(0, dtype=bool)
    grams, passage = grams[kept], passage[kept]
    size = np.bincount(passage, minlength=len(passages)).astype(np.uint32)
    return {"grams": grams, "passage": passage, "size": size, "example": example}


def _span(some_words: list[str], places: list[int], n: int) -> str:
    """The words of the first unbroken run of matches."""
    last = places[0]
    for place in places[1:]:
        if place > last + n:
            break
        last = max(last, place)
    return " ".join(some_words[places[0] : last + n])
