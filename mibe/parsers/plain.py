"""Free text as the model wrote it, for summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mibe.parsers.text import free_text, is_refusal


@dataclass(frozen=True)
class PlainText:
    """Reads free text: reasoning blocks, template tokens and outer white space removed, nothing else changed."""

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """The text, or None where it is empty or a refusal."""
        text = free_text(output)
        return text if text and not is_refusal(text[:300]) else None
