"""Questions of consumers with answers of the National Library of Medicine: MEDIQA, LiveQA, MedQuAD."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from mellama_train.corpus.streams import open_binary, plain_suffix
from mellama_train.errors import DataError
from mellama_train.instructions.items import Item, Items
from mellama_train.instructions.readers import EachFile
from mellama_train.instructions.readers.columns import Columns
from mellama_train.instructions.readers.records import keyed_records, records, text_of

CORRECT = 3
"""The least `ReferenceScore` of a correct answer (3: correct but incomplete, 4: excellent)."""


def read_mediqa(path: Path) -> Items:
    """MEDIQA in one of its three public forms.

    MEDIQA-AnS (`question_driven_answer_summarization_primary_dataset.json`): page and passage as contexts, each with
    its abstractive and its extractive summary as responses. Medical Meadow's `medical_meadow_mediqa.json`, made of it.
    MEDIQA 2019, task 3 (XML): no answer was written there, only passages judged; the response is a correct passage, its
    context that passage and the worst judged one, in the order in which the system ranked them.
    """
    if plain_suffix(path) == ".xml":
        yield from _judged_passages(path)
    elif _starts_with(path, b"["):
        yield from _meadow(path)
    else:
        yield from _summarized_answers(path)


def read_liveqa(path: Path) -> Items:
    """TREC 2017 LiveQA: each message with each of its answers."""
    for question in _elements(path, "NLM-QUESTION"):
        message = question.find(".//MESSAGE")
        text = _text(message) if message is not None else ""
        for number, answer in enumerate(question.iter("ANSWER"), start=1):
            name = question.get("questionid") or question.get("qid")
            yield Item(f"{path.name}:{name}-{number}", {"input": text}, _text(answer))


def read_medquad(path: Path) -> Items:
    """MedQuAD: the XML of one document, or all questions with answers as JSON lines {"question", "answer"}."""
    if plain_suffix(path) != ".xml":
        yield from Columns(fields={"input": "question"}, response=("answer",)).read_file(path)
        return
    for pair in _elements(path, "QAPair"):
        question, answer = pair.find("Question"), pair.find("Answer")
        if question is None or answer is None:
            raise DataError(f"{path}: a <QAPair> without a <Question> or an <Answer>")
        yield Item(f"{path.name}:{question.get('qid')}", {"input": _text(question)}, _text(answer))


def _judged_passages(path: Path) -> Items:
    for question in _elements(path, "Question"):
        text = question.findtext("QuestionText") or ""
        answers = [a for a in question.iter("Answer") if a.get("ReferenceScore")]
        ranked = {a: (-int(a.get("ReferenceScore", "")), int(a.get("SystemRank", ""))) for a in answers}
        for answer in answers:
            if int(answer.get("ReferenceScore", "")) < CORRECT:
                continue
            other = max((a for a in answers if a is not answer), key=lambda a: ranked[a], default=answer)
            shown = sorted({answer, other}, key=lambda a: int(a.get("SystemRank", "")))
            context = "\n\n".join(_passage(a) for a in shown)
            yield Item(f"{path.name}:{answer.get('AID')}", {"input": text, "context": context}, _passage(answer))


def _passage(answer: ElementTree.Element) -> str:
    return " ".join((answer.findtext("AnswerText") or "").split())


def _summarized_answers(path: Path) -> Items:
    for key, record in keyed_records(path):
        answers = record.get("answers")
        if not isinstance(answers, dict):
            raise DataError(f"{path}:{key}: no `answers`; it has {', '.join(record) or 'nothing'}")
        question = text_of(record.get("question"), f"{path}:{key}", "question")
        for name, answer in answers.items():
            for context in ("article", "section"):
                for summary in ("answer_abs_summ", "answer_ext_summ"):
                    place = f"{path}:{name}"
                    fields = {"input": question, "context": text_of(answer.get(context), place, context)}
                    yield Item(
                        f"{path.name}:{name}/{context}/{summary}", fields, text_of(answer.get(summary), place, summary)
                    )


def _meadow(path: Path) -> Items:
    """The `input` of Medical Meadow is the question, and below it the context."""
    for place, record in records(path):
        if missing := [name for name in ("input", "output") if name not in record]:
            raise DataError(f"{place}: no column {missing[0]!r}; it has {', '.join(record) or 'none'}")
        question, _, context = text_of(record["input"], place, "input").strip().partition("\n")
        fields = {"input": question.removeprefix("Q:"), "context": context.strip().removeprefix("A:")}
        yield Item(f"{path.name}{place.removeprefix(str(path))}", fields, text_of(record["output"], place, "output"))


def _elements(path: Path, tag: str) -> Iterator[ElementTree.Element]:
    """The elements of this name, each dropped after use. Raises `DataError` for what is not such XML."""
    found = False
    try:
        with open_binary(path) as stream:
            # External entities are never fetched, and expat limits what internal ones can grow to.
            for _, element in ElementTree.iterparse(stream, events=("end",)):
                if element.tag == tag:
                    found = True
                    yield element
                    element.clear()
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not XML, or cut short ({error}); get it again") from None
    if not found:
        raise DataError(f"{path}: no <{tag}> in it; is it another file?")


def _text(element: ElementTree.Element) -> str:
    """The text of an element on one line."""
    return " ".join("".join(element.itertext()).split())


def _starts_with(path: Path, mark: bytes) -> bool:
    with open_binary(path) as stream:
        return stream.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(mark)


MEDIQA = EachFile(read_mediqa, (".xml", ".json"))
LIVEQA = EachFile(read_liveqa, (".xml",))
MEDQUAD = EachFile(read_medquad, (".xml", ".jsonl"))
