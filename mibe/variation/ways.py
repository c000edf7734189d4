"""`--vary`: which ways documents are varied in, and everything a task needs for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from mibe.errors import UsageError, unknown
from mibe.task import Example, Task
from mibe.variation import attributes, distractor, noise, options, shots, wording
from mibe.variation.varied import Refused, Varied, Way, WayMaker, itself, variant

VERSION = 3
"""It goes up whenever the same document has other variants: rules, sentences or wordings changed."""

ROBUSTNESS: Mapping[str, WayMaker] = {
    "options": options.make,
    "wording": wording.maker({}),
    "shots": shots.make,
    "noise": noise.make,
    "distractor": distractor.make,
}
"""Ways that change nothing of what is asked."""

FAIRNESS: Mapping[str, WayMaker] = {name: attributes.maker(name) for name in attributes.ATTRIBUTES}
"""Ways that change who the patient is."""

BASELINE = attributes.BASELINE
"""The change that means nothing, beside those of `FAIRNESS`."""

MOST = 100
"""Versions that a document may have in one way."""


@dataclass(frozen=True)
class Variation:
    """How one task's documents are varied. `tasks` is wording → the task asked so, the usual one always among them."""

    task: Task
    spec: str
    ways: tuple[Way, ...]
    tasks: Mapping[str, Task]

    def of(self, document: Example, refused: Counter[tuple[str, str]] | None = None) -> Iterator[Example]:
        """The document itself and its versions; itself alone where every way refuses it.

        `refused` counts the (way, reason) of what is left as it is.
        """
        found: list[Varied] = []
        stands: dict[str, str] = {}
        order, has_attribute = "", False
        for way in self.ways:
            made = way.of(document)
            if isinstance(made, Refused):
                if refused is not None:
                    refused[way.name, str(made)] += 1
                continue
            if way.name == BASELINE and not has_attribute:
                # Beside no attribute there is nothing to compare it with.
                continue
            has_attribute = has_attribute or way.name in FAIRNESS
            if made.itself is not None:
                stands[way.name] = made.itself
                order = order or made.order
            found += [variant(document, way.name, value, version) for value, version in made.others.items()]
        yield itself(document, stands, order) if found and stands else document
        yield from found

    def wording_of(self, example: Example) -> str:
        """In which wording this version of a document is asked."""
        return example.stands.get(wording.NAME, wording.TABLE) if isinstance(example, Varied) else wording.TABLE

    def asked_as(self, example: Example) -> tuple[str, int]:
        """The wording and the draw of worked examples of this version of a document."""
        return self.wording_of(example), draw_of_shots(example)

    def task_of(self, example: Example) -> Task:
        """The task as this version of a document is asked it."""
        return self.tasks[self.wording_of(example)]

    @property
    def draws(self) -> int:
        """How many draws of worked examples there are."""
        return next((way.count for way in self.ways if isinstance(way, shots.Draws)), 1)

    def with_tasks(self, change: Callable[[Task], Task]) -> Variation:
        """The same with something else changed in the task, in each of its wordings."""
        return replace(self, task=change(self.task), tasks={name: change(task) for name, task in self.tasks.items()})


def draw_of_shots(example: Example) -> int:
    """Which draw of worked examples stands before this version of a document; 0 is the usual one."""
    return int(example.stands.get(shots.NAME, 0)) if isinstance(example, Varied) else 0


def check(spec: str) -> dict[str, int | None]:
    """Way → number of versions, None for its own, of a `--vary` such as "options,noise:4". Raises `UsageError`."""
    found: dict[str, int | None] = {}
    for part in list(filter(str.strip, spec.split(","))) or [spec]:
        name, _, count = part.strip().partition(":")
        if name not in ROBUSTNESS and name not in FAIRNESS:
            raise unknown("way of --vary:", name, [*ROBUSTNESS, *(way for way in FAIRNESS if way != BASELINE)])
        if name in found:
            raise UsageError(f"--vary names {name} twice; leave one out")
        if count and name in FAIRNESS:
            raise UsageError(f"--vary {part}: {name} has its own values; leave out :{count}")
        if ":" in part and not (re.fullmatch(r"\d{1,3}", count) and 2 <= int(count) <= MOST):
            raise UsageError(f"--vary {part}: a document has from 2 to {MOST} versions, itself among them")
        found[name] = int(count) if count else None
    if found.keys() & FAIRNESS.keys() == {BASELINE}:
        raise UsageError(f"--vary {BASELINE} is what attributes are compared with; name one, as in sex,{BASELINE}")
    if found.keys() & FAIRNESS.keys():
        # Last, since a document that no attribute changes needs no baseline.
        found.pop(BASELINE, None)
        found[BASELINE] = None
    return found


def variation_of(task: Task, spec: str, *, seed: int, has_shots: bool, own_answers: bool) -> Variation:
    """How the documents of a task are varied; `own_answers` is that of `wording.worded`.

    Raises `UsageError` where the task cannot be varied so.
    """
    counts = check(spec)
    if shots.NAME in counts and not has_shots:
        raise UsageError(f"{task.name}: --vary shots needs worked examples; give a --num-fewshot with it")
    is_worded = wording.NAME in counts
    tasks = wording.worded(task, own_answers=own_answers) if is_worded else {wording.TABLE: task}
    makers = {**ROBUSTNESS, **FAIRNESS, wording.NAME: wording.maker(tasks)}
    return Variation(task, spec, tuple(makers[name](task, count, seed) for name, count in counts.items()), tasks)
