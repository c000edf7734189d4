"""How often answers differ between versions of a question, from a file of answers with one column a version."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from mibe.data.pairs import BASELINE, PairFile
from mibe.errors import ModelError, UsageError
from mibe.judge.advice import same_advice
from mibe.judge.judges import Judging, ModelJudge, load_judge
from mibe.metrics.fairness import Answers, Counting, Told, fairness
from mibe.metrics.repeats import as_answer


@dataclass(frozen=True)
class PairFigures:
    """Attribute → its figures as in a run record, how many rows lack an answer, and how many verdicts none can read."""

    fairness: Mapping[str, Any]
    incomplete: Mapping[str, int]
    unread: Mapping[str, int]


def pair_figures(
    file: PairFile, *, judge: Judging | None = None, resamples: int = 1000, seed: int = 1234
) -> PairFigures:
    """The figures of a file whose cells are answers.

    Without a judge two answers are the same where they are one letter, label or short text. With one, they are free
    text, and it says whether both give the same advice; there is then no accuracy, and a pair that cannot be judged is
    left out.

    Raises `UsageError` for a judge that is no model, or more than two versions for it; `ModelError` where it fails.
    """
    unread: dict[str, int] = {}
    if judge is None:
        answers = {attribute: _compared(file, attribute) for attribute in file.columns}
    else:
        with closing(load_judge(judge)) as arbiter:
            if not isinstance(arbiter, ModelJudge):
                raise UsageError("--judge exact does not know advice; name a model, such as openai:gpt-4o")
            answers = {}
            for attribute in file.columns:
                answers[attribute], unread[attribute] = _judged(file, attribute, arbiter)
    incomplete = {attribute: len(file.rows) - len(file.cells(attribute)) for attribute in file.columns}
    references = {attribute: next(iter(values)) for attribute, values in file.columns.items()}
    found = fairness(answers, Counting({}, resamples, seed), baseline=BASELINE, references=references)
    return PairFigures(found, incomplete, unread)


def _compared(file: PairFile, attribute: str) -> Answers:
    """What was answered, and whether it is the target."""
    targets = {} if file.target is None else {i: r[file.target] for i, r in zip(file.ids, file.rows, strict=True)}
    return {
        ident: {
            value: Told(as_answer(text), as_answer(text) == as_answer(targets[ident]) if targets else None)
            for value, text in cells.items()
        }
        for ident, cells in file.cells(attribute).items()
    }


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
