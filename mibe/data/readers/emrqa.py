"""emrQA (Pampari et al. 2018): questions about clinical notes, answered by a line of the note."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mibe.data.raw import RawFiles
from mibe.data.readers.common import json_object, list_field, text_field
from mibe.data.splits import SEED, normalised, proportional, stratified_split
from mibe.errors import DataError
from mibe.task import Example

LINE_ENDS = {"medication": "", "relations": "", "risk": "\n"}
"""Title of a part of the data set → what its lines are joined by: those of the first two keep their line ends."""

PAPER_SIZES = {"train": 122_326, "valid": 30_581, "test": 26_804}


@dataclass(frozen=True)
class EmrQa:
    """One example a question of the parts medication, relations and risk; the target is the list of accepted answers.

    As in the usual conversion to SQuAD's form, the answer is the evidence: the line of the note that holds it. A
    question comes in many paraphrases over one and the same answer; one of them, chosen by a hash, stands for all.
    The paper's split (122,326/30,581/26,804 questions) is not published. The split here is made by seed in the same
    proportions of notes, stratified by part; no note, and no text that stands under two names, is in two splits.
    """

    licence: ClassVar[str] = "n2c2 Data Use and Confidentiality Agreement"
    homepage: ClassVar[str] = "https://github.com/panushri25/emrQA"
    obtain: ClassVar[str] = (
        "Sign the agreement at https://portal.dbmi.hms.harvard.edu and download emrQA's data.json there (community "
        "annotations), or generate it with https://github.com/panushri25/emrQA."
    )
    hub: ClassVar[str] = "clinicalnlplab/emrqa_test"
    counts: ClassVar[Mapping[str, int]] = {}
    variants: ClassVar[tuple[str, ...]] = ("official",)
    version: ClassVar[int] = 1

    def read(self, raw: RawFiles, *, variant: str) -> dict[str, list[Example]]:
        """Questions without evidence are left out, and counted in a note of the manifest."""
        name = raw.one("data.json")
        questions: dict[str, list[Example]] = defaultdict(list)
        contexts: dict[str, str] = {}
        titles: dict[str, str] = {}
        dropped: Counter[str] = Counter()
        for title, paragraph, where in _paragraphs(json_object(raw, name), name):
            note = text_field(paragraph, "note_id", where)
            context = LINE_ENDS[title].join(list_field(paragraph, "context", where))
            contexts.setdefault(note, context)
            titles.setdefault(note, title)
            for number, record in enumerate(_list(paragraph, "qas", where)):
                ident = f"{title}/{note}/{len(questions[note])}"
                example = _question(record, ident, context, f"{where}, question {number}")
                if example is None:
                    dropped[title] += 1
                else:
                    questions[note].append(example)
        raw.notes += [f"{title}: {count:,} questions without evidence left out" for title, count in dropped.items()]
        return _by_note(raw, questions, contexts, titles)


def _paragraphs(content: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Title of the part, paragraph, and where it stands; a paragraph is a note with its questions."""
    parts = {part.get("title"): part for part in _list(content, "data", name)}
    if missing := [title for title in LINE_ENDS if title not in parts]:
        raise DataError(f"{name}: the part {missing[0]} is missing; give the whole file of emrQA")
    for title in LINE_ENDS:
        for number, paragraph in enumerate(_list(parts[title], "paragraphs", f"{name}, {title}")):
            yield title, paragraph, f"{name}, {title}, paragraph {number}"


def _question(record: Mapping[str, Any], ident: str, context: str, where: str) -> Example | None:
    paraphrases = record.get("question")
    paraphrases = [paraphrases] if isinstance(paraphrases, str) else list_field(record, "question", where)
    answers = [line for answer in _list(record, "answers", where) for line in evidence(answer, where)]
    if not answers or not paraphrases:
        return None
    question = min(set(paraphrases), key=lambda text: hashlib.sha256(f"{SEED}\0{ident}\0{text}".encode()).hexdigest())
    return Example(ident, {"context": context, "question": question.strip()}, list(dict.fromkeys(answers)))


def evidence(answer: Mapping[str, Any], where: str) -> list[str]:
    """The lines that answer a question: one, or a list of them, as `evidence_start` is one line number or a list."""
    lines = answer.get("evidence")
    lines = [lines] if isinstance(lines, str) else lines
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise DataError(f"{where}: evidence must be a text or a list of texts, found {lines!r:.60}")
    return [line.strip() for line in lines if line.strip()]


def _list(record: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DataError(f"{where}: {key} must be a list of objects, found {value!r:.60}; is this the official file?")
    return value


def _by_note(
    raw: RawFiles, questions: Mapping[str, Sequence[Example]], contexts: Mapping[str, str], titles: Mapping[str, str]
) -> dict[str, list[Example]]:
    notes = sorted(note for note, asked in questions.items() if asked)
    sizes = proportional(PAPER_SIZES, len(notes))
    chosen = stratified_split(
        notes,
        labels=[titles[note] for note in notes],
        groups=[normalised(contexts[note]) for note in notes],
        sizes=sizes,
    )
    shares = "/".join(f"{size:,} {split}" for split, size in sizes.items())
    raw.notes.append(f"split made by mibe: {shares} notes, stratified by part, equal notes together, seed {SEED}")
    return {split: [e for i in places for e in questions[notes[i]]] for split, places in chosen.items()}
