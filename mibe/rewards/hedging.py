"""Whether an answer of a closed set leaves it open between several: by what it offers, not by the doubt in its words.

"B, since A may cause harm" gives B and a reason. "It could be A, but it could also be B", "B (or A)", "B, but A is
also correct" and "1. B 2. A" give two answers, though a parser takes the first. The rules look at the text as the
parser does: each answer one mark, what is denied or conceded turned down (`mibe.parsers.marks`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mibe.parsers.answers import Grammar
from mibe.parsers.closed import ClosedAnswer, as_read
from mibe.parsers.marks import ANSWER, ANY, DOWN, Kind, Mention, index_of, kind_of
from mibe.parsers.statements import PHRASE_END

_CLAUSE = re.compile(
    r"(?<=[.!?;])\s+|\n|,\s+(?=(?:but|however|yet|still|so|thus|therefore|hence|the|i|my|we|our|it|this)\b)", re.I
)
"""Between clauses: "Although it may seem no, the answer is yes" gives its answer in the second one."""

_ANSWER, _ANY = re.compile(ANSWER), re.compile(ANY)
_OFFERED = re.compile(
    r"\b(?:could|may|might|maybe|perhaps|possibly|probably|likely|either)\b"
    rf"(?:[ ,]+(?:also|well|just|as|be|it|is|that|the|an?|correct|best|right|answer|option|choice|label|type)\b){{0,6}}"
    rf"[ ,\"'(]*{ANSWER}",
    re.I,
)
_DEPENDS = re.compile(r"\bdepend(?:s|ing)?\b|\bin some\b.*\bin others\b", re.I | re.S)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_OTHER = (
    r"(?:[ ,]+(?:also|maybe|perhaps|possibly|even|alternatively|option|choice|label)\b){0,3}"
    rf"[ ,:\"'(]*(?P<other>{ANSWER})[ \"')\]]*(?:[.;!?\n]|\Z)"
)
_JOINED = re.compile(
    rf"(?P<one>{ANSWER})[ ,;:(\"')\]-]*\b(?:and|or|but|alternatively|maybe|perhaps|possibly)\b{_OTHER}", re.I
)
_OTHERWISE = re.compile(rf"(?P<one>{ANSWER}|{DOWN})[^.;!?\n]{{0,80}}\b(?:otherwise|if not|or else)\b{_OTHER}", re.I)
_ALSO_RIGHT = re.compile(
    rf"(?P<other>{ANY})[ \"')\]]*(?:is|was|are|would be|could be|may be|might be|seems)[ ](?:"
    r"(?:also|equally|likewise|just as|as|too)[ ](?:the |an? )?(?:correct|right|true|answer)\b"
    r"|(?:correct|right|true)[ ,]+(?:as well|too|also)\b)",
    re.I,
)
_ITEM = re.compile(r"(?:^|(?<=\s))\(?\d{1,2}[.)]")
_WORD = re.compile(r"\w")


def leaves_open(parser: ClosedAnswer, answer: str, choices: Sequence[str], value: str) -> bool:
    """Whether an answer of which `value` was read gives another one beside it, or settles on none.

    "It could be A or B. The answer is B." is an answer, since its second sentence gives it alone. So is
    "A 60 %, B 40 %", which pays no more than A alone would; "50 %" of each leaves it open.
    """
    grammar = parser.grammar(choices)
    if grammar is None or not (_names_several(grammar.find(answer)) or "\\" in answer):
        return False  # most answers; a line end that is written out may hide a name
    answer = as_read(answer)
    mentions = grammar.find(answer)
    if not _names_several(mentions):
        return False
    text, read = grammar.marked(answer, mentions), list(grammar.answers).index(value)
    return _is_row(text) or _adds_another(text, read) or _only_offers(parser, grammar, answer, choices, value)


def _names_several(mentions: Sequence[Mention]) -> bool:
    return len({mention.index for mention in mentions}) > 1


def _is_row(text: str) -> bool:
    """Whether a text is several answers and nothing else, whatever signs stand between them."""
    several = len({index_of(found[0]) for found in _ANSWER.finditer(text)}) > 1
    return several and not _WORD.search(_ANY.sub("", _ITEM.sub("", text)))


def _adds_another(text: str, read: int) -> bool:
    """Whether another answer is joined to the one that was read, stands for another case, or is called as right."""
    joined = ((index_of(found["one"]), index_of(found["other"])) for found in _JOINED.finditer(text))
    cases = ((index_of(found["one"]), index_of(found["other"])) for found in _OTHERWISE.finditer(text))
    return (
        any(one == read != other for one, other in joined)
        or any(one != other for one, other in cases)
        or any(index_of(found["other"]) != read for found in _ALSO_RIGHT.finditer(text))
    )


def _only_offers(parser: ClosedAnswer, grammar: Grammar, answer: str, choices: Sequence[str], value: str) -> bool:
    """Whether the clauses that offer several answers are all that the value was read from."""
    shares = [float(share) for share in _PERCENT.findall(answer)]
    ties = bool(shares) and shares.count(max(shares)) > 1
    clauses = _CLAUSE.split(answer)
    offers = [set(_offered(grammar.marked(clause, grammar.find(clause)), ties=ties)) for clause in clauses]
    if len(set().union(*offers)) < 2:
        return False
    rest = "\n".join(clause for clause, offered in zip(clauses, offers, strict=True) if not offered)
    return parser(rest, choices=choices) != value


def _offered(clause: str, *, ties: bool) -> Iterator[int]:
    """The answers that a clause offers and does not give."""
    if _DEPENDS.search(clause) or (ties and _PERCENT.search(clause)):
        yield from _names(clause, _ANSWER)
    yield from _names(clause, _OFFERED)


def _names(text: str, pattern: re.Pattern[str]) -> Iterator[int]:
    """The answers at the ends of what a pattern finds; one that is an ordinary word too where it ends a phrase."""
    for found in pattern.finditer(text):
        mark = found[0][-1]
        if kind_of(mark) is not Kind.WORD or PHRASE_END.match(text, found.end()):
            yield index_of(mark)
