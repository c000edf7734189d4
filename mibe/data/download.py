"""The authors' prepared test sets from the Hugging Face hub, turned back into examples.

The records there hold finished prompts (`query`). Since a prompt is made anew from the fields of an example, the fields
are read back out of it by the marks of the two prompts it can be made with: that of the paper (table A2: "INPUT: …
OUTPUT:", "Question: … Options: … Answer:") and that of the released code ("… The answer is:", "Input: … Output:"). A
query that does not have these marks, or has them so that the fields could be told apart in two ways, is an error and
never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mibe.data.labels import check_splits
from mibe.data.prepare import describe, read_splits, write
from mibe.data.raw import RawFiles
from mibe.data.readers.common import json_lines, parquet_rows
from mibe.data.store import Manifest, data_dir
from mibe.errors import DataError
from mibe.task import AccessLevel, Example, Task, Value, letter

VARIANT = "hub"

Fields = tuple[dict[str, str], tuple[str, ...]]
"""The input fields of an example and its choices."""


def download(task: Task, path: Path | None = None) -> Manifest:
    """Write the hub's test set of a task to the data directory; returns the manifest, whose variant is "hub".

    `path` is a local copy of the hub repository, used in place of the network. Raises `DataError` when there is no such
    repository, the hub cannot be reached, or the records are not in the form described above.
    """
    prepare_instead = f"{task.source.obtain} Then: mibe data prepare {task.data_name} --from PATH"
    if task.source.hub is None:
        raise DataError(f"{task.name} has no prepared test set on the hub. {prepare_instead}")
    if task.data_name not in SPLITTERS:
        raise DataError(f"{task.name}: the prompts on the hub cannot be split into fields. {prepare_instead}")
    folder = path if path is not None else _snapshot(task.source.hub, prepare_instead)
    raw = RawFiles(folder)
    examples = [
        _example(record, index, task, f"{where} of {task.source.hub}")
        for index, (where, record) in enumerate(_records(raw, prepare_instead))
    ]
    raw.notes.append(_from(task.source.hub, folder, path))
    official = task.source.counts.get("test")
    if official is not None and official != len(examples):
        raw.notes.append(f"test: {len(examples):,} examples where the official release has {official:,}")
    splits = {"test": examples}
    about = describe(task.data_name, task.source, splits, raw, variant=VARIANT)
    private = task.access.level is AccessLevel.CREDENTIALED
    return write(data_dir() / task.data_name, splits, about, private=private)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A repository of the hub that holds the official release of a data set, and the files of it that are read."""

    repository: str
    files: tuple[str, ...]


MIRRORS: Mapping[str, Mirror] = {
    "medqa": Mirror("bigbio/med_qa", ("data_clean.zip",)),
    "medqa_4": Mirror("bigbio/med_qa", ("data_clean.zip",)),
    "medmcqa": Mirror("openlifescienceai/medmcqa", ("data/train-*.parquet", "data/validation-*.parquet")),
}
"""Data set → where the hub has all of it, train split included. Their authors give both under the MIT licence."""


def download_release(task: Task, path: Path | None = None) -> Manifest:
    """Write the official release of a task's data, train split included, from the hub; returns the manifest.

    `path` is a local copy of the hub repository, used in place of the network. What comes is read and checked as
    `prepare` does. Raises `DataError` when the hub has no copy, cannot be reached, or has another release.
    """
    prepare_instead = f"{task.source.obtain} Then: mibe data prepare {task.data_name} --from PATH"
    mirror = MIRRORS.get(task.data_name)
    if mirror is None:
        raise DataError(f"the hub has no copy of the whole {task.data_name}. {prepare_instead}")
    folder = path if path is not None else _snapshot(mirror.repository, prepare_instead, mirror.files)
    splits, about = read_splits(task.data_name, task.source, folder)
    check_splits(task.data_name, splits, task.labels)
    about["notes"].append(_from(mirror.repository, folder, path))
    return write(data_dir() / task.data_name, splits, about)


def _from(repository: str, folder: Path, given: Path | None) -> str:
    """Where data is from: of what came over the network the folder is named after its revision."""
    return f"from the hub repository {repository}" + ("" if given else f", revision {folder.name}")


PREPARED = ("*.parquet", "*.jsonl", "README.md")
"""The files of a prepared test set."""


def _snapshot(repository: str, prepare_instead: str, files: Sequence[str] = PREPARED) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
    except ImportError:
        raise DataError('downloading needs huggingface_hub: pip install "mibe[hub]"') from None
    # The first base is the HTTP library's own error, which stands for a connection that breaks in the middle; the
    # library differs between versions of the client. No network is an OSError, a bad name a ValueError.
    transport_error = HfHubHTTPError.__mro__[1]
    try:
        return Path(snapshot_download(repository, repo_type="dataset", allow_patterns=list(files)))
    except GatedRepoError:
        raise DataError(
            f"{repository} is given only to people who accepted its terms: do so at https://huggingface.co/datasets/"
            f"{repository}, log in with `hf auth login`, and give the command again. Or: {prepare_instead}"
        ) from None
    except (OSError, ValueError, transport_error) as error:
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"cannot download {repository} from the hub ({reason}). Instead: {prepare_instead}") from None


def _records(raw: RawFiles, prepare_instead: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for pattern in ("test*.jsonl", "test*.parquet"):
        if names := raw.find(pattern):
            for name in names:
                yield from json_lines(raw, name) if name.endswith(".jsonl") else parquet_rows(raw, name)
            return
    raise DataError(f"{raw.path} holds no test*.parquet or test*.jsonl. Instead: {prepare_instead}")


def _example(record: Mapping[str, Any], index: int, task: Task, where: str) -> Example:
    query = record.get("query")
    if not isinstance(query, str):
        raise DataError(f"{where}: query must be a text, found {query!r:.60}")
    answer = _answer(record, where)
    fields = SPLITTERS[task.data_name](query)
    if fields is None:
        raise DataError(
            f"{where}: cannot tell the parts of the prompt apart ({query[:60]!r}…). "
            f"Instead: {task.source.obtain} Then: mibe data prepare {task.data_name} --from PATH"
        )
    inputs, choices = fields
    target = _target(task, answer, choices, where)
    ident = record.get("id")
    return Example(str(index if ident is None else ident), inputs, target, choices)


def _target(task: Task, answer: str | list[str], choices: Sequence[str], where: str) -> Value:
    """The answer in the form of the task's targets: a label, labels in their order, a text, or accepted texts."""
    allowed = [letter(i) for i in range(len(choices))] or list(task.labels)
    given = answer if isinstance(answer, list) else [answer]
    unknown = [label for label in given if label not in allowed]
    if allowed and unknown:
        raise DataError(f"{where}: the answer {unknown[0]!r} is not one of {', '.join(allowed)}")
    if not allowed and not all(given):
        raise DataError(f"{where}: the answer is empty")
    if isinstance(answer, list):
        return [label for label in allowed if label in given]
    return given if task.data_name in ACCEPTS_SEVERAL else answer


def _answer(record: Mapping[str, Any], where: str) -> str | list[str]:
    """The label, or for a record with a 0/1 list as `gold` the list of labels; both ways to say it must agree."""
    answer, choices, gold = record.get("answer"), record.get("choices"), record.get("gold")
    if not isinstance(answer, str):
        raise DataError(f"{where}: answer must be a text, found {answer!r:.60}")
    if choices is not None and not (isinstance(choices, list) and all(isinstance(each, str) for each in choices)):
        raise DataError(f"{where}: choices must be texts, found {choices!r:.60}")
    if isinstance(gold, list):
        labels = [label.strip() for label in answer.split(";") if label.strip()]
        marked = [label for label, one in zip(choices or [], gold, strict=False) if one]
        if len(labels) != sum(map(bool, gold)) or (choices and set(marked) != set(labels)):
            raise DataError(f"{where}: gold {gold} and answer {answer!r} do not agree")
        return labels
    if isinstance(gold, int) and choices and (gold not in range(len(choices)) or choices[gold] != answer):
        raise DataError(f"{where}: gold {gold} of {choices} and answer {answer!r} do not agree")
    return answer.strip()


# Each pattern finds one mark, and the marks are looked for one after the other, so that a query of any length and form
# is read in linear time: one pattern over all of them tries every way to place them.


def _between(query: str, opening: str, closing: str) -> str | None:
    """What stands between the first `opening` and a `closing` that ends the query."""
    query = query.rstrip()
    end = re.search(rf"\b(?:{closing})\Z", query)
    start = re.compile(rf"\b(?:{opening})").search(query, 0, end.start()) if end else None
    return query[start.end() : end.start()] if start and end else None


def _last_line(text: str) -> tuple[str, str] | None:
    """All lines but the last, and the last one; white space at the end aside."""
    head, newline, line = text.rstrip().rpartition("\n")
    return (head, line.strip()) if newline else None


def _input(field: str, query: str) -> Fields | None:
    found = _between(query, "INPUT:|Input:", "OUTPUT:|Output:")
    return None if found is None else ({field: found.strip()}, ())


def _premise_and_hypothesis(query: str) -> Fields | None:
    found = _between(query, r"INPUT:\s*\[PRE\]", "OUTPUT:")
    if found is None or "[HYP]" not in found or query.count("[HYP]") > 1:
        return None
    premise, _, hypothesis = found.partition("[HYP]")
    return {"premise": premise.strip(), "hypothesis": hypothesis.strip()}, ()


def _note_and_question(query: str) -> Fields | None:
    # The question is the last line that begins so: those of the note stand before it.
    found = _between(query, "Context:", "Answer:")
    lines = _last_line(found) if found is not None and "\n" in found[len(found.rstrip()) :] else None
    asked = re.fullmatch(r"Question:?[ \t](.+)", lines[1]) if lines else None
    return ({"context": lines[0].strip(), "question": asked[1].strip()}, ()) if lines and asked else None


def _question_and_context(query: str) -> Fields | None:
    paper = _between(query, "INPUT:", "OUTPUT:")
    if paper is not None and (mark := re.search(r"\bCONTEXT:", paper)):
        return {"question": paper[: mark.start()].strip(), "context": paper[mark.end() :].strip()}, ()
    # The released code puts the contexts and then the question after its instruction, without marks between them:
    # only a question on a line of its own can be told from the contexts.
    released = _between(query, r"yes, no, or maybe\.", "The answer is:?")
    lines = _last_line(released) if released is not None else None
    if lines is None or lines[1] == "?" or not lines[1].endswith("?") or not lines[0].strip():
        return None
    return {"question": lines[1], "context": lines[0].strip()}, ()


_ASKS = re.compile(r"\bQuestion:")
_OFFERS = re.compile(r"^(?:Options:\s*)?(?=\(?A[.:)])", re.MULTILINE)
_WAITS = re.compile(r"(?:Answer:|The answer is:?)[^\S\n]*$", re.MULTILINE)


def _question_and_options(query: str) -> Fields | None:
    asks = _ASKS.search(query)
    offers = _OFFERS.search(query, asks.end()) if asks else None
    waits = _WAITS.search(query, offers.end()) if offers else None
    if asks is None or offers is None or waits is None:
        return None
    question = query[asks.end() : offers.start()].strip().removesuffix("Options:").strip()
    choices = _lettered(query[offers.end() : waits.start()])
    return ({"question": question}, choices) if choices else None


def _lettered(block: str) -> tuple[str, ...]:
    """The texts of lines "A. …", "B. …", …; empty where the lines are not lettered in order."""
    parts = re.split(r"^[^\S\n]*\(?([A-Z])[.:)]", block, flags=re.MULTILINE)
    letters, texts = parts[1::2], parts[2::2]
    in_order = parts[0].strip() == "" and letters == [letter(i) for i in range(len(letters))]
    return tuple(text.strip() for text in texts) if in_order and len(letters) > 1 else ()


SPLITTERS: Mapping[str, Callable[[str], Fields | None]] = {
    "pubmedqa": _question_and_context,
    "medqa": _question_and_options,
    "medmcqa": _question_and_options,
    "emrqa": _note_and_question,
    "ddi": partial(_input, "text"),
    "hoc": partial(_input, "text"),
    "mtsample": partial(_input, "text"),
    "pubmedsum": partial(_input, "text"),
    "mimic_cxr": partial(_input, "findings"),
    "bionli": _premise_and_hypothesis,
    "mednli": _premise_and_hypothesis,
}
"""Data set → how its prompts on the hub are split into fields; None where a prompt cannot be."""

ACCEPTS_SEVERAL = frozenset({"emrqa"})
"""Data sets whose targets are lists of accepted texts; the hub has one."""
