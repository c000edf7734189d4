"""A stretch of text copied from the context (emrQA)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mibe.parsers.text import free_text, is_refusal

_LABEL = re.compile(r"\s*(?:(?:the )?(?:final |correct )?answer(?: is)?|answer text)\s*[:：]\s*", re.I)
_NEXT = re.compile(r"\n[ ]*(?:question|context|q|input)[ ]*:", re.I)
_FENCED = re.compile(r"```(?:[\w+-]*\n)?((?:(?!```).)*)```", re.DOTALL)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`"}


@dataclass(frozen=True)
class ExtractedAnswer:
    """Reads a copied answer: "Answer:", a code fence, one pair of quotes and what surrounds any answer are removed.

    Nothing else is, since exact match is scored on the rest.
    """

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """The text, or None where it is empty or a refusal."""
        text = free_text(output)
        label = _LABEL.match(text)
        if label:
            text = text[label.end() :]
        following = _NEXT.search(text)
        if following and text[: following.start()].strip():
            text = text[: following.start()]
        fenced = _FENCED.fullmatch(text.strip())
        text = unquote((fenced[1] if fenced else text).strip()).strip()
        return text if text and not is_refusal(text[:300]) else None


def unquote(text: str) -> str:
    """Without one pair of quotes around the whole text; quotes around a part of it stay."""
    if len(text) < 2 or _QUOTES.get(text[0]) != text[-1] or text.startswith("```"):
        return text
    inside, mark = text[1:-1], re.escape(text[-1])
    closes_early = re.search(rf"(?<=[^\s]){mark}(?=[\s.,;:!?)]|$)", inside)
    opens_again = re.search(rf"(?:^|\s){mark}(?=\S)", inside)
    early = closes_early is not None and (opens_again is None or closes_early.start() < opens_again.start())
    return text if early else inside
