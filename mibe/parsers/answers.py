"""Which of the answers that a text mentions it gives: the decision that option letters and labels share.

A finder marks the answers (`mibe.parsers.marks`), rewriting turns down what can be no choice
(`mibe.parsers.rewriting`), and each sentence says what it states (`mibe.parsers.statements`). What remains is an order:
an answer that opens the text, what is stated, what is called right, what is concluded, what stands alone, and the only
answer that is mentioned. Two different answers of equal weight are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mibe.parsers.marks import (
    ANSWER,
    ANY,
    LETTERS,
    SEVERAL,
    STRONG,
    Finder,
    Kind,
    Mention,
    index_of,
    kind_of,
    show,
    write,
)
from mibe.parsers.patterns import late
from mibe.parsers.rewriting import rewrite
from mibe.parsers.statements import END, Statement, Strength, statements


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: the answer, the rule that read it, and the words that it was read from (empty: nothing was)."""

    value: str | None
    rule: str
    words: str = ""


_OTHER_OPTIONS = late(r"\n[ ]*\(?A[.):][ ].*\n\s*\(?B[.):][ ].*(?:\n\s*\(?C[.):][ ].*)?")
"""Options that a model may have invented, with a question of its own."""

NOTHING_READ = Reading(None, "nothing is chosen")

_SENTENCE_END = late(r"(?<=[.!?;])[\"')\]]*\s+(?=\S)|\n")


@dataclass(frozen=True)
class Grammar:
    """How a task's answers are read: its finder, its answers as people read them, and whether they are options."""

    find: Finder
    answers: Sequence[str]
    options: bool

    def read(self, text: str, *, certain: bool = True, cut: bool = False) -> Reading:
        """The answer that a text gives.

        `certain`: nothing in it says that no answer can be given, so that a mere mention may count. `cut`: the length
        limit ended it, so that only what is stated outright counts, and not in a sentence that was going on.
        """
        listed = _OTHER_OPTIONS.search(text)
        if listed and not self.names_any(listed[0]):
            reading = self.read(text[: listed.start()], certain=False, cut=cut)
            if reading.value is not None:
                return reading
        for tail, explicit in corrections(text):
            reading = self._read(tail, explicit and certain, cut, stated_only=not explicit)
            if reading.value is not None:
                return Reading(reading.value, f"corrected: {reading.rule}", reading.words)
        return self._read(text, certain, cut)

    def names_any(self, text: str) -> bool:
        """Whether a text names one of the answers, by more than its letter."""
        return any(mention.kind in (Kind.NAME, Kind.WORD) for mention in self.find(text))

    def marked(self, text: str, mentions: Sequence[Mention]) -> str:
        """The text as the grammar sees it."""
        return rewrite(write(text, mentions), options=self.options)

    def _read(self, text: str, certain: bool, cut: bool, stated_only: bool = False) -> Reading:
        text = _COURTESY.sub("", text)
        text = _without_unfinished(text) if cut else text
        mentions = self.find(text)
        if not mentions:
            return NOTHING_READ  # no answer is named, so none can be given; the rules below take their time
        if _lists(text, mentions):
            return NOTHING_READ
        marked = self.marked(text, mentions)
        sentences = list(_sentences(marked))
        said = [statement for start, sentence in sentences for statement in statements(sentence, start)]
        found = _decide(marked, said, options=self.options, stated_only=cut or stated_only)
        if found is None and certain and not (cut or stated_only or _is_stated(said)):
            found = _only_mention(marked)
        if found is None or found.value is None:
            return NOTHING_READ
        words = next((s for start, s in reversed(sentences) if start <= found.start), "")
        return Reading(self.answers[found.value], found.rule, show(" ".join(words.split())[:160], self.answers))


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    position = 0
    for end in _SENTENCE_END.finditer(text):
        yield position, text[position : end.start()]
        position = end.end()
    yield position, text[position:]


_POINT_OR_DASH = late(r"[ ]*[.\u2013\u2014-][ ]+")
_SIGNS = late(r"[\W_]*")


def _lists(text: str, mentions: Sequence[Mention]) -> bool:
    """Whether a text is a row of several answers and nothing else: "A. B. C. D.", "yes - no - maybe".

    Commas, slashes and words between them make a list within a sentence too (`mibe.parsers.rewriting`); a point or a
    dash does so here alone, since "B. A rash …" and "no - maybe later" are none.
    """
    gaps = {text[one.end : other.start].strip() for one, other in pairwise(mentions)}
    joins = all(_POINT_OR_DASH.fullmatch(text, one.end, other.start) for one, other in pairwise(mentions))
    several = len({mention.index for mention in mentions}) > 1 and len({mention.kind for mention in mentions}) == 1
    around = text[: mentions[0].start] + text[mentions[-1].end :]
    return several and joins and len(gaps) == 1 and _SIGNS.fullmatch(around) is not None


_SUBJECT = late(r"\b(?:answer )?(?:option|choice)\s+\(?[A-Za-z]\)?\s*\Z", re.I)


def _without_unfinished(text: str) -> str:
    """Without a last sentence that the length limit cut, unless it is the first, and what may be its subject."""
    ends = list(re.finditer(r"(?<=[.!?;])(?<!\b[A-Za-z]\.)\s+|\n", text))
    if ends and not re.search(r"[.!?][\"')\]*]*\s*\Z", text):
        text = text[: ends[-1].end()]
    return _SUBJECT.sub("", text)


# --- the decision ---------------------------------------------------------------------------------------------------

_COURTESY = late(r"\A\s*(?:sure(?: thing)?|okay|ok|certainly|of course|well|absolutely)[,.!:]+\s*", re.I)
_LEAD = late(
    r"[\s\"'(\[{<*#>|$.,:_-]*"
    r"(?:(?:definitely|probably|likely|clearly|certainly|most likely)[ ,]+)?"
    r"(?:(?:the |my )?(?:options?|choices?|letter|answer|label|to)[ ]?[\"'(\[]*)?(?:\(?(?:\d{1,2}|[a-h])[.)][ ]+)?"
    rf"(?:(?P<answer>{ANSWER}){END}|(?P<letter>{LETTERS})[ ]+(?-i:[A-Z(]))",
    re.I,
)
_LINE_END = late(r"[ \"')\]}>.!|]*(?:\n|\Z)")


def _decide(text: str, said: Sequence[Statement], *, options: bool, stated_only: bool) -> Statement | None:
    lead = _LEAD.match(text)
    stated = [statement for statement in said if statement.strength is Strength.STATED]
    first = _opening(lead) if lead else None
    if first is not None and stated_only and _may_be_an_item(text, first, options=options):
        first = None
    if first is not None and (first.by_letter or not _contradicts(first, said, options=options)):
        return first
    letters = [statement for statement in stated if statement.by_letter]
    decided = [statement for statement in letters or stated if statement.value is not None]
    if decided:
        return _agreed([*([first] if first and not options else []), *decided])
    if stated:  # several, or none of the task's: only a choice after it counts
        said = [statement for statement in said if statement.start > stated[-1].start]
    if stated_only:
        return None
    right = [s for s in said if s.strength is Strength.CALLED_RIGHT]
    if right:
        return _agreed(right)
    concluded = [statement for statement in said if statement.strength is Strength.CONCLUDED]
    if concluded or stated:
        return concluded[-1] if concluded else None
    return _agreed([statement for statement in said if statement.strength is Strength.ALONE])


def _opening(lead: re.Match[str]) -> Statement:
    name = "answer" if lead["answer"] else "letter"
    return Statement(Strength.STATED, "opens the output", lead.start(name), lead[name])


_ITEM_SIGN = late(r"[ \"')\]]*[.:)-]")


def _may_be_an_item(text: str, first: Statement, *, options: bool) -> bool:
    """Whether a cut text may have been about to list or to discuss the answers, of which it has the first."""
    if options and not first.by_letter:
        return True
    sign = _ITEM_SIGN.match(text, first.start + 1)
    item = kind_of(first.mark) is Kind.BOTH or (sign is not None and (first.by_letter or sign[0][-1] != "."))
    line, _, others = text[first.start + 1 :].partition("\n")
    return item and not others.strip() and (bool(line.strip(" .)\"'")) or kind_of(first.mark) is Kind.BOTH)


def _is_stated(said: Sequence[Statement]) -> bool:
    return any(statement.strength is Strength.STATED for statement in said)


def _contradicts(first: Statement, said: Sequence[Statement], *, options: bool) -> bool:
    """Whether an answer that opens the text in words is a heading only, since something else is stated later.

    An option's text heads its discussion more often than a label does.
    """
    if options:
        return any(s.value != first.value for s in said if s.strength >= Strength.CONCLUDED)
    return any(s.value not in (None, first.value) for s in said if s.strength is Strength.STATED)


def _agreed(statements: Sequence[Statement]) -> Statement | None:
    """The first of statements that all say the same."""
    return statements[0] if len({statement.value for statement in statements}) == 1 else None


def _only_mention(text: str) -> Statement | None:
    """The one answer that a text names and does not turn down, unless the text breaks off after it."""
    named = list(re.finditer(STRONG, text))
    values = {index_of(found[0]) for found in re.finditer(f"{STRONG}|{LETTERS}", text)}
    if not named or len(values) != 1 or re.search(SEVERAL, text) or not re.search(rf"(?:[.!?)\"'\]]|{ANY})\s*\Z", text):
        return None
    return Statement(Strength.MENTIONED, "the only one named", named[0].start(), named[0][0])


# --- corrections ------------------------------------------------------------------------------------------------------

_CORRECTION = late(
    r"\b(?:(?P<explicit>\bwait(?=[,.!;:-]|\s+(?:no|actually|a (?:minute|moment|second)|i|let)\b)|\bcorrection\b"
    r"|(?:\.\.\.|[\u2026\u2014\u2013])[ ]?no(?=[,:])|\bactually,? no(?=[,:.])"
    r"|\bon (?:second|further) (?:thoughts?|reflection|consideration)|\bscratch that\b|\bi mean[t]?\b|\bor rather\b"
    r"|\bi made an? (?:mistake|error)\b|\blet me (?:reconsider|correct|revise|rethink|re-evaluate)"
    r"|\bi (?:was|stand) (?:wrong|mistaken|corrected)\b|\bmy (?:mistake|apologies|bad)\b|\bi(?:'d like to| need to"
    r"| must| should| will|'ll)? (?:correct|revise|change) (?:my|the) (?:final )?answer(?: to)?"
    r"|\b(?:revised|corrected|updated|amended)(?=[ ](?:final )?(?:answer|label|choice|output))|\bno,? sorry\b"
    r"|\bsorry,|\boops\b|\breconsidering\b)|\bactually\b|\bin fact\b|\binstead\b(?! of))",
    re.I,
)
_LAST_CORRECTIONS = 4


_NO = late(r"no[,.!]+[ ]+", re.I)


def corrections(text: str) -> Iterator[tuple[str, bool]]:
    """What follows each of the last corrections, the latest first, and whether the correction is explicit.

    "Wait" and "I meant" are; "actually" and "in fact" may be ordinary words: only an answer stated after them counts.
    So it does behind the "no" of "Wait, no, the answer is yes", which is a label's word and none.
    """
    for found in reversed(list(_CORRECTION.finditer(text))[-_LAST_CORRECTIONS:]):
        tail = text[found.end() :].lstrip(" ,.:;!-")
        explicit = found["explicit"] is not None
        said_no = _NO.match(tail) if explicit else None
        if said_no:
            yield tail[said_no.end() :], False
        yield tail, explicit
