"""Mentions of possible answers, the lists they form, and whether the words around them deny them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Strength(IntEnum):
    """How much a mention needs around it to count as an answer."""

    WORD = 0
    """An ordinary word ("no", "effect"): counts where nothing but an answer can stand, with an end after it."""
    SIGN = 1
    """A bare letter: counts where an answer is stated or stands alone."""
    NAME = 2
    """A name of its own ("DDI-effect", "option B"): counts wherever it stands."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One possible answer at `text[start:end]`."""

    start: int
    end: int
    value: str
    strength: Strength


@dataclass(frozen=True, slots=True)
class Group:
    """Mentions joined by nothing but list punctuation: one answer, or a list of several."""

    start: int
    end: int
    values: tuple[str, ...]
    strength: Strength
    negated: bool = False

    @property
    def value(self) -> str | None:
        """The answer, if the group is one and affirms it."""
        return self.values[0] if len(self.values) == 1 and not self.negated else None


Finder = Callable[[str], Sequence[Mention]]

_SAME = re.compile(r"[\s\"'().:\[\]\-,*|]{0,8}(?:(?:i\.?e\.?|option|choice)[\s,]*)?[\"'(\[]?")
_JOIN = re.compile(
    r"[ \"')\]]*(?:[,;/|&+]|\bor\b|\band\b|\bnor\b|\bvs\b\.?|\bversus\b)"
    r"(?:[ \"'(\[/&]|\bor\b|\band\b|\bnor\b|\beither\b|\b(?:option|choice)s?\b)*"
)
_WORD_JOIN = re.compile(r"\b(?:or|nor|and)\b|/")
_ENDS_ITEM = re.compile(r"[ \"')\]]*(?:$|[\n,.;/|&])")

_STOP = r"(?!(?:but|because|so|therefore|thus|hence|then|is|are|was|were|be|only|just|merely|since|yet)\b)"
_NEGATED_BEFORE = re.compile(
    r"(?:(?:\bnot|n't|\bcannot|\bnever|\bneither|\bnor|\bwithout|\brather than|\binstead of|\bother than|\bunlike"
    r"|\bavoid(?:s|ed|ing)?"
    r"|\bno(?! doubt| question)|\bnon|\bexclud\w*|\beliminat\w*|\brul(?:e|es|ed|ing) out|\breject\w*"
    r"|\bdismiss\w*|\bunlikely|\bagainst"
    r"|\bexcept(?: for)?|\bless likely(?: than)?|\bincorrect|\bwrong|\blacks?|\babsence of)"
    rf"(?:[ ]{_STOP}[\w$@/'-]+){{0,6}}"
    r"|(?:\bdo|\bdoes|\bwould|\bdid)(?:n't| not) (?:think|believe|say|feel|consider|choose|pick|mean"
    r"|expect)(?:[ ][\w$@-]+){0,6}"
    r"|\b(?:not(?:[ ]\w+)?|incorrect|wrong|irrelevant|unrelated|excluded)[ ]?:"
    r")[ \"'(\[-]*\Z",
)
_NOT_VERDICT = (
    r"(?:not|never|incorrect|wrong|false|untrue|unlikely|less|least|inappropriate|excluded|eliminated|ruled out"
    r"|out\b|(?:an? |the |mere )?distractors?"
    r"|contraindicated|irrelevant|unrelated|inadequate|insufficient|implausible|unnecessary|absent|invalid"
    r"|incompatible|inconsistent)"
)
NEGATED_AFTER = re.compile(
    r"[ \"')\]]*(?:,? (?:both|all|which|also|therefore|thus|clearly|on the other hand,?)\b)*[ ]?(?:"
    rf"(?:is|are|was|were|seems?|appears?|looks?|would be|could be|may be)[ ](?:(?:\w+ly|also|both|all|the"
    rf"|to be)[ ]){{0,2}}{_NOT_VERDICT}"
    r"|(?:is|are|was|were|do|does|did|would|could|can|should|has|have|will)(?:n't| not)\b(?! be (?:ruled"
    r"|excluded)| only| just)"
    r"|cannot\b(?! be (?:ruled|excluded))"
    r"|(?:can|could|may|should|must|will) (?:also |therefore |thus )?be (?:ruled out|excluded|eliminated"
    r"|discarded|dismissed|rejected)"
    rf"|[:(-]+[ ]?(?:this is |is )?(?:incorrect|wrong|false\b|ruled out|eliminated|excluded|unlikely"
    rf"|not (?:correct|indicated|appropriate"
    r"|relevant|related|applicable|likely|the (?:answer|best|correct)|present|mentioned|discussed|supported"
    r"|selected)|✗|❌|✘|x\b(?=\s*$))"
    r"|[ ]?[:=-]+[ ]?no[ .]*$|[ ]?[✗❌✘]|\?[ ](?:no|not)\b"
    r"|,? (?:this type )?is used (?:to|when)\b"
    r")",
    re.I | re.M,
)


def group_mentions(text: str, mentions: Sequence[Mention]) -> list[Group]:
    """Mentions joined into groups, each with whether it is negated."""
    groups: list[Group] = []
    for mention in mentions:
        last = groups[-1] if groups else None
        if last is not None and mention.start - last.end <= 40:
            if last.values == (mention.value,) and _repeated(text, last, mention):
                groups[-1] = Group(last.start, mention.end, last.values, max(last.strength, mention.strength))
                continue
            if _joined(text, last, mention):
                values = last.values if mention.value in last.values else (*last.values, mention.value)
                groups[-1] = Group(last.start, mention.end, values, min(last.strength, mention.strength))
                continue
        groups.append(Group(mention.start, mention.end, (mention.value,), mention.strength))
    return [
        Group(group.start, group.end, group.values, group.strength, is_negated(text, group.start, group.end))
        for group in groups
    ]


def _repeated(text: str, last: Group, mention: Mention) -> bool:
    """Whether a mention only says again what `last` says; in "No, no difference was found" the second is a word."""
    gap = text[last.end : mention.start]
    is_word = mention.strength == Strength.WORD and gap.strip() and not _ENDS_ITEM.match(text, mention.end)
    return not is_word and _SAME.fullmatch(gap) is not None


def _joined(text: str, last: Group, mention: Mention) -> bool:
    """Whether a mention continues the list that `last` begins."""
    gap = text[last.end : mention.start]
    if gap == " - ":
        return _ENDS_ITEM.match(text, mention.end) is not None
    if not _JOIN.fullmatch(gap):
        return False
    if ";" in gap and _NEGATED_BEFORE.search(text[max(0, last.start - 70) : last.start].lower()):
        return False  # "not A; B"
    return (
        mention.strength > Strength.WORD
        or _WORD_JOIN.search(gap) is not None
        or _ENDS_ITEM.match(text, mention.end) is not None
    )


def is_negated(text: str, start: int, end: int) -> bool:
    """Whether the words around `text[start:end]` deny it ("not …", "neither …", "… is wrong", "… can be excluded")."""
    before = text[max(0, start - 70) : start].lower()
    return _NEGATED_BEFORE.search(before) is not None or NEGATED_AFTER.match(text, end) is not None
