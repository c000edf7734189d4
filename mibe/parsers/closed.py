"""From an output to one answer of a closed set: JSON first, then the documents that the output may run on into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mibe.parsers.answers import NOTHING_READ, Grammar, Reading
from mibe.parsers.marks import without_foreign
from mibe.parsers.patterns import late
from mibe.parsers.structured import NOTHING, find_json, json_answer
from mibe.parsers.text import closed_text, documents, is_refusal, states_no_answer, strip_markup

_OPTION_LIST = late(r"\bOptions:|(?:^|\n)[ ]*\(?A[.):][ ].*(?:\n|[ ])\(?B[.):][ ]")
_ESCAPED = late(r"\\n(?!(?:eq?|u|abla|ot|otin|i|ewline|onumber|earrow|warrow)\b)")
"""A line end that was written out, and no macro of LaTeX."""

_BEGINS_A_LIST = late(r"\s*(?:\d{1,2}[.)]|[-*•+])[ ]")


def as_read(output: str) -> str:
    """An output as a grammar reads it: without markup, and without characters that would pass for marks."""
    return _plain(without_foreign(closed_text(output)))


def _plain(text: str) -> str:
    return strip_markup(_ESCAPED.sub("\n", text))


def read_closed(grammar: Grammar, output: str, *, cut: bool = False) -> Reading:
    """What an output gives as its answer."""
    text = without_foreign(closed_text(output))
    stated = json_answer(find_json(text), grammar.answers)
    if stated is not NOTHING:
        found = _read(grammar, stated, cut=False) if isinstance(stated, str) else NOTHING_READ
        return found if found.value is None else Reading(found.value, "JSON", found.words)
    if cut and _BEGINS_A_LIST.match(text):
        text = f"List.\n{text}"  # so that its first item does not open the text as an answer
    text = _plain(text)
    for number, document in enumerate(documents(text)):
        headed = number or not text.startswith(document)
        if headed and grammar.options and _OPTION_LIST.search(document) and not grammar.names_any(document):
            return NOTHING_READ  # an invented question
        found = _read(grammar, document, cut=cut)
        if found.value is not None:
            return found
        if is_refusal(document) or states_no_answer(document):
            return NOTHING_READ
    return NOTHING_READ


def _read(grammar: Grammar, text: str, *, cut: bool) -> Reading:
    return grammar.read(text, certain=not (is_refusal(text) or states_no_answer(text)), cut=cut)


class ClosedAnswer:
    """A parser that reads one answer of a closed set, by the grammar of the answers that there are."""

    def grammar(self, choices: Sequence[str]) -> Grammar | None:
        """How the answers are read; None where there is none to give."""
        raise NotImplementedError

    def plain(self, output: str, choices: Sequence[str]) -> str | None:
        """The answer of an output that gives one and nothing else, where that can be told at once; None for others."""
        return None

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """The answer, or None."""
        return self.explain(output, choices=choices).value

    def of_cut(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """The same from an output that the length limit ended: what is stated outright, or None."""
        return self.explain(output, choices=choices, cut=True).value

    def explain(
        self,
        output: str,
        *,
        choices: Sequence[str] = (),
        inputs: Mapping[str, str] | None = None,
        cut: bool = False,
    ) -> Reading:
        """What is read, by which rule and from which words."""
        grammar = self.grammar(choices)
        return NOTHING_READ if grammar is None else read_closed(grammar, output, cut=cut)
