"""Answers in JSON, or in what models write for it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

_SINGLE_QUOTED = re.compile(r"[{\[]\s*'[^'\"\n]*'\s*[:,\]]")
_JSON_START = re.compile(r"[{\[]")
_ANSWER_KEY = re.compile(
    r"answer|label|choice|option|predict|categor|class|relation|output|result|special|domain|diagnos|decision"
    r"|response|topic|hallmark|conclusion|verdict|letter|final|type",
    re.I,
)
_OTHER_KEY = re.compile(
    r"expla|reason|ration|confid|evidence|justif|comment|note|thought|step|text|question|analysis|prob"
)
_VERDICTS = (True, "yes", "true", False, "no", "false")
NOTHING = object()
"""There is no JSON, which is not the same as a JSON null."""


def find_json(text: str) -> Any:
    """The first JSON object or array in the text, or `NOTHING`."""
    decoder = json.JSONDecoder(strict=False)
    for tries, start in enumerate(_JSON_START.finditer(text)):
        if tries == 8:
            break
        try:
            value, _ = decoder.raw_decode(_double_quoted(text, start.start()), start.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) or (isinstance(value, list) and all(isinstance(v, str | dict) for v in value)):
            return value
    return NOTHING


def _double_quoted(text: str, start: int) -> str:
    """Python's way to write an object as JSON's."""
    return text.replace("'", '"') if _SINGLE_QUOTED.match(text, start) else text


def json_answer(value: Any, answers: Collection[str] = ()) -> Any:
    """The part of a JSON value that holds the answer: a string, a list of them, or `NOTHING`.

    Where each of the `answers` has a number, it is the one with the highest; where several have it, there is none.
    """
    known = {answer.casefold() for answer in answers}
    for _ in range(4):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict):
            keys = [key for key in value if not _OTHER_KEY.search(key.lower())]
            named = [key for key in keys if _ANSWER_KEY.search(key)]
            best = [key for key in named if re.search("final|answer", key, re.I)] or named or keys
            scores = {key: _number(item) for key, item in value.items() if key.casefold() in known}
            if len(scores) > 1 and all(score is not None for score in scores.values()):
                best = [key for key in scores if scores[key] == max(filter(None, scores.values()), default=0)]
                return best[0] if len(best) == 1 else None
            if keys and not named and all(value[key] in _VERDICTS for key in keys):
                value = [key for key in keys if value[key] in _VERDICTS[:3]]
                continue
            if len(best) != 1 and not named:
                return NOTHING
            value = value[best[-1] if len(best) == 1 else best[0]]
        else:
            break
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _number(value: Any) -> float | None:
    """A number, also one written as a percentage."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,3}(?:\.\d{1,6})?\s*%?\s*", value):
        return float(value.strip(" %\n"))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
