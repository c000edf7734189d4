"""The draws of a run over a train split, each with the reward that the task gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mibe
from mellama_train.corpus.decontaminate import index_of_all
from mellama_train.errors import DataError
from mellama_train.rl.tasks import in_test_sets
from mellama_train.rows.characters import lone_surrogate

if TYPE_CHECKING:
    from mibe.task import Task

TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Draw:
    """One answer that came to its end: its number among the draws, all of its text, its score from 0 to 1.

    `kindly` is the score of the run, which also reads what a reward turns down: it is right from `score` on, and wrong
    only where both say so.
    """

    number: int
    text: str
    score: float
    kindly: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A document with the turns that were asked and the draws that can be learned from."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    draws: tuple[Draw, ...]

    def right(self, least: float) -> list[Draw]:
        """The draws with such a score or a higher one, of those alike in all but spacing and case the first."""
        return _distinct(draw for draw in self.draws if draw.score >= least)

    def wrong(self, most: float) -> list[Draw]:
        """The draws with such a score or a lower one, by the run as well."""
        return _distinct(draw for draw in self.draws if max(draw.score, draw.kindly) <= most)


def _distinct(draws: Iterable[Draw]) -> list[Draw]:
    first: dict[str, Draw] = {}
    for draw in draws:
        first.setdefault(" ".join(draw.text.lower().split()), draw)
    return list(first.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The documents of a run that may be trained on, and how many draws the run has of how many documents.

    `in_test_sets` are ids of documents that also stand in a test set of the tasks `compared`, each with the "TASK/ID"
    of that place; `unended` draws met a limit, said nothing, or were asked with a prompt that was cut, which the run
    does not keep.
    """

    task: Task
    documents: tuple[Asked, ...]
    asked: int
    draws: int
    in_test_sets: Mapping[str, str]
    compared: tuple[str, ...]
    unended: int


def judged(run: mibe.Run, name: str) -> Judged:
    """The draws of a task of a run over its train split, with their scores by the task's own parser and metric.

    Documents that also stand in a test set of mibe, whole or in a passage, are left out. Raises `DataError` for a run
    over another split, and mibe's errors.
    """
    part = run.part(name)
    if part["data"]["split"] != TRAIN:
        raise DataError(
            f"{run.path} asked about the {part['data']['split']} split of {name}, which is there to be scored on; make "
            f"a run over its train split: mibe eval --tasks {name} --split train --repeats 8 --temperature 1 …"
        )
    drawn = mibe.drawn_samples(run, name)
    reward = mibe.reward(drawn.task)
    with index_of_all() as index:
        tested, compared = in_test_sets(drawn.task, index), tuple(index.about["tasks"])
    documents, unended = [], 0
    for ident, samples in drawn.documents.items():
        ended = [sample for sample in samples if sample.ended and not sample.cut and _is_text(sample.text)]
        unended += len(samples) - len(ended)
        if ident in tested or not ended:
            continue
        given = reward.judge([sample.answer or "" for sample in ended], [sample.example for sample in ended])
        read = reward.measure.values([s.prediction for s in ended], [s.example.target for s in ended]).tolist()
        draws = tuple(
            Draw(sample.draw, sample.text.strip(), found.right, kindly)
            for sample, found, kindly in zip(ended, given, read, strict=True)
        )
        turns = tuple({"role": turn["role"], "content": turn["content"]} for turn in ended[0].messages)
        documents.append(Asked(ident, turns, draws))
    return Judged(
        task=drawn.task,
        documents=tuple(documents),
        asked=len(drawn.documents),
        draws=sum(map(len, drawn.documents.values())),
        in_test_sets={ident: place for ident, place in tested.items() if ident in drawn.documents},
        compared=compared,
        unended=unended,
    )


def _is_text(text: str) -> bool:
    return bool(text.strip()) and lone_surrogate(text) is None
