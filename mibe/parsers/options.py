"""The letter of a multiple-choice option, from a letter or from an option's text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mibe.parsers.answers import Grammar
from mibe.parsers.closed import ClosedAnswer
from mibe.parsers.marks import Kind, Mention
from mibe.parsers.patterns import late
from mibe.parsers.text import normalise, strip_markup
from mibe.parsers.words import WORD, Names, fold, folded_words
from mibe.task import letter

# Words that own the letter after them ("vitamin D") or before it ("B cells").
_OWNER = late(
    r"\b(?:vitamins?|hepatitis|groups?|types?|factor|influenza|class|stage|grade|proteins?|complex"
    r"|immunoglobulin|ha?emoglobin|antigen"
    r"|region|chain|subunit|receptor|\w*lipoprotein|cyclosporin|amphotericin|penicillin|polymyxin|toxin|plan"
    r"|point|figure|table"
    r"|appendix|panel|patient|strain|phase|schedule|category|child-pugh|dukes'?|drug|blood|segment|wave|cohort"
    r"|arm|variant|gene|part|section"
    r"|statement|step|serotype|coenzyme|phospholipase|staphylococcal|(?:mr|mrs|dr|prof)\.?|kinase|cyclin|lamin)[ -]\Z",
    re.I,
)
_ASKED_FOR = late(r"(?:\A|\n|\b(?:answer|ans|output|option|choice|letter|correct)\b.{0,12})[\W_]*\Z", re.I)
_OWNED = late(
    r"[ -](?:cells?|lymphocytes?|coli|symptoms?|vitamins?|strep\w*|virus|waves?|fib(?:er|re)s?|chains?|sign"
    r"|scan|type|antigen|lines?)\b"
    r"|(?-i:\.[ ](?!because\b)[a-z]+(?:i|is|us|um|ae|ans|ens|es|ile|er|ter|a)\b)",
    re.I,
)
_ARTICLE = late(
    r"[ ](?!(?:is|are|was|were|be|because|since|as|and|or|nor|but|not|seems?|appears?|would|could|can|cannot"
    r"|should|must|may|might|will|has|does"
    r"|do|did|remains?|fits?|matches|makes|explains?|describes|represents|if|which|that|from|the|due|correctly"
    r"|best|also|for|over|rather|instead"
    r"|vs|versus|it|on|in|to|with|then|at|by|so|here|only|alone|looks|being|given|based"
    r"|est|es|est\u00e1|ist|\u00e8|\u00e9|jest|adalah|l\u00e0|\u00e4r|er|je)\b)[A-Za-z\u00c0-\u024f0-9'\"]"
)
_NO_ARTICLE = late(  # "A The patient …", "A Explanation: …"
    r"[ ](?:(?:The|This|That|These|Those|There|It|He|She|They|We|I|You|His|Her|Its|Their|In|On|At|By|To|For|From|With"
    r"|As|Given|Based|Because|Since|When|While|If|Although|Both|All|Each|Here|So|Not|No|And|But|Only|Giving|Let)\b"
    r"|[A-Z][\w-]*(?:[ ][a-z]+){0,2}:|Option|Answer|\d+[ ]?%)"
)
_OPTION_WORDS = "|".join(
    [
        "opción|opção|opzione|alternativa|lettre|lettera|letra|buchstabe|вариант|phương án",
        "选项|選項|選択肢|विकल्प|보기|선택지|الخيار",
    ]
)
_NAMED_LETTER = late(  # "option B", "choice (b)"
    rf"(?<![A-Za-z])(?:options?|choices?|alternative|letter|opt\.?|{_OPTION_WORDS})(?:[ ]number|[ ]no\.)?"
    r"[ ]?[:#-]?[ ]?[\"'(\[]*"
    r"([A-Za-z])(?![\w'-])[\"')\]]*",
    re.I,
)
_BRACKET_LETTER = late(  # "(B)", "[b]", "'c'"
    r"(?<![A-Za-z0-9])(?:[(\[{<][\"']?|(?<![(\[{<])[\"'])[ ]?([A-Za-z])[ ]?[.:]?[)\]}\"'>]+(?![A-Za-z0-9])"
)
_BARE_LETTER = late(  # "B", "B)", "B."
    r"(?<![A-Za-z0-9À-ɏ'&%+-])(?<![A-Za-z]\.)(?<![a-zN]/)"
    r"([A-Z])(?![A-Za-z0-9À-ɏ'&%+^_]|-[A-Za-z0-9]|/[a-z]|\.[A-Za-z0-9])\)?"
)
_SMALL_LETTER = late(  # "b", "b)"
    r"(?<![A-Za-z0-9À-ɏ'.&/+-])([a-z])(?:\)|(?=[.:,;!?\]\"']*(?:\s|\Z))(?![\"']?[ ](?!because\b|since\b)[a-z]))(?!\w)"
)
_LETTERS = (
    (_NAMED_LETTER, Kind.LETTER),
    (_BRACKET_LETTER, Kind.LETTER),
    (_BARE_LETTER, Kind.SIGN),
    (_SMALL_LETTER, Kind.SIGN),
)
_SMALL_AFTER = late(r"[ ]?(?:[.:,;!)\]\"'*]|\Z|\n|(?:is|was|because|as|since)\b)")
_GOES_ON = late(r"[\w'-]|\.?[ ][a-z]")
_COMMON = frozenset(
    ["no", "yes", "none", "all", "both", "true", "false", "neither", "increase", "decrease", "normal", "other"]
)
_WORDY = late(r"(?:(?<!\w)-(?!\d)|(?<=\w)-|(?<!\d)/|[^\W_]|[\s,.;:'\"()&%?!])+")
_PERCENT = late(r"[ ]?%")
_ITEM_MARK = late(r"[\"'\])]*[).:]+[\"'\])]*[ ]?(?=\S)")
_BETWEEN_WORDS = late(r"[\s\-_/&,.;:'\"()+%?!]{0,6}")


_PLAIN = late(r"\s*(?:(?:The )?(?:correct |final )?[Aa]nswer(?: is|:) )?([A-Z])\.?\s*")
"""A letter by itself, or in the barest of sentences."""
_MOST = 26
"""Options that have a letter."""


class _Options:
    """The options of one question, ready to be found in a text."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.texts = [strip_markup(normalise(choice)).strip(" $€£\n").rstrip(".") for choice in choices[:_MOST]]
        letters = {letter(index).lower() for index in range(len(self.texts))}
        self.words = words = [folded_words(text) for text in self.texts]
        wordy = [
            bool(name) and _WORDY.fullmatch(text) is not None for text, name in zip(self.texts, words, strict=True)
        ]
        copies = Counter(name for name, plain in zip(words, wordy, strict=True) if plain)
        names: dict[tuple[str, ...], str] = {}
        self.symbols: list[tuple[str, int]] = []
        for index, (text, name) in enumerate(zip(self.texts, words, strict=True)):
            if wordy[index] and copies[name] == 1:
                if not (len(name) == 1 and name[0] in letters):
                    names[name] = str(index)
            elif text:
                self.symbols.append((text.lower(), index))
        self.symbols.sort(key=lambda pair: -len(pair[0]))
        self.names = Names(names, between=_BETWEEN_WORDS)
        self.grammar = Grammar(self.find, [letter(index) for index in range(len(self.texts))], options=True)

    def find(self, text: str) -> list[Mention]:
        """Letters and option texts in `text`, none overlapping another: an option's text owns the letters in it."""
        texts = self._find_texts(text)
        taken = _Taken(texts)
        starts = {(mention.start, mention.index) for mention in texts}
        letters: dict[int, Mention] = {}
        for pattern, kind in _LETTERS:
            for match in pattern.finditer(text):
                at = match.start(1)
                index = ord(match[1].upper()) - ord("A")
                if at in letters or taken.covers(at, at + 1):
                    continue
                if index >= len(self.texts):
                    if match[1].isupper() and not _GOES_ON.match(text, match.end(1)):
                        letters[at] = Mention(match.start(), match.end(), 0, Kind.OUTSIDE)
                    continue
                if kind is Kind.SIGN and not self._is_answer(text, match):
                    continue
                if match[1] == "a" and kind is Kind.LETTER and not _SMALL_AFTER.match(text, match.end(1)):
                    continue
                letters[at] = self._with_its_text(text, match, index, kind, starts)
        mentions: list[Mention] = []
        for mention in sorted([*texts, *letters.values()], key=lambda m: (m.start, -m.end)):
            if not mentions or mention.start >= mentions[-1].end:
                mentions.append(mention)
        return mentions

    def _with_its_text(
        self, text: str, match: re.Match[str], index: int, kind: Kind, texts: Collection[tuple[int, int]]
    ) -> Mention:
        """A letter, and the first words of its option's text, where they are not all there ("B) Order a CT")."""
        mark = _ITEM_MARK.match(text, match.end(1))
        if mark is not None and not any((mark.end() + more, index) in texts for more in range(3)):
            end = mark.end()
            for word, expected in zip(WORD.finditer(text, end, end + 300), self.words[index], strict=False):
                if fold(word[0]) != expected or not _BETWEEN_WORDS.fullmatch(text, end, word.start()):
                    break
                end = word.end()
            if end > mark.end():
                return Mention(match.start(), end, index, Kind.BOTH)
        is_item = kind is Kind.SIGN and text[match.end() - 1] == ")"
        return Mention(match.start(), match.end(), index, Kind.LETTER if is_item else kind)

    def _find_texts(self, text: str) -> list[Mention]:
        found: list[Mention] = []
        low = text.lower() if self.symbols else ""
        for symbol, index in self.symbols:
            taken = _Taken(found)
            found += [
                Mention(start, start + len(symbol), index, Kind.WORD)
                for start in _occurrences(low, symbol)
                if not taken.covers(start, start + len(symbol))
            ]
        taken = _Taken(found)
        for name in self.names.find(text):
            single = name.name[0] if len(name.name) == 1 else None
            weak = single is not None and (single in _COMMON or len(single) <= 2 or single[0].isdigit())
            percent = _PERCENT.match(text, name.end)
            end = percent.end() if percent else name.end
            if not taken.covers(name.start, end):
                found.append(Mention(name.start, end, int(name.value), Kind.WORD if weak else Kind.NAME))
        return found

    def _is_answer(self, text: str, match: re.Match[str]) -> bool:
        """Whether a bare letter can be an answer: no article, no initial of a species, no part of a name."""
        start, end = match.span(1)
        if _OWNER.search(text[max(0, start - 20) : start]):
            return False
        own = self.texts[ord(match[1].upper()) - ord("A")].lower()
        after = text[end : end + 80].lstrip(" .:)-").lower()
        begun = text[end : end + 1] in ".:)" and after.split()[:1] == own.split()[:1]
        if own and (begun or after.startswith(own[:60])):
            return True
        if _OWNED.match(text, end) or (match[1] == "a" and _is_cut_article(text, start, end)):
            return False
        opens = not text[:start].strip() and _NO_ARTICLE.match(text, end) is not None
        return opens or match[1] not in ("A", "a", "I") or not _ARTICLE.match(text, end)


class _Taken:
    """The stretches of a text that mentions cover."""

    def __init__(self, mentions: Sequence[Mention]) -> None:
        self._spans = sorted((mention.start, mention.end) for mention in mentions)
        self._starts = [start for start, _ in self._spans]

    def covers(self, start: int, end: int) -> bool:
        """Whether a mention lies in part of `text[start:end]`."""
        index = bisect_right(self._starts, end - 1) - 1
        return index >= 0 and self._spans[index][1] > start


def _occurrences(text: str, part: str) -> Iterator[int]:
    """Where `part` stands in `text` on its own, not inside a longer word, number or formula."""
    start = text.find(part)
    while start >= 0:
        around = text[max(0, start - 1) : start] + text[start + len(part) : start + len(part) + 1]
        if not any(char.isalnum() or char in "^*/+-=<>" for char in around):
            yield start
        start = text.find(part, start + len(part))


def _is_cut_article(text: str, start: int, end: int) -> bool:
    """Whether the "a" at the end is where a sentence was cut off ("the diagnosis is a"), and not asked for."""
    return not text[end:].strip() and _ASKED_FOR.search(text[max(0, start - 30) : start]) is None


@lru_cache(maxsize=64)
def _options(choices: tuple[str, ...]) -> _Options:
    return _Options(choices)


@dataclass(frozen=True)
class OptionLetter(ClosedAnswer):
    """Reads one of the letters A, B, C, … of `choices`: from a letter, or from the text of an option.

    A letter has to stand as an answer ("B", "(b)", "option B", "the answer is B"): the article "A", "vitamin D" and
    "E. coli" are no answers. An option's text counts where it is stated or nothing else is, the longest first.
    """

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """The letter, or None."""
        # What the grammar reads there too, a hundred times sooner.
        return self.plain(output, choices) or super().__call__(output, choices=choices)

    def plain(self, output: str, choices: Sequence[str]) -> str | None:
        """The letter, where it stands by itself or in the barest of sentences."""
        found = _PLAIN.fullmatch(output)
        return found[1] if found and found[1] < letter(min(len(choices), _MOST)) else None

    def grammar(self, choices: Sequence[str]) -> Grammar | None:
        """That of these options."""
        return _options(tuple(choices)).grammar if choices else None
