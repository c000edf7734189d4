"""What to do about an answer that is none: try again and when, take it as a refusal, or stop. Pure functions."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from mibe.models.openai.format import Problem

FIRST_WAIT = 0.5
"""Seconds before the second attempt, at most; doubled for each further one."""

_MONEY = re.compile(r"insufficient_quota|billing_hard_limit|insufficient_balance|billing_not_active", re.I)
_POLICY = re.compile(r"content_filter|content_policy|responsibleaipolicy|moderation|invalid_prompt|flagged", re.I)
# Between "model" and "not found" there is a name: no end of a sentence, and no JSON, which may be the prompt's echo.
_MODEL = re.compile(
    r"model_not_found|invalid_model|\b(unknown|no such) model\b|\binvalid model( name\b| id\b|:|$)"
    r"|\bnot a valid model\b"
    r"|\bmodel\b((?!\. )[^;{}\[\]]){0,100}?\b(not found|not exist|doesn't exist)\b",
    re.I | re.S,
)
_TOO_LARGE = re.compile(r"request too large|must be reduced in order to run", re.I)
_ASKED = re.compile(r"\blimit:? *([\d,]+).*?\brequested:? *([\d,]+)", re.I | re.S)
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Action(Enum):
    """What a problem calls for."""

    RETRY = auto()
    """A passing failure of the server."""
    SLOW_DOWN = auto()
    """The same, because of too many requests: ask less at once."""
    FEW = auto()
    """An answer that came to nothing: a few attempts more, for each may be charged."""
    REFUSED = auto()
    """A content filter declined this one prompt."""
    BAD = auto()
    """This one request is wrong; others may be right."""
    NO_MONEY = auto()
    """The account is empty: no request will be answered until its owner does something."""
    FATAL = auto()
    """No request will ever be answered: wrong key, wrong model, wrong address."""


def action_for(problem: Problem) -> Action:
    """What to do about a status and an error message."""
    status = problem.status
    if problem.spent:
        return Action.FEW
    if status == 402 or _MONEY.search(problem.code):
        return Action.NO_MONEY
    if (status in (400, 422) or 200 <= status < 300) and _POLICY.search(problem.code):
        return Action.REFUSED
    if status == 403 and _POLICY.search(f"{problem.code} {problem.message}"):
        return Action.REFUSED
    if status in (400, 422) and _MODEL.search(f"{problem.code} {problem.message}"):
        return Action.FATAL
    if status == 429 and asks_too_much(problem.message):
        return Action.BAD
    if status in (429, 503, 529):
        return Action.SLOW_DOWN
    if status in (401, 403, 404, 405, 501) or 300 <= status < 400:
        return Action.FATAL
    if status in (408, 409, 425) or status >= 500 or status < 300:
        return Action.RETRY
    return Action.BAD


def asks_too_much(message: str) -> bool:
    """Whether one request is larger than all that the server allows in a minute: no pause makes it fit."""
    asked = _ASKED.search(message)
    limit, requested = (int(number.replace(",", "") or 0) for number in asked.groups()) if asked else (0, 0)
    return requested > limit or _TOO_LARGE.search(message) is not None


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `retry-after` as seconds or as a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        at = parsedate_to_datetime(headers["retry-after"])
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())
    except (KeyError, ValueError, OverflowError):
        return None


def backoff(attempt: int, longest: float, rng: random.Random) -> float:
    """Seconds before the attempt after number `attempt` (from 0): twice as long each time, a random part of it.

    The random part ("full jitter", but never under a tenth) keeps clients that failed together from returning together.
    """
    ceiling = min(longest, FIRST_WAIT * 2.0 ** min(attempt, 30))
    return ceiling * rng.uniform(0.1, 1.0)


def duration(text: str) -> float | None:
    """Seconds of "6m0s", "1.5s" or "20ms", as `x-ratelimit-reset-*` says it; None for anything else."""
    at, seconds = 0, 0.0
    while (part := _DURATION.match(text, at)) is not None:
        at, seconds = part.end(), seconds + float(part[1]) * _SECONDS[part[2]]
    return seconds if at == len(text) > 0 else None


def exhausted(headers: Mapping[str, str]) -> float | None:
    """Seconds until one more request fits, where `x-ratelimit-*` says that none is left.

    The reset header names the time until the whole allowance is back; allowances fill up evenly, so one request's
    part of it is enough. For tokens it is a tenth, since the size of a request varies.
    """
    waits = []
    for kind in ("requests", "tokens"):
        try:
            left, limit = int(headers[f"x-ratelimit-remaining-{kind}"]), int(headers[f"x-ratelimit-limit-{kind}"])
            reset = duration(headers[f"x-ratelimit-reset-{kind}"])
        except (KeyError, ValueError):
            continue
        if left <= 0 and reset is not None:
            waits.append(reset / (max(1, limit) if kind == "requests" else 10))
    return max(waits, default=None)
