"""One label, or a set of labels, out of a closed list."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from mibe.parsers.answers import corrections, read_answer, stands_alone
from mibe.parsers.mentions import Group, Mention, Strength, group_mentions
from mibe.parsers.text import (
    NOTHING,
    closed_text,
    documents,
    find_json,
    is_refusal,
    json_answer,
    states_no_answer,
    strip_markup,
)
from mibe.parsers.words import Names, folded_words

_MODIFIER = re.compile(r"(?<![.!?:\n] )(?<!\A)\b[A-Z][a-z]+[ -]\Z")
_NO_MODIFIER = re.compile(
    r"\b(?:The|This|That|A|An|Is|As|To|In|Of|It|And|Or|But|So|Thus|Hence|Therefore|Label|Answer|Specialty"
    r"|Domain|Category|Output|Not|No|Likely"
    r"|Clear|Logical|Strong|Medical|\w+ly)[ -]\Z"
)
_UNREADABLE = re.compile(
    r"[\s\"'(\[:]*(?:unknown|none|neither|uncertain|unclear|inconclusive|cannot|can't|not (?:sure|certain|given"
    r"|listed|enough)|n/?a)\b",
    re.I,
)


class _Vocabulary:
    """Labels and their aliases, ready to be found in a text."""

    def __init__(self, labels: Sequence[str], aliases: Mapping[str, str], as_answer_only: Collection[str]) -> None:
        forms = {folded_words(form, drop_and=True): label for form, label in aliases.items()}
        forms.update({folded_words(label, drop_and=True): label for label in labels})
        unknown = sorted(set(forms.values()) - set(labels))
        if unknown or () in forms:
            raise ValueError(f"aliases must stand for a label: {unknown or 'an alias has no words'}")
        self.names = Names(forms, drop_and=True)
        self.words = {folded_words(form, drop_and=True) for form in as_answer_only}

    def mentions(self, text: str) -> list[Mention]:
        found = []
        for name in self.names.find(text):
            weak = name.name in self.words or self._is_part(text, name.start)
            found.append(Mention(name.start, name.end, name.value, Strength.WORD if weak else Strength.NAME))
        return found

    @staticmethod
    def _is_part(text: str, start: int) -> bool:
        """Whether a capitalised word before it makes it part of another name ("Pediatric Neurology")."""
        before = text[max(0, start - 30) : start]
        return text[start].isupper() and bool(_MODIFIER.search(before)) and not _NO_MODIFIER.search(before)


@dataclass(frozen=True)
class OneLabel:
    """Reads one of `labels`.

    `aliases` maps other spellings to labels; case, number, British spelling, hyphens, slashes and "and" need none.
    `as_answer_only` lists the labels and aliases that are ordinary words too ("no", "effect", "surgery"): they count
    where they stand as the answer, not as a word within a sentence.
    """

    labels: Sequence[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    as_answer_only: Collection[str] = ()
    _vocabulary: _Vocabulary = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_vocabulary", _Vocabulary(self.labels, self.aliases, self.as_answer_only))

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """A label, or None."""
        text = closed_text(output)
        stated = json_answer(find_json(text))
        if stated is not NOTHING:
            return self._read(stated) if isinstance(stated, str) else None
        for document in documents(strip_markup(text)):
            value = self._read(document)
            if value is not None:
                return value
            if is_refusal(document) or states_no_answer(document):
                return None
        return None

    def _read(self, text: str) -> str | None:
        certain = not (is_refusal(text) or states_no_answer(text))
        return read_answer(text, self._vocabulary.mentions, mentions=certain, outside=_UNREADABLE)


_EXPLANATION = re.compile(
    r"(?:^|\n|(?<=[.;]) )[ ]*(?:explanation|rationale|reasoning|justification|notes?|because"
    r"|why)\b[^\n:]{0,30}[:.]",
    re.I,
)
_SET_CUE = re.compile(
    r"(?P<final>\bfinal (?:\w+ ){0,2})?\b(?:answers?|output|labels?|topics?|hallmarks?|results?|categor(?:y"
    r"|ies)|response)\b"
    r"[^.\n:;?!]{0,80}?(?::|=|->|\b(?:is|are|include|includes)\b:?|\n)",
    re.I,
)
_LABEL_LINE = re.compile(r"^[ ]*(?:label|topic|hallmark|category)(?:[ ]?#?\d{1,2})?[ ]?:[ ]*", re.I | re.M)
_INLINE_ITEM = re.compile(r"(?:^|(?<=[\w:])[.,;]?[ ](?:and[ ])?)(?:\(\d{1,2}\)|\d{1,2}[.)])[ ](?=\w)")  # "(1) …, (2) …"
_SET_NO = re.compile(r"[\"')\]]*[ ]?[:=(|-]+[ ]?(?:no|not|false|0|none|absent|n/a|unrelated|irrelevant)\b", re.I)
_NEXT_LINE = re.compile(r"[ .,;]*\n[\s\-*•\d.)(]*")
_REMARK = re.compile(
    r"(?<=[\w\"'*])[ ]?\((?![^()\n]*\b(?:no|not|non|false|0|absent|n/a|unlikely|unrelated|irrelevant|incorrect)\b)"
    r"[^()\n]{1,80}\)",
    re.I,
)
_NONE_STATED = re.compile(
    r"\bnone of (?:the|these|them)\b|\bnot (?:\w+ly )?(?:related|relevant|linked|associated|connected) (?:to"
    r"|with) any\b"
    r"|\bno (?:(?:relevant|related|applicable|specific|matching|such|hoc|of the|cancer) )*(?:topics?|hallmarks?"
    r"|labels?|categor\w+)\b"
    r"|\b(?:does not|doesn't) (?:\w+ly )?(?:relate|belong|correspond|fit|match|address|discuss)(?: to| with"
    r"| into)? any\b",
    re.I,
)


def _listed(text: str, groups: Sequence[Group]) -> list[Group]:
    """The groups that are sentences or items of their own, and one on the line before them ("related to A\\nB")."""
    listed: list[Group] = []
    for group in reversed(groups):
        if stands_alone(text, group) or (listed and _NEXT_LINE.fullmatch(text, group.end, listed[-1].start)):
            listed.append(group)
    return listed[::-1]


def _is_denied(text: str, group: Group, after: Group | None) -> bool:
    """Whether a label is denied, by what stands before it or in what follows ("…: no"; not "… (not another label)")."""
    no = _SET_NO.match(text, group.end)
    names_another = no and after and "(" in no[0] and text[no.end() : after.start] == " "
    return group.negated or (no is not None and not names_another)


@dataclass(frozen=True)
class LabelSet:
    """Reads any number of `labels`, in the order of `labels`.

    `none_words` are the words that state an empty set where they stand as the answer; an empty JSON list and "not
    related to any of the topics" do so too. All labels at once are the prompt repeated, not an answer.
    """

    labels: Sequence[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    none_words: Collection[str] = ("none", "none of the above", "no topics", "nothing", "empty", "no label", "null")
    _vocabulary: _Vocabulary = field(init=False, repr=False, compare=False)
    _none: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_vocabulary", _Vocabulary(self.labels, self.aliases, ()))
        words = "|".join(re.escape(word) for word in sorted(self.none_words, key=len, reverse=True))
        ends = r"[ ]?(?:[\"'()\].,;:!-]|\n|\Z|(?:because|since|as)\b)"
        pattern = re.compile(rf"[\s\"'(\[.:-]*(?:{words})(?={ends})", re.I)
        object.__setattr__(self, "_none", pattern)

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> list[str] | None:
        """Labels in canonical order, [] for a stated empty set, or None."""
        text = closed_text(output)
        stated = json_answer(find_json(text))
        if stated is not NOTHING:
            return self._of_json(stated)
        for document in documents(strip_markup(text)):
            head = _EXPLANATION.split(document, maxsplit=1)[0]
            for part in (head, document) if head != document else (document,):
                found = self._read(part)
                if found is not None:
                    return found
            if is_refusal(document):
                return None
        return None

    def _of_json(self, value: Any) -> list[str] | None:
        items = value if isinstance(value, list) else [value]
        texts = [str(json_answer(item)) for item in items]
        if not texts:
            return []
        found = {mention.value for text in texts for mention in self._vocabulary.mentions(text)}
        if found:
            return self._ordered(found)
        return [] if all(self._none.match(text) for text in texts) else None

    def _read(self, text: str) -> list[str] | None:
        for tail, explicit in corrections(text):
            found = self._region(tail) if explicit else None
            if found is not None:
                return found
        text = _INLINE_ITEM.sub("\n- ", text)
        text = _LABEL_LINE.sub("- ", text) if len(_LABEL_LINE.findall(text)) > 1 else text
        cues = sorted(_SET_CUE.finditer(text), key=lambda cue: (cue["final"] is not None, cue.start()))
        for cue in reversed(cues[-8:]):
            found = self._region(text[cue.end() :])
            if found is not None:
                return found
        return self._region(text)

    def _region(self, text: str) -> list[str] | None:
        """The labels that a stretch of text affirms."""
        if self._none.match(text):
            return []
        text = self._without_remarks(text)
        groups = group_mentions(text, self._vocabulary.mentions(text))
        groups = [g for g in groups if len(g.values) < len(self.labels)]
        affirmed = [g for g, after in zip_longest(groups, groups[1:]) if not _is_denied(text, g, after)]
        listed = _listed(text, affirmed) or affirmed
        if any(_is_hedge(text[g.start : g.end]) for g in listed):
            return None
        found = {value for g in listed for value in g.values}
        if found:
            return self._ordered(found)
        return [] if not groups and _NONE_STATED.search(text) else None

    def _without_remarks(self, text: str) -> str:
        """The text without remarks in parentheses ("resisting cell death (apoptosis), …") that name no label."""
        return _REMARK.sub(lambda match: match[0] if self._vocabulary.mentions(match[0]) else "", text)

    def _ordered(self, found: set[str]) -> list[str] | None:
        return [label for label in self.labels if label in found] if len(found) < len(self.labels) else None


def _is_hedge(text: str) -> bool:
    return re.search(r"(?<!and/)\bor\b", text) is not None
