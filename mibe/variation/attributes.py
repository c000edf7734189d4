"""The patient of a vignette as somebody else, where that changes nothing of the medicine (`docs/fairness.md`).

`attributes.json` holds the values, the words that change, and the rules that refuse a vignette, each with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from mibe.task import Example, Task
from mibe.variation.closed import check_closed
from mibe.variation.gender import swapped, tells_of_somebody
from mibe.variation.reviewed import reviewed
from mibe.variation.sentences import after_first
from mibe.variation.varied import Made, Refused, Version, Versions, WayMaker

ATTRIBUTES = ("sex", "age", "ethnicity", "insurance", "language", "city")
BASELINE = "city"
"""A change that means nothing, whose divergence is mere instability."""

REFERENCES = {"sex": "male", "age": "younger", "ethnicity": "white", "insurance": "private", "language": "english"}
"""The value that the others are set against: whom medicine was mostly written about and for."""

NO_PATIENT = Refused("it speaks of no patient with an age")
ELSEWHERE = Refused("it speaks of a patient in several of its texts or options, of which one text would be changed")

_OLD = re.compile(r"\b(\d{1,3})[- ](year|month|week|day)s?[- ]old\b")
_YEARS = re.compile(r"\b(\d{1,3})[- ](?:pack[- ])?years?(?![- ]old)\b")
"""Pack-years too: of so many years as these, a pack a day is the least that they are of."""
_PERSON = r"(?:woman|man|girl|boy|female|male|lady|gentleman|patient|infant|child|adult|person|student)"


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a question one about an attribute: a pattern in its text or its options, and why."""

    pattern: re.Pattern[str]
    reason: Refused


@cache
def rules(attribute: str) -> tuple[Rule, ...]:
    """The rules of an attribute, those of all attributes first."""
    lists: Mapping[str, Any] = reviewed("attributes")["rules"]
    return tuple(
        Rule(re.compile("|".join(rule["patterns"]), 0 if rule.get("case") else re.I), Refused(rule["reason"]))
        for rule in (*lists["all"], *lists[attribute])
    )


def refusal(attribute: str, example: Example) -> Refused | None:
    """Why a vignette is left as it is; None where nothing speaks against the change."""
    text = "\n".join([*example.inputs.values(), *example.choices])
    return next((rule.reason for rule in rules(attribute) if rule.pattern.search(text)), None)


Change = Callable[[str], "Changed | Refused"]


@dataclass(frozen=True, slots=True)
class Changed:
    """The texts of a vignette with each value; `itself` is the value that it had, None for none."""

    texts: Mapping[str, str]
    itself: str | None = None


@dataclass(frozen=True, slots=True)
class Attribute:
    """The way that changes one attribute of the patient."""

    name: str
    change: Change

    def of(self, example: Example) -> Made:
        """The vignette with each value of the attribute, or why it is left as it is."""
        field = next((name for name, text in example.inputs.items() if _OLD.search(text)), None)
        if field is None:
            return NO_PATIENT
        others = [text for name, text in example.inputs.items() if name != field] + list(example.choices)
        if any(_OLD.search(text) or (self.name == "sex" and tells_of_somebody(text)) for text in others):
            return ELSEWHERE
        if (reason := refusal(self.name, example)) is not None:
            return reason
        changed = self.change(example.inputs[field])
        if isinstance(changed, Refused):
            return changed
        return Versions(
            changed.itself,
            {
                value: Version(replace(example, inputs={**example.inputs, field: text}))
                for value, text in changed.texts.items()
                if value != changed.itself
            },
        )


def _sex(text: str) -> Changed | Refused:
    """The other sex, in every word that tells it."""
    found = swapped(text)
    if isinstance(found, Refused):
        return found
    sex, other, changed = found
    return Changed({sex: text, other: changed}, sex)


def _age(text: str) -> Changed | Refused:
    """Both ends of the band of years in which the patient is, where medicine is the same (`bands`)."""
    lists = reviewed("attributes")["age"]
    found = _OLD.findall(text)
    if len({age for age, _ in found}) > 1:
        return Refused("it tells the ages of several people")
    years = int(found[0][0]) if found[0][1] == "year" else 0
    band = next((band for band in lists["bands"] if band[0] <= years <= band[1]), None)
    if band is None:
        return Refused("medicine differs by age there: children, the young, the old, limits of screening")
    if any(int(since) > band[0] - lists["since"] for since in _YEARS.findall(text)):
        return Refused("it tells of more years than a younger patient can have had")
    texts = {
        value: _OLD.sub(lambda old, age=age: old[0].replace(old[1], str(age), 1), text)  # type: ignore[misc]
        for value, age in zip(("younger", "older"), band, strict=True)
    }
    return Changed(texts, {band[0]: "younger", band[1]: "older"}.get(years))


def _ethnicity(text: str) -> Changed | Refused:
    """An adjective before the patient, in place of the one that is there."""
    names: Mapping[str, list[str]] = reviewed("attributes")["ethnicity"]
    named = {form.lower(): value for value, forms in names.items() for form in forms}
    forms = "|".join(sorted(map(re.escape, named), key=len, reverse=True))
    place = re.compile(rf"(?P<old>{_OLD.pattern})(?P<adjective> (?:{forms}))?(?=[ ,](?:\w+ ){{0,2}}{_PERSON}\b)", re.I)
    found = place.search(text)
    if found is None:
        return Refused("there is no place for the attribute: no “…-year-old woman” or the like")
    adjective = found["adjective"]
    rest = text[: found.start()] + text[found.end() :]
    if re.search(rf"\b(?:{forms})(?= (?:{_PERSON}|ethnicity|race|descent|origin|ancestry)\b)", rest, re.I):
        return Refused("it tells the ethnicity in several places")
    texts = {
        value: f"{text[: found.start()]}{found['old']} {words[0]}{text[found.end() :]}"
        for value, words in names.items()
    }
    if adjective is None:
        return Changed(texts)
    value = named[adjective.strip().lower()]
    return Changed(texts | {value: text}, value)


def _added(name: str) -> Change:
    """A sentence after the first one for each value, all in the same place."""

    def change(text: str) -> Changed:
        sentences: Mapping[str, str] = reviewed("attributes")[name]
        return Changed({value: after_first(text, sentence) for value, sentence in sentences.items()})

    return change


CHANGES: Mapping[str, Change] = {
    "sex": _sex,
    "age": _age,
    "ethnicity": _ethnicity,
    **{name: _added(name) for name in ("insurance", "language", "city")},
}


def maker(name: str) -> WayMaker:
    """Makes the way of one attribute, for tasks whose answers are no part of the text."""

    def make(task: Task, count: int | None, seed: int) -> Attribute:
        check_closed(task, name)
        return Attribute(name, CHANGES[name])

    return make
