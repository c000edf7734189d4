"""Why a server's answer ended, which lm-eval's classes for HTTP APIs read over: they return the text alone.

A prompt that a filter declined, an answer that was broken off and an error of status 200 are all text to them: what
there was of it, "", or a placeholder of lm-eval's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from mibe.models.base import FinishReason
from mibe.models.finish import finish_of, not_an_end


class Ended(str):
    """A text that knows why it ended."""

    finish_reason: FinishReason

    def __new__(cls, text: str, finish_reason: FinishReason) -> Ended:
        """The text, with what ended it."""
        made = super().__new__(cls, text)
        made.finish_reason = finish_reason
        return made


class BrokenOffError(Exception):
    """An answer that is none; lm-eval tries again what raises, where it asks over several connections."""


def tell_endings(lm: Any) -> None:
    """Let an object of a class for HTTP APIs return texts that know why they ended, and raise for what is no answer."""
    if isinstance(lm, import_module("lm_eval.models.api_models").TemplateAPI):
        lm.parse_generations = _telling(lm.parse_generations)


def _telling(parse: Callable[..., list[str | None]]) -> Callable[..., list[str | None]]:
    def parse_generations(outputs: Any, **options: Any) -> list[str | None]:
        bodies = outputs if isinstance(outputs, list) else [outputs]
        reasons = [reason for body in bodies for reason in _reasons(body)]
        texts = parse(outputs=outputs, **options)
        if len(reasons) != len(texts):
            # A class of another form: its texts are all that is known.
            return texts
        return [
            text if reason is None else Ended(text or "", reason) for text, reason in zip(texts, reasons, strict=True)
        ]

    return parse_generations


def _reasons(body: Any) -> Iterator[FinishReason | None]:
    """Why each choice in an answer's JSON ended, in the order of the texts; None where the server does not say."""
    if not isinstance(body, Mapping):
        return
    if body.get("error") and not body.get("choices"):
        raise BrokenOffError(f"the server answered with an error: {str(body['error'])[:300]}")
    if "choices" not in body:
        # Anthropic's form: one answer, and its reason beside it.
        yield _finish(body.get("stop_reason"))
        return
    for choice in sorted(body["choices"] or (), key=lambda choice: int(choice.get("index") or 0)):
        yield _finish(choice.get("finish_reason"))


def _finish(reason: Any) -> FinishReason | None:
    if not reason:
        return None
    found = finish_of(str(reason))
    if found is None:
        raise BrokenOffError(not_an_end(str(reason)))
    return found
