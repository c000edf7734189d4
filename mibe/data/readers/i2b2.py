"""i2b2 2010 and 2012: problems, treatments and tests in the sentences of clinical notes (Uzuner et al. 2011; Sun et al.
2013)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, NamedTuple

from mibe.data.raw import RawFiles
from mibe.errors import DataError
from mibe.task import Example

TYPES = ("problem", "treatment", "test")

TRAIN = ("*training_data*/*", "beth/*", "partners/*")
TEST_TEXT, TEST_CONCEPTS = ("*test_data/*", "*test_data.tar.gz/*"), ("*reference_standard*/*",)
TRAIN_2012 = ("*original-annotation*/*.xml", "*training*/*.xml")
TEST_2012 = ("merged_xml/*.xml", "*groundtruth*/*.xml", "*ground_truth*/*.xml")

# The share of concepts whose quoted text may differ from the text at their place before files count as mismatched.
MISFITS = 0.01

_TOKEN = re.compile(r"\S+", re.ASCII)
_PART = r"\d+:\d+ \d+:\d+"
_CONCEPT = re.compile(rf'c="(?P<text>.*)" (?P<parts>{_PART}(?:,{_PART})*)\|\|t="(?P<type>\w+)"')
_TEXT = re.compile(r"<TEXT>\s*?(?:<!\[CDATA\[)?(?P<text>.*?)(?:\]\]>)?\s*</TEXT>", re.DOTALL)
_EVENT = re.compile(r"<EVENT\s(.*?)/>", re.DOTALL)
_ATTRIBUTE = re.compile(r'(\w+)="(.*?)"(?=\s+\w+="|\s*$)', re.DOTALL)

Line = tuple[int, int]
"""Where a line of a note begins and ends, in characters of the note."""


class Entity(NamedTuple):
    """An annotated span of a note, in characters of the note, and whether the text that it quotes stands there."""

    type: str
    start: int
    end: int
    fits: bool


@dataclass(frozen=True)
class I2b2:
    """One example a line, which is a sentence; the target is a list of [type, start, end] in characters of `text`.

    Of a concept in several parts everything from its first to its last token belongs to the entity, and a concept that
    goes on in the next line is one entity in each, since a model sees one line at a time. In the variant `2012` the
    events of the types PROBLEM, TREATMENT and TEST are the entities. The paper's splits of 60,875/7,400/7,451 sentences
    are of neither release; the official training and test notes are the splits here.
    """

    licence: ClassVar[str] = "n2c2 Data Use and Confidentiality Agreement"
    homepage: ClassVar[str] = "https://portal.dbmi.hms.harvard.edu/projects/n2c2-nlp/"
    obtain: ClassVar[str] = (
        "Sign the agreement at https://portal.dbmi.hms.harvard.edu and put into one folder "
        "concept_assertion_relation_training_data.tar.gz, reference_standard_for_test_data.tar.gz and "
        "test_data.tar.gz (2010), or for the variant 2012 2012-07-15.original-annotation.release.tar.gz and "
        "2012-08-23.test-data.groundtruth.tar.gz."
    )
    hub: ClassVar[str | None] = None
    counts: ClassVar[Mapping[str, int]] = {}
    variants: ClassVar[tuple[str, ...]] = ("2010", "2012")
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Training notes, where they are there, → train; test notes → test."""
        notes = _notes_2010(raw) if variant == "2010" else _notes_2012(raw)
        return {split: _sentences(raw, split, found) for split, found in notes.items()}


Note = tuple[str, str, list[Entity]]
"""Name of a note, its text, its entities."""


def _sentences(raw: RawFiles, split: str, notes: Sequence[Note]) -> list[Example]:
    """The lines of the notes that have any text, and a note for the manifest of what is odd in them."""
    examples: list[Example] = []
    crossing = misfits = total = 0
    for name, text, entities in notes:
        crossing += sum("\n" in text[e.start : e.end] for e in entities)
        misfits += sum(not e.fits for e in entities)
        total += len(entities)
        for number, line in enumerate(_lines(text), 1):
            if inside := _visible(text, *line):
                examples.append(_sentence(f"{split}/{name}/{number}", text, inside, entities))
    if misfits > MISFITS * total:
        raise DataError(
            f"{split}: {misfits:,} of {total:,} entities quote another text than stands at their place; "
            "take notes and annotations from one release"
        )
    raw.notes.append(f"{split}: {len(notes):,} notes, {total:,} entities")
    if crossing:
        raw.notes.append(f"{split}: {crossing:,} entities go on in the next line; each of these lines has its part")
    if misfits:
        raw.notes.append(
            f"{split}: {misfits:,} entities quote another text than stands at their place; the place counts"
        )
    return examples


def _sentence(ident: str, text: str, line: Line, entities: Sequence[Entity]) -> Example:
    start, end = line
    parts = {
        (entity.type, *part)
        for entity in entities
        if (part := _visible(text, max(entity.start, start), min(entity.end, end)))
    }
    target = sorted(([kind, first - start, last - start] for kind, first, last in parts), key=lambda e: (e[1], e[2]))
    return Example(ident, {"text": text[start:end]}, target)


def _visible(text: str, start: int, end: int) -> Line | None:
    """The stretch without white space at its ends; None if nothing is left."""
    inside = text[start:end]
    if start >= end or not inside.strip():
        return None
    return start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())


def _lines(text: str) -> Iterator[Line]:
    start = 0
    for line in text.split("\n"):
        yield start, start + len(line)
        start += len(line) + 1


def _squeezed(text: str) -> str:
    return " ".join(text.lower().split())


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


# 2010: notes as text, one sentence a line, and concepts by line and token


def _notes_2010(raw: RawFiles) -> dict[str, list[Note]]:
    training = raw.find(*(f"{folder}.con" for folder in TRAIN))
    test = raw.find(*(f"{folder}.con" for folder in TEST_CONCEPTS))
    if not test:
        raise raw.missing("reference_standard_for_test_data/concepts/*.con")
    notes = {}
    if training:
        notes["train"] = [_note(raw, *pair) for pair in _pairs(raw, training, TRAIN)]
    else:
        raw.notes.append("train: not among the source files")
    return {**notes, "test": [_note(raw, *pair) for pair in _pairs(raw, test, TEST_TEXT)]}


def _pairs(raw: RawFiles, concepts: Sequence[str], folders: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The file of each note with its file of concepts: matched by stem, wherever the two lie."""
    texts = {PurePosixPath(name).stem: name for name in raw.find(*(f"{folder}.txt" for folder in folders))}
    for name in concepts:
        stem = PurePosixPath(name).stem
        if stem not in texts:
            raise DataError(f"{name} has no {stem}.txt; give all archives of the 2010 release in one folder")
        yield texts[stem], name


def _note(raw: RawFiles, text_name: str, concepts_name: str) -> Note:
    text = _unix(raw.text(text_name))
    lines = _token_lines(text)
    entities = [
        _concept(line, text, lines, f"{concepts_name}, line {number}")
        for number, line in raw.lines(concepts_name)
        if line.strip()
    ]
    return PurePosixPath(text_name).stem, text, entities


def _token_lines(text: str) -> list[list[Line]]:
    """For each line of a note, where its tokens are in the note: tokens are parted by white space."""
    return [[token.span() for token in _TOKEN.finditer(text, start, end)] for start, end in _lines(text)]


def _concept(line: str, text: str, lines: Sequence[Sequence[Line]], where: str) -> Entity:
    """A line such as `c="chest pain" 12:3 12:4||t="problem"`: lines from 1, tokens from 0, the end inclusive."""
    concept = _CONCEPT.fullmatch(line.strip())
    if concept is None or concept["type"] not in TYPES:
        raise DataError(f'{where}: expected c="…" LINE:TOKEN LINE:TOKEN||t="{"|".join(TYPES)}", found {line!r:.60}')
    tokens = [tuple(map(int, place.split(":"))) for place in re.split("[ ,]", concept["parts"])]
    try:
        places = [lines[number - 1][token] for number, token in tokens if number > 0]
    except IndexError:
        raise DataError(f"{where}: the note has no such line or token; take both from one release") from None
    if len(places) < len(tokens):
        raise DataError(f"{where}: lines are counted from 1; take the file from the official release")
    parts = zip(places[::2], places[1::2], strict=True)
    found = " ".join(text[first[0] : last[1]] for first, last in parts)
    return Entity(concept["type"], min(places)[0], max(places)[1], _squeezed(found) == _squeezed(concept["text"]))


# 2012: one XML file a note


def _notes_2012(raw: RawFiles) -> dict[str, list[Note]]:
    training = raw.find(*TRAIN_2012)
    test = next((names for pattern in TEST_2012 if (names := raw.find(pattern))), [])
    if not test:
        raise raw.missing("ground_truth/merged_xml/*.xml")
    notes = {}
    if training:
        notes["train"] = [_note_2012(raw, name) for name in training]
    else:
        raw.notes.append("train: not among the source files")
    return {**notes, "test": [_note_2012(raw, name) for name in test]}


def _note_2012(raw: RawFiles, name: str) -> Note:
    # Some of the official files are not well-formed XML (bare "&", "<" and quotes), so the tags are read one by one.
    content = _unix(raw.text(name))
    found = _TEXT.search(content)
    if found is None:
        raise DataError(f"{name}: there is no <TEXT>; is this a file of the 2012 release?")
    text = found["text"]
    events = [dict(_ATTRIBUTE.findall(event[1])) for event in _EVENT.finditer(content, found.end())]
    wanted = [event for event in events if event.get("type", "").lower() in TYPES]
    try:
        # Offsets count from 1, or from 0 with the line end before the text: what the events quote tells which.
        readings = [[_event(event, text, first) for event in wanted] for first in (1, 0)]
    except (KeyError, ValueError) as error:
        raise DataError(f"{name}: an EVENT is not as expected ({error}); download the file again") from None
    entities = max(readings, key=lambda reading: sum(entity.fits for entity in reading))
    return PurePosixPath(name).stem, text, entities


def _event(event: Mapping[str, str], text: str, first: int) -> Entity:
    start, end = int(event["start"]) - first, int(event["end"]) - first
    fits = _squeezed(text[start:end]) == _squeezed(html.unescape(event["text"]))
    return Entity(event["type"].lower(), start, end, fits)
