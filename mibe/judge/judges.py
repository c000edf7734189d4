"""Judges of ranked diagnoses: is a predicted diagnosis the true one? By spelling, or by asking a model.

A model is asked the question of McDuff et al. 2023 once for each diagnosis that spelling does not decide, rank by rank,
and no further than the first match of a case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from mibe.metrics.diagnosis_names import same_diagnosis
from mibe.models import as_model, load_model, parse_model
from mibe.models.base import Message, Model, Request, Response, Sampling
from mibe.models.reasoning import room_to_think
from mibe.parsers.text import free_text, normalise, strip_markup
from mibe.results import schema
from mibe.results.cache import Key, ResponseCache, as_kept, cache_key, cache_path

DEPTH = 5
"""Ranks that are judged: as deep as top-k accuracy goes."""

EXACT = "exact"
QUESTION = (
    "Is our predicted diagnosis correct (y/n)? Predicted diagnosis: {predicted} True diagnosis: {true} Answer [y/n]."
)
"""McDuff et al. 2023, verbatim. Several accepted names stand there separated by semicolons."""

MAX_NEW_TOKENS = 256
"""A verdict is one token; the rest is for models that cannot help explaining themselves."""

ATTEMPTS = 2
_VERSION = 1

_VERDICT = re.compile(
    r"""[\s"'(\[]*(?:(?:the\ )?(?:final\ )?answer\s*(?:is)?\s*:?[\s"'(\[]*)?"""
    r"""(y|n|yes|no)\b(?=[\s"')\]]*(?:[.,;:!\n-]|\Z))""",
    re.I,
)
# "Yes. There is no difference" stands; "Yes … no." does not.
_TAKEN_BACK = {"y": re.compile(r"\bno?\b(?=\s*(?:[.,;:!?]|\Z))", re.I), "n": re.compile(r"\by(?:es)?\b", re.I)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one diagnosis: whether it is the true one (None: the judge's answer cannot be read, which is no match).

    `source` is "exact" where spelling decided, else the judge's name; `raw` is what the judge wrote.
    """

    rank: int
    diagnosis: str
    match: bool | None
    raw: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Case:
    """The ranked diagnoses of one document and the names that count as right."""

    diagnoses: tuple[str, ...]
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdicts on one case up to its first match, or the error for which there is none."""

    verdicts: tuple[Verdict, ...]
    error: str | None = None


class Judge(Protocol):
    """Gives verdicts. `model` is what is asked (None: nothing is), `identity` tells judges apart in a run record."""

    name: str
    identity: Any
    model: Model | None

    def judge(self, cases: Sequence[Case]) -> list[Judgement]:
        """One judgement a case, in order."""
        ...

    def close(self) -> None:
        """Free what the judge holds."""
        ...


Judging: TypeAlias = str | Model | Judge | Callable[[list[str]], list[str]]
"""What a judge may be given as: see `load_judge`."""


class ExactJudge:
    """Says yes to an accepted name in another spelling, and no to everything else."""

    name = EXACT
    identity: Any = EXACT
    model: Model | None = None

    def judge(self, cases: Sequence[Case]) -> list[Judgement]:
        """One judgement a case, in order."""
        return [Judgement(tuple(_by_spelling(case))) for case in cases]

    def close(self) -> None:
        """Nothing to free."""


def _by_spelling(case: Case) -> Iterable[Verdict]:
    for rank, diagnosis in enumerate(case.diagnoses[:DEPTH], start=1):
        match = same_diagnosis(diagnosis, case.accepted)
        yield Verdict(rank, diagnosis, match, None, EXACT)
        if match:
            return


class ModelJudge:
    """Asks a model, at temperature 0. An answer that cannot be read is asked for once more."""

    def __init__(self, model: Model, cache: ResponseCache | None = None) -> None:
        self.name = model.name
        self.identity: Any = model.identity
        self.model: Model | None = model
        self._model = model
        self._cache = cache if model.identity is not None else None

    def judge(self, cases: Sequence[Case]) -> list[Judgement]:
        """One judgement a case, in order; all undecided cases are asked about together, one rank after the other."""
        verdicts: list[list[Verdict]] = [[] for _ in cases]
        errors: dict[int, str] = {}
        for rank in range(1, DEPTH + 1):
            asked: list[tuple[int, str]] = []
            for number, case in enumerate(cases):
                decided = number in errors or any(verdict.match for verdict in verdicts[number])
                if decided or len(case.diagnoses) < rank:
                    continue
                diagnosis = case.diagnoses[rank - 1]
                if same_diagnosis(diagnosis, case.accepted):
                    verdicts[number].append(Verdict(rank, diagnosis, True, None, EXACT))
                else:
                    asked.append((number, diagnosis))
            answers = self.ask([question(diagnosis, cases[number].accepted) for number, diagnosis in asked])
            for (number, diagnosis), answer in zip(asked, answers, strict=True):
                if answer.finish_reason == "error":
                    errors[number] = f"judge {self.name}: {answer.error}"
                else:
                    verdict = Verdict(rank, diagnosis, read_verdict(answer.answer), answer.text, self.name)
                    verdicts[number].append(verdict)
        return [Judgement(tuple(found), errors.get(number)) for number, found in enumerate(verdicts)]

    def ask(self, questions: Sequence[str]) -> list[Response]:
        """The last answer to each question; equal ones are asked once, and again if their answer cannot be read."""
        answers: dict[str, Response] = {}
        waiting = list(dict.fromkeys(questions))
        for attempt in range(ATTEMPTS):
            answers |= self._generate(waiting, attempt)
            waiting = [text for text in waiting if read_verdict(answers[text].answer) is None]
        return [answers[text] for text in questions]

    def _generate(self, questions: Sequence[str], attempt: int) -> dict[str, Response]:
        requests = [self._request(text, attempt) for text in questions]
        keys = [self._key(request) for request in requests] if self._cache else []
        stored = self._cache.get(keys, schema.response) if self._cache else {}
        answers = {text: Response(**stored[key]) for text, key in zip(questions, keys, strict=False) if key in stored}
        missing = [number for number, text in enumerate(questions) if text not in answers]
        for index, response in self._model.generate([requests[number] for number in missing]):
            number = missing[index]
            answers[questions[number]] = response
            if self._cache is not None and response.finish_reason != "error":
                # Each at once: no log has it before all of its case is judged, and a kill would lose what was paid.
                self._cache.put({keys[number]: as_kept(response)})
        return answers

    def _request(self, text: str, attempt: int) -> Request:
        messages = (Message(role="user", content=text),)
        # A server may answer the same request the same way: the second attempt has another seed.
        budget = room_to_think(self._model, None, MAX_NEW_TOKENS)
        sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=0.0, seed=attempt, thinking_budget=budget)
        return Request(messages, self._model.render(messages), sampling)

    def _key(self, request: Request) -> Key:
        return cache_key(cast(Any, self.identity), request.text, request.sampling.in_key(), "judge", _VERSION)

    def close(self) -> None:
        """Close the model and the cache."""
        self._model.close()
        if self._cache is not None:
            self._cache.close()


def question(predicted: str, accepted: Sequence[str]) -> str:
    """What the model is asked about one predicted diagnosis."""
    return QUESTION.format(predicted=predicted, true="; ".join(accepted))


def read_verdict(answer: str) -> bool | None:
    """Yes or no, or None: the answer must open with y, n, yes or no and must not take it back."""
    text = strip_markup(normalise(free_text(answer)))
    found = _VERDICT.match(text)
    if found is None:
        return None
    verdict = found[1][0].lower()
    return None if _TAKEN_BACK[verdict].search(text, found.end()) else verdict == "y"


def load_judge(judge: Judging, *, use_cache: bool = True) -> Judge:
    """A judge from "exact", a model's name with its arguments as `parse_model` reads them, or an object."""
    if judge == EXACT:
        return ExactJudge()
    if hasattr(judge, "judge"):
        return cast(Judge, judge)
    model = load_model(*parse_model(judge)) if isinstance(judge, str) else as_model(cast(Model, judge))
    cached = use_cache and model.identity is not None
    return ModelJudge(model, ResponseCache(cache_path()) if cached else None)
