"""Worked examples: chosen from the train split alone, balanced over labels, and never what is evaluated."""

from __future__ import annotations

import hashlib
import heapq
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from typing import NamedTuple, Protocol, TypeAlias

from mibe.errors import DataError, UsageError
from mibe.task import Example, Task

TRIES = 50
"""Seeds tried for each draw that was found, on average, before there are held to be no more."""

REMEMBERED = 64
"""Keys whose draws are kept: the versions of a document are asked side by side."""


def shot_order(seed: int, ident: str) -> str:
    """A key that shuffles the same way on every machine and Python version, whatever the order of the file."""
    return hashlib.sha256(f"{seed}\0{ident}".encode()).hexdigest()


def content_hash(example: Example) -> int:
    """Hash of what the model sees of an example, white space and case aside: equal content is a leak."""
    seen = " ".join(" ".join(chain(example.inputs.values(), example.choices)).lower().split())
    return int.from_bytes(hashlib.blake2b(seen.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class Candidate(NamedTuple):
    """What is known of a possible worked example while examples are chosen; `place` is its index in the train split."""

    place: int
    id: str
    label: str


class Pool(Protocol):
    """A train split: examples in their order, and each by its place in it."""

    def __iter__(self) -> Iterator[Example]: ...

    def __getitem__(self, place: int, /) -> Example: ...


Candidates: TypeAlias = Mapping[str, Sequence[Candidate]]
"""What examples must agree in with the document ("" where in nothing) → those that do, in the order of the split."""


def choose_shots(candidates: Sequence[Candidate], count: int, *, seed: int, key: str = "") -> list[Candidate]:
    """`count` of the candidates, balanced over labels, the same for every equal `seed` and `key`.

    Labels take turns, so that five shots over three labels are two, two and one.
    """

    def order(candidate: Candidate) -> str:
        return shot_order(seed, key + candidate.id)

    by_label: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_label.setdefault(candidate.label, []).append(candidate)
    queues = [heapq.nsmallest(count, queue, key=order) for queue in by_label.values()]
    turns = sorted(filter(None, queues), key=lambda queue: order(queue[0]))
    rounds = chain.from_iterable(zip_longest(*turns))
    chosen = islice((candidate for candidate in rounds if candidate is not None), count)
    return sorted(chosen, key=lambda candidate: shot_order(seed + 1, key + candidate.id))


def balance_label(task: Task, example: Example) -> str:
    """The label that shots are balanced over: the first of a set, the type of the first entity; texts are one class."""
    target = example.target
    first = (target[0] if target else "") if isinstance(target, list | tuple) else target
    if isinstance(first, list | tuple):  # an entity, [type, start, end]: most sentences of a note have none
        return str(first[0])
    return str(first) if task.labels or example.choices else ""


@dataclass
class _Draws:
    """The draws of a key that differ, in their order, and how many seeds they took."""

    found: list[tuple[Candidate, ...]] = field(default_factory=list)
    tried: int = 0


@dataclass(frozen=True)
class Shots:
    """The worked examples of a task for one run, chosen from its train split alone.

    `candidates` never hold an example whose content also stands in the evaluated split (`leaked` lists those left out).
    They are ids and places: an example is read from `train` when it is chosen, so that a train split of any size fits.
    """

    task: Task
    train: Pool
    candidates: Candidates
    count: int
    seed: int
    leaked: tuple[str, ...] = ()
    per_document: bool = False
    draw: int = 0
    """Which draw of examples this is: 0 is the usual choice, others are chosen by seeds of their own, none twice."""
    _found: dict[str, _Draws] = field(default_factory=dict, repr=False, compare=False)
    """Key → its draws so far, the same for the `Shots` of all draws."""

    @classmethod
    def prepare(
        cls,
        task: Task,
        train: Pool,
        evaluated: Iterable[Example],
        count: int,
        *,
        seed: int,
        per_document: bool = False,
    ) -> Shots:
        """Check the number against the train split and leave out of it whatever is evaluated."""

        # MMLU asks some questions in two subjects; only a subject's own test split is shown after its examples.
        def seen(example: Example) -> tuple[str, int]:
            return _matched(task, example), content_hash(example)

        hashes = {seen(example) for example in evaluated}
        candidates: dict[str, list[Candidate]] = {}
        leaked: list[str] = []
        for place, example in enumerate(train):
            if not task.includes(example):
                continue
            if seen(example) in hashes:
                leaked.append(example.id)
            else:
                label = sys.intern(balance_label(task, example))
                candidates.setdefault(_matched(task, example), []).append(Candidate(place, example.id, label))
        smallest = min(map(len, candidates.values()), default=0)
        if not 0 <= count <= smallest:
            raise UsageError(
                f"{task.name}: --num-fewshot {count} is out of range, the train split has {smallest} examples"
                + (f" for each {task.shots_match}" if task.shots_match else "")
            )
        return cls(task, train, candidates, count, seed, tuple(leaked), per_document)

    def matching(self, example: Example) -> str:
        """What tells this document's shots from another's: "" when all documents have the same."""
        if self.task.shots_match is not None:
            return _matched(self.task, example)
        return example.id if self.per_document else ""

    def choose(self, key: str) -> tuple[Example, ...]:
        """The worked examples for documents whose `matching` is `key`.

        Where they must match the document (MMLU's subject) the usual ones are the first, as their authors list them.
        Raises `UsageError` where there are not as many draws.
        """
        if len(self._found) > REMEMBERED:
            self._found.clear()
        known = self._found.setdefault(key, _Draws())
        while len(known.found) <= self.draw:
            chosen = self._chosen(key, known.tried)
            known.tried += 1
            if chosen not in known.found:
                known.found.append(chosen)
            elif known.tried > TRIES * len(known.found):
                raise UsageError(
                    f"{self.task.name}: --vary shots:{self.draw + 1} is out of range: {len(known.found)} draws of "
                    f"{self.count} worked examples were found that differ; give fewer"
                )
        return tuple(self._read(candidate) for candidate in known.found[self.draw])

    def check_draws(self) -> None:
        """Raise `UsageError` where there are not as many draws as `draw` asks for, of any kind of document."""
        for key in self.candidates:
            self.choose(key)

    def _chosen(self, key: str, number: int) -> tuple[Candidate, ...]:
        """The usual choice for number 0, and one by another seed for each other number."""
        matched = self.task.shots_match is not None
        pool = self.candidates.get(key if matched else "", ())
        if matched and not number:
            return tuple(pool)[: self.count]
        # Two seeds that stand side by side would share a shuffle.
        return tuple(choose_shots(pool, self.count, seed=self.seed + 2 * number, key=key))

    def _read(self, candidate: Candidate) -> Example:
        example = self.train[candidate.place]
        if example.id != candidate.id:
            raise DataError(f"{self.task.name}: the train split was replaced during the run; give the command again")
        return example


def _matched(task: Task, example: Example) -> str:
    """What a worked example and the document must have in common: "" where it is nothing."""
    return "" if task.shots_match is None else example.metadata.get(task.shots_match, "")
