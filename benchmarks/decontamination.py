"""Recall of decontamination: passages of the test sets, planted in other text in the forms that corpora have them in.

    python benchmarks/decontamination.py                     # the open test sets of the package
    python benchmarks/decontamination.py --raw ../shared/data   # and DDI, HoC and BC5CDR from their raw files

Of each test set `--passages` are drawn (sentences of at least 13 words of the text as its release has it) and each is
planted between two sentences of nonsense. A passage counts as found where half of its words' runs are, the default at
which a document is removed. The last column is the share of as many documents of nonsense and of the test's own words
in another order in which anything is found.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import mibe
from mellama_train.corpus.decontaminate import TestIndex, build_index, example_passages
from mibe.data.raw import RawFiles
from mibe.data.schema import to_line
from mibe.task import Example

NGRAM, COVERAGE = 13, 0.5
RAW = {"ddi": "ddi2013", "hoc": "hoc", "bc5cdr": "bc5cdr"}
"""Task → folder of its raw files below `--raw`."""
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def wrapped(text: str, draw: random.Random) -> str:
    """A line for every eight words or so."""
    return "".join(word + ("\n" if draw.random() < 1 / 8 else " ") for word in text.split())


def broken(text: str, draw: random.Random) -> str:
    """Lines that end in the middle of a word, with a hyphen."""
    return " ".join(
        f"{word[: len(word) // 2]}-\n{word[len(word) // 2 :]}" if word.isalpha() and draw.random() < 1 / 8 else word
        for word in text.split()
    )


def typeset(text: str, draw: random.Random) -> str:
    """Ligatures, full-width digits, hard blanks, curly quotes, soft hyphens."""
    marks = {"fi": "ﬁ", "fl": "ﬂ", "'": "’", '"': "”", " of ": "\u00a0of\u00a0"}
    for plain, mark in marks.items():
        text = text.replace(plain, mark)
    text = text.translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)})
    return re.sub(r"\b([A-Za-z]{4})([A-Za-z]{4})", "\\1\u00ad\\2", text)


FORMS: Mapping[str, Callable[[str, random.Random], str]] = {
    "exact": lambda text, draw: text,
    "case": lambda text, draw: text.upper(),
    "line wraps": wrapped,
    "broken words": broken,
    "no punctuation": lambda text, draw: re.sub(r"[^\w\s-]", "", text),
    "hyphen: blank": lambda text, draw: re.sub(r"(?<=\w)-(?=\w)", " ", text),
    "hyphen: none": lambda text, draw: re.sub(r"(?<=\w)-(?=\w)", "", text),
    "Unicode": typeset,
}


def texts(example: Example) -> list[str]:
    """The sentences that stand in the release of an example's text, those long enough to be looked for."""
    source = [example.source] if example.source else [*example.inputs.values()]
    return [
        sentence
        for text in source
        for sentence in SENTENCE_END.split(text)
        if next(example_passages(Example("", {"text": sentence}, 0), NGRAM), None) is not None
    ]


def nonsense(draw: random.Random, words: int = 40) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(words)) + "."


def found(index: TestIndex, text: str, task: str) -> bool:
    return any(hit.task == task and hit.coverage >= COVERAGE for hit in index.hits(text))


def row(index: TestIndex, task: str, passages: int, draw: random.Random) -> list[str]:
    """One line of the table."""
    sentences = sorted({s for example in mibe.examples(mibe.load_task(task), "test") for s in texts(example)})
    drawn = draw.sample(sentences, min(passages, len(sentences)))
    cells = [task, f"{len(drawn):,} of {len(sentences):,}"]
    for form in FORMS.values():
        planted = [f"{nonsense(draw)} {form(text, draw)} {nonsense(draw)}" for text in drawn]
        cells.append(f"{sum(found(index, text, task) for text in planted) / len(drawn):.1%}")
    others = [" ".join(draw.sample(words, len(words))) for words in (text.split() for text in drawn)]
    clean = [text for other in others for text in (other, nonsense(draw))]
    return [*cells, f"{sum(found(index, text, task) for text in clean) / len(clean):.1%}"]


def prepare(raw: Path, to: Path) -> None:
    """The test splits of `RAW`, where their files are."""
    for task, folder in RAW.items():
        splits = mibe.load_task(task).source.read(
            RawFiles(raw / folder), variant=mibe.load_task(task).source.variants[0]
        )
        (to / task).mkdir(parents=True)
        (to / task / "test.jsonl").write_text("\n".join(map(to_line, splits["test"])), encoding="utf-8")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--raw", type=Path)
    p.add_argument("--passages", type=int, default=300)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MIBE_DATA_DIR"] = f"{folder}/data"
        if a.raw:
            prepare(a.raw, Path(folder) / "data")
        index = build_index(Path(folder) / "index")
        draw = random.Random(0)
        print(f"| test set | passages | {' | '.join(FORMS)} | found in clean text |")
        print("|---" * (len(FORMS) + 3) + "|")
        for task in index.about["tasks"]:
            print(f"| {' | '.join(row(index, task, a.passages, draw))} |", flush=True)


if __name__ == "__main__":
    main()
