"""How the released code reads answers: plain substring tests (Me-LLaMA, `src/tasks/vital_measure.py`).

None of these removes reasoning blocks, quotes or the prompt's own words from an output, or cuts it anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mibe.protocols.paper_marks import Tagged, tagged_words


@dataclass(frozen=True)
class FirstChoice:
    """The first choice, in their order, whose text occurs anywhere in the output, be it inside another word.

    `choices` maps the text looked for to the answer it stands for. So "unknown" is "no", and "According to …" is "A".
    """

    choices: Mapping[str, str]
    lower: bool

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """An answer, or None, which the released code calls "missing"."""
        text = output.lower() if self.lower else output
        return next((value for form, value in self.choices.items() if self._form(form) in text), None)

    def _form(self, choice: str) -> str:
        return choice.lower() if self.lower else choice


@dataclass(frozen=True)
class OnlyChoice:
    """The choice that occurs in the output, case-sensitive, if it is the only one that does (`DDI2013`)."""

    choices: Sequence[str]

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """A label, or None where none or several occur."""
        found = [choice for choice in self.choices if choice in output]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class EveryChoice:
    """All choices that occur in the output, case-sensitive (`HoC`)."""

    choices: Sequence[str]

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> list[str]:
        """A list of labels; where none occurs it is empty, and never missing."""
        return [choice for choice in self.choices if choice in output]


@dataclass(frozen=True)
class Verbatim:
    """The output as it is, white space included (emrQA and the summaries)."""

    def __call__(self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None) -> str:
        """The output itself, also where it is empty."""
        return output


@dataclass(frozen=True)
class MarkedWords:
    """The words of the output with their tags, and the sentence that was to be marked, for the alignment with it."""

    field: str = "text"

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> dict[str, str | list[Tagged]] | None:
        """{"sentence": text, "words": [[word, tag], …]}, or None for markup on which the released code breaks off."""
        words = tagged_words(output)
        return None if words is None else {"sentence": (inputs or {}).get(self.field, ""), "words": words}
