"""One label, or a set of labels, out of a closed list."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mibe.parsers.answers import Grammar, corrections
from mibe.parsers.closed import ClosedAnswer
from mibe.parsers.marks import ANSWER, ANY, Kind, Mention, index_of, without_foreign, write
from mibe.parsers.patterns import late
from mibe.parsers.rewriting import JOIN, turned_down
from mibe.parsers.statements import PHRASE_END
from mibe.parsers.structured import NOTHING, find_json, json_answer
from mibe.parsers.text import closed_text, documents, is_refusal, strip_markup
from mibe.parsers.words import Names, folded_words

_MODIFIER = late(r"(?<![.!?:\n] )(?<!\A)\b[A-Z][a-z]+[ -]\Z")
_NO_MODIFIER = late(
    r"\b(?:The|This|That|A|An|Is|As|To|In|Of|It|And|Or|But|So|Thus|Hence|Therefore|Label|Answer|Specialty"
    r"|Domain|Category|Output|Not|No|Likely"
    r"|Clear|Logical|Strong|Medical|\w+ly)[ -]\Z"
)
_UNREADABLE = late(
    r"[\s\"'(\[:]*(?:unknown|none|neither|uncertain|unclear|inconclusive|cannot|can't|not (?:sure|certain|given"
    r"|listed|enough)|n/?a)\b",
    re.I,
)


_BETWEEN = late(r"(?:(?![.:][ ])[ \-_/&,.:'\"()+]){0,6}")


class _Vocabulary:
    """Labels and their aliases, ready to be found in a text."""

    def __init__(self, labels: Sequence[str], aliases: Mapping[str, str], as_answer_only: Collection[str]) -> None:
        forms = {folded_words(form, drop_and=True): label for form, label in aliases.items()}
        forms.update({folded_words(label, drop_and=True): label for label in labels})
        unknown = sorted(set(forms.values()) - set(labels))
        if unknown or () in forms:
            raise ValueError(f"aliases must stand for a label: {unknown or 'an alias has no words'}")
        self.labels = list(labels)
        self.names = Names(forms, drop_and=True, between=_BETWEEN)
        self.grammar = Grammar(self.find, self.labels, options=False)
        self.words = {folded_words(form, drop_and=True) for form in as_answer_only}

    def find(self, text: str) -> list[Mention]:
        """The labels in a text."""
        found = []
        for name in self.names.find(text):
            weak = name.name in self.words or self._is_part(text, name.start)
            index = self.labels.index(name.value)
            ends = name.value.endswith(".") and text[name.end : name.end + 1] == "."
            found.append(Mention(name.start, name.end + ends, index, Kind.WORD if weak else Kind.NAME))
        return found

    @staticmethod
    def _is_part(text: str, start: int) -> bool:
        """Whether a capitalised word before it makes it part of another name ("Pediatric Neurology")."""
        before = text[max(0, start - 30) : start]
        return text[start].isupper() and bool(_MODIFIER.search(before)) and not _NO_MODIFIER.search(before)


@dataclass(frozen=True)
class OneLabel(ClosedAnswer):
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

    def grammar(self, choices: Sequence[str]) -> Grammar:
        """That of the labels, whatever the choices."""
        return self._vocabulary.grammar


_EXPLANATION = late(
    r"(?:^|\n|(?<=[.;]) )[ ]*(?:explanation|rationale|reasoning|justification|notes?|because"
    r"|why)\b[^\n:]{0,30}[:.]",
    re.I,
)
_SET_CUE = late(
    r"(?P<final>\bfinal (?:\w+ ){0,2})?\b(?:answers?|output|labels?|topics?|hallmarks?|results?|categor(?:y"
    r"|ies)|response)\b"
    r"[^.\n:;?!]{0,80}?(?::|=|->|\b(?:is|are|include|includes)\b:?|\n)",
    re.I,
)
_LABEL_LINE = late(r"^[ ]*(?:label|topic|hallmark|category)(?:[ ]?#?\d{1,2})?[ ]?:[ ]*", re.I | re.M)
_INLINE_ITEM = late(r"(?:^|(?<=[\w:])[.,;]?[ ](?:and[ ])?)(?:\(\d{1,2}\)|\d{1,2}[.)])[ ](?=\w)")  # "(1) …, (2) …"
_SET_NO = late(r"[\"')\]]*[ ]?[:=(|-]+[ ]?(?:no|not|false|0|none|absent|n/a|unrelated|irrelevant)\b", re.I)
_REMARK = late(
    r"(?<=[\w\"'*])[ ]?\((?![^()\n]*\b(?:no|not|non|false|0|absent|n/a|unlikely|unrelated|irrelevant|incorrect)\b)"
    r"[^()\n]{1,80}\)",
    re.I,
)
_NONE_STATED = late(
    r"\bnone of (?:the|these|them)\b|\bnot (?:\w+ly )?(?:related|relevant|linked|associated|connected) (?:to"
    r"|with) any\b"
    r"|\bno (?:(?:relevant|related|applicable|specific|matching|such|hoc|of the|cancer) )*(?:topics?|hallmarks?"
    r"|labels?|categor\w+)\b"
    r"|\b(?:does not|doesn't) (?:\w+ly )?(?:relate|belong|correspond|fit|match|address|discuss)(?: to| with"
    r"| into)? any\b",
    re.I,
)


_LIST = late(rf"{ANSWER}(?:{JOIN}{ANSWER})*", re.I)
_OPENING = late(
    r"(?:\A|\n|[.!?;][\"')\]]*[ ])[\s\"'(\[{<*#>|$.,:_-]*(?:(?:sure|okay|ok|certainly|of course|well)[,.!:]\s*)?"
    r"(?:(?:the |my )?(?:answer|labels?|topics?|hallmarks?)[ ]?[\"'(\[]*)?\Z",
    re.I,
)
_NEXT_LINE = late(r"[ .,;]*\n[\s\-*•\d.)(]*")


def _listed(text: str, groups: Sequence[re.Match[str]]) -> list[re.Match[str]]:
    """The groups that are sentences or items of their own, and one on the line before them ("related to A\\nB")."""
    listed: list[re.Match[str]] = []
    for group in reversed(groups):
        alone = _OPENING.search(text[max(0, group.start() - 60) : group.start()])
        if (alone and PHRASE_END.match(text, group.end())) or (
            listed and _NEXT_LINE.fullmatch(text, group.end(), listed[-1].start())
        ):
            listed.append(group)
    return listed[::-1]


def _is_denied(text: str, group: re.Match[str]) -> bool:
    """Whether what follows a label denies it ("…: no"; not "… (not another label)")."""
    no = _SET_NO.match(text, group.end())
    return no is not None and not ("(" in no[0] and re.match(f" {ANY}", text[no.end() : no.end() + 2]))


@dataclass(frozen=True)
class LabelSet:
    """Reads any number of `labels`, in the order of `labels`.

    `none_words` are the words that state an empty set where they stand as the answer; an empty JSON list and "not
    related to any of the topics" do so too. More than `most` labels at once (None: all of them) are the prompt
    repeated, not an answer.
    """

    labels: Sequence[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    none_words: Collection[str] = ("none", "none of the above", "no topics", "nothing", "empty", "no label", "null")
    most: int | None = None
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
        text = without_foreign(closed_text(output))
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
        found = {mention.index for text in texts for mention in self._vocabulary.find(text)}
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
        text = turned_down(write(text, self._vocabulary.find(text)), options=False)
        groups = [group for group in _LIST.finditer(text) if len(_indices(group)) <= self._most]
        affirmed = [group for group in groups if not _is_denied(text, group)]
        listed = _listed(text, affirmed) or affirmed
        if any(_OR.search(group[0]) for group in listed):
            return None
        found = {index for group in listed for index in _indices(group)}
        if found:
            return self._ordered(found)
        return [] if not re.search(ANY, text) and _NONE_STATED.search(text) else None

    def _without_remarks(self, text: str) -> str:
        """The text without remarks in parentheses ("resisting cell death (apoptosis), …") that name no label."""
        return _REMARK.sub(lambda match: match[0] if self._vocabulary.find(match[0]) else "", text)

    def _ordered(self, found: set[int]) -> list[str] | None:
        return [self.labels[index] for index in sorted(found)] if len(found) <= self._most else None

    @property
    def _most(self) -> int:
        return len(self.labels) - 1 if self.most is None else self.most


_OR = late(r"(?<!and/)\bor\b")


def _indices(group: re.Match[str]) -> set[int]:
    return {index_of(char) for char in re.findall(ANSWER, group[0])}
