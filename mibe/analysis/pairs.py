"""How often answers differ between versions of a question, from a file of answers with one column a version."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from mibe.analysis.pairs_sent import check_sending, guarded
from mibe.data.pairs import BASELINE, PairFile
from mibe.data_use import Egress
from mibe.errors import ModelError, UsageError
from mibe.judge.advice import same_advice
from mibe.judge.judges import Judging, ModelJudge, load_judge
from mibe.metrics.fairness import Answers, Counting, Told, fairness
from mibe.metrics.repeats import as_answer
from mibe.parsers.options import OptionLetter
from mibe.task import letter

_LETTER = re.compile(r"\W*([A-Ja-j])\W*")
"""A letter that stands alone, whatever marks are around it."""


@dataclass(frozen=True)
class PairFigures:
    """Attribute → its figures as in a run record, how many rows lack an answer, and how many verdicts none can read.

    `untold` is how many rows with answers have no right one beside them, in a file that tells right ones; `egress` what
    left this machine.
    """

    fairness: Mapping[str, Any]
    incomplete: Mapping[str, int]
    unread: Mapping[str, int]
    untold: Mapping[str, int]
    egress: tuple[Egress, ...] = ()


def pair_figures(
    file: PairFile,
    *,
    judge: Judging | None = None,
    resamples: int = 1000,
    seed: int = 1234,
    allow_egress: Collection[str] = (),
    agreement: str | None = None,
) -> PairFigures:
    """The figures of a file whose cells are answers.

    Without a judge two answers are the same where they are one letter, label or short text. A letter is read as MedQA's
    answers are, where questions have options, most right answers are letters alone, or, where none is told, most
    answers. With a judge they are free text, and it says whether both give the same advice; there is then no accuracy,
    and a pair that cannot be judged is left out.

    Raises `UsageError` for a judge that is no model, or more than two versions for it; `ModelError` where it fails;
    `DataUseError` before credentialed text reaches a remote one without its user's word.
    """
    unread: dict[str, int] = {}
    leaving: Egress | None = None
    if judge is None:
        answers = {attribute: _compared(file, attribute) for attribute in file.columns}
    else:
        with closing(load_judge(judge)) as arbiter:
            if not isinstance(arbiter, ModelJudge) or arbiter.model is None:
                raise UsageError("--judge exact does not know advice; name a model, such as openai:gpt-4o")
            leaving = check_sending(file, arbiter.model, allow_egress, agreement)
            answers = {}
            for attribute in file.columns:
                ask = partial(_judged, file, attribute, arbiter)
                answers[attribute], unread[attribute] = guarded(file, arbiter.model, ask)
    incomplete = {attribute: len(file.rows) - len(file.cells(attribute)) for attribute in file.columns}
    references = {attribute: next(iter(values)) for attribute, values in file.columns.items()}
    found = fairness(answers, Counting({}, resamples, seed), baseline=BASELINE, references=references)
    untold = {attribute: 0 if judge is not None else _untold(told) for attribute, told in answers.items()}
    return PairFigures(found, incomplete, unread, untold, () if leaving is None else (leaving,))


def _untold(told: Answers) -> int:
    """How many rows have no right answer, where others have one."""
    without = [any(each.right is None for each in versions.values()) for versions in told.values()]
    return 0 if all(without) else sum(without)


def _compared(file: PairFile, attribute: str) -> Answers:
    """What was answered, and whether it is the target, where there is one."""
    lettered = _options_of_letters(file)
    targets = {i: r.get(file.target or "", "") for i, r in zip(file.ids, file.rows, strict=True)}
    readers = {i: _reader(own or lettered) for i, own in zip(file.ids, file.options, strict=True)}
    return {
        ident: {
            value: Told(readers[ident](text), _is_right(readers[ident], text, targets[ident]))
            for value, text in cells.items()
        }
        for ident, cells in file.cells(attribute).items()
    }


def _is_right(read: Callable[[str], Hashable], text: str, target: str) -> bool | None:
    return read(text) == read(target) if target.strip() else None


def _reader(options: tuple[str, ...]) -> Callable[[str], Hashable]:
    """What is equal for two answers that say the same: the letter, where there are options and one can be read."""
    parser = OptionLetter()
    return lambda text: (parser(text, choices=options) if options else None) or as_answer(text)


def _options_of_letters(file: PairFile) -> tuple[str, ...]:
    """Options without texts for files whose answers are letters, as many as the last letter needs; else ().

    They are such where most right answers are letters alone, or most answers where no right ones are told.
    """
    columns = dict.fromkeys(column for own in file.columns.values() for column in own.values())
    cells = [text for row in file.rows for column in columns if (text := row.get(column, "")).strip()]
    right = [text for row in file.rows if (text := row.get(file.target or "", "")).strip()]
    alone = [found[1].upper() for text in (*right, *cells) if (found := _LETTER.fullmatch(text))]
    telling = right or cells
    if 2 * sum(_LETTER.fullmatch(text) is not None for text in telling) <= len(telling):
        return ()
    # Characters that nobody writes stand for the texts, which are not known.
    return tuple(chr(0xE000 + number) for number in range(max(2, *(ord(each) - ord(letter(0)) + 1 for each in alone))))


def _judged(file: PairFile, attribute: str, judge: ModelJudge) -> tuple[Answers, int]:
    """The pairs by the judge's word, as answers that are equal or not; and how many it said nothing readable of."""
    cells = file.cells(attribute)
    if len(file.columns[attribute]) != 2:
        raise UsageError(f"{attribute}: a judge compares two versions; give --pair two columns")
    pairs = [(ident, list(versions.items())) for ident, versions in cells.items()]
    said = same_advice(judge, [(pair[0][1], pair[1][1]) for _, pair in pairs])
    if failed := next((advice.error for advice in said if advice.error is not None), None):
        raise ModelError(f"{failed}; the same command goes on where it stopped")
    told = {
        ident: {value: Told(0 if advice.same else number) for number, (value, _) in enumerate(pair)}
        for (ident, pair), advice in zip(pairs, said, strict=True)
        if advice.same is not None
    }
    return told, len(pairs) - len(told)
