"""The letter of a multiple-choice option, from a letter or from an option's text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mibe.parsers.answers import LETTER_OPENING, read_answer
from mibe.parsers.mentions import Mention, Strength
from mibe.parsers.text import (
    NOTHING,
    closed_text,
    documents,
    find_json,
    is_refusal,
    json_answer,
    normalise,
    states_no_answer,
    strip_markup,
)
from mibe.parsers.words import Names, folded_words
from mibe.task import letter

# Words that own the letter after them ("vitamin D") or before it ("B cells").
_OWNER = re.compile(
    r"\b(?:vitamins?|hepatitis|groups?|types?|factor|influenza|class|stage|grade|proteins?|complex"
    r"|immunoglobulin|ha?emoglobin|antigen"
    r"|region|chain|subunit|receptor|\w*lipoprotein|cyclosporin|amphotericin|penicillin|polymyxin|toxin|plan"
    r"|point|figure|table"
    r"|appendix|panel|patient|strain|phase|schedule|category|child-pugh|dukes'?|drug|blood|segment|wave|cohort"
    r"|arm|variant|gene|part|section"
    r"|statement|step|serotype|coenzyme|phospholipase|staphylococcal|(?:mr|mrs|dr|prof)\.?|kinase|cyclin|lamin)[ -]\Z",
    re.I,
)
_ASKED_FOR = re.compile(r"(?:\A|\n|\b(?:answer|ans|output|option|choice|letter|correct)\b.{0,12})[\W_]*\Z", re.I)
_OWNED = re.compile(
    r"[ -](?:cells?|lymphocytes?|coli|symptoms?|vitamins?|strep\w*|virus|waves?|fib(?:er|re)s?|chains?|sign"
    r"|scan|type|antigen|lines?)\b"
    r"|(?-i:\.[ ](?!because\b)[a-z]+(?:i|is|us|um|ae|ans|ens|es|ile|er|ter|a)\b)",
    re.I,
)
_ARTICLE = re.compile(
    r"[ ](?!(?:is|are|was|were|be|because|since|as|and|or|nor|but|not|seems?|appears?|would|could|can|cannot"
    r"|should|must|may|might|will|has|does"
    r"|do|did|remains?|fits?|matches|makes|explains?|describes|represents|if|which|that|from|the|due|correctly"
    r"|best|also|for|over|rather|instead"
    r"|vs|versus|it|on|in|to|with|then|at|by|so|here|only|alone|looks|being|given|based)\b)[\w'\"]"
)
_NAMED_LETTER = re.compile(  # "option B", "choice (b)"
    r"(?<![A-Za-z])(?:options?|choices?|alternative|letter|opt\.?)(?:[ ]number|[ ]no\.)?[ ]?[:#-]?[ ]?[\"'(\[]*"
    r"([A-Za-z])(?![\w'-])[\"')\]]*",
    re.I,
)
_BRACKET_LETTER = re.compile(  # "(B)", "[b]", "'c'"
    r"(?<![A-Za-z0-9])(?:[(\[{<][\"']?|(?<![(\[{<])[\"'])[ ]?([A-Za-z])[ ]?[.:]?[)\]}\"'>]+(?![A-Za-z0-9])"
)
_BARE_LETTER = re.compile(  # "B", "B)", "B."
    r"(?<![A-Za-z0-9À-ɏ'&%+-])(?<![A-Za-z]\.)(?<![a-zN]/)"
    r"([A-Z])(?![A-Za-z0-9À-ɏ'&%+^_]|-[A-Za-z0-9]|/[a-z]|\.[A-Za-z0-9])\)?"
)
_SMALL_LETTER = re.compile(  # "b", "b)"
    r"(?<![A-Za-z0-9À-ɏ'.&/+-])([a-z])(?:\)|(?=[.:,;!?\]\"']*(?:\s|\Z))(?![\"']?[ ](?!because\b|since\b)[a-z]))(?!\w)"
)
_LETTERS = (
    (_NAMED_LETTER, Strength.NAME),
    (_BRACKET_LETTER, Strength.NAME),
    (_BARE_LETTER, Strength.SIGN),
    (_SMALL_LETTER, Strength.SIGN),
)
_SMALL_AFTER = re.compile(r"[ ]?(?:[.:,;!)\]\"'*]|\Z|\n|(?:is|was|because|as|since)\b)")
_LETTER_GAP = re.compile(r"[\"'\])]*[ ]?[).:,-]*\s?[\"'($€£]?")
_OUTSIDE = re.compile(
    rf"[\s\"'(\[:]*{LETTER_OPENING}(?:[A-Z](?![\w'-])(?!\.?[ ][a-z])"
    r"|(?i:unknown|none|neither|uncertain|unclear|all of the above|cannot|can't|not (?:sure|certain|given"
    r"|listed|enough)|n/?a)\b)"
)
_COMMON = frozenset(
    ["no", "yes", "none", "all", "both", "true", "false", "neither", "increase", "decrease", "normal", "other"]
)
_WORDY = re.compile(r"(?:(?<!\w)-(?!\d)|(?<=\w)-|(?<!\d)/|[^\W_]|[\s,.;:'\"()&%?!])+")
_PERCENT = re.compile(r"[ ]?%")
_BETWEEN_WORDS = re.compile(r"[\s\-_/&,.;:'\"()+%?!]{0,6}")


class _Options:
    """The options of one question, ready to be found in a text."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.texts = [strip_markup(normalise(choice)).strip(" $€£\n").rstrip(".") for choice in choices[:26]]
        self.letters = frozenset(letter(index) for index in range(len(self.texts)))
        words = [folded_words(text) for text in self.texts]
        wordy = [
            bool(name) and _WORDY.fullmatch(text) is not None for text, name in zip(self.texts, words, strict=True)
        ]
        copies = Counter(name for name, plain in zip(words, wordy, strict=True) if plain)
        names: dict[tuple[str, ...], str] = {}
        self.symbols: list[tuple[str, str]] = []
        for index, (text, name) in enumerate(zip(self.texts, words, strict=True)):
            if wordy[index] and copies[name] == 1:
                if not (len(name) == 1 and name[0].upper() in self.letters):
                    names[name] = letter(index)
            elif text:
                self.symbols.append((text.lower(), letter(index)))
        self.symbols.sort(key=lambda pair: -len(pair[0]))
        self.names = Names(names, between=_BETWEEN_WORDS)

    def text_mentions(self, text: str) -> list[Mention]:
        """Option texts in `text`, none overlapping another."""
        found: list[Mention] = []
        low = text.lower() if self.symbols else ""
        for symbol, value in self.symbols:
            taken = _Taken(found)
            for start in _occurrences(low, symbol):
                mention = Mention(start, start + len(symbol), value, Strength.SIGN)
                if not taken.covers(mention):
                    found.append(mention)
        taken = _Taken(found)
        for name in self.names.find(text):
            single = name.name[0] if len(name.name) == 1 else None
            strength = Strength.NAME
            if single is not None and single in _COMMON:
                strength = Strength.WORD
            elif single is not None and (len(single) <= 2 or single[0].isdigit()):
                strength = Strength.SIGN
            percent = _PERCENT.match(text, name.end)
            mention = Mention(name.start, percent.end() if percent else name.end, name.value, strength)
            if not taken.covers(mention):
                found.append(mention)
        return sorted(found, key=lambda mention: mention.start)

    def mentions(self, text: str) -> list[Mention]:
        """Letters and option texts in `text`; a letter and the text beside it are one mention of the letter."""
        texts = self.text_mentions(text)
        taken = _Taken(texts)
        letters: dict[int, Mention] = {}
        for pattern, strength in _LETTERS:
            for match in pattern.finditer(text):
                value = match[1].upper()
                mention = Mention(match.start(), match.end(), value, strength)
                at = match.start(1)
                if value not in self.letters or at in letters or taken.covers(Mention(at, at + 1, value, strength)):
                    continue
                if strength == Strength.SIGN and not self._is_answer(text, match):
                    continue
                if match[1] == "a" and strength == Strength.NAME and not _SMALL_AFTER.match(text, match.end(1)):
                    continue
                letters[at] = mention
        marks = {id(mention) for mention in letters.values()}
        merged: list[Mention] = []
        for mention in sorted([*texts, *letters.values()], key=lambda m: (m.start, -m.end)):
            last = merged[-1] if merged else None
            if last is not None and mention.start < last.end:
                continue
            if last is not None and mention.start - last.end <= 6:
                gap = text[last.end : mention.start]
                if id(last) in marks and id(mention) not in marks and _LETTER_GAP.fullmatch(gap):
                    merged[-1] = Mention(last.start, mention.end, last.value, max(last.strength, mention.strength))
                    continue
                if (
                    id(mention) in marks
                    and id(last) not in marks
                    and not gap.strip(" ")
                    and text[mention.start] in "(["
                ):
                    merged[-1] = Mention(last.start, mention.end, mention.value, Strength.NAME)
                    continue
            merged.append(mention)
        return merged

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
        return match[1] not in "Aa" or not _ARTICLE.match(text, end)

    # --- the options repeated -----------------------------------------------------------------------------------

    def without_listing(self, text: str) -> str:
        """Without the options repeated from the prompt ("A. … B. … C. …"), cut off or not."""
        run: list[tuple[int, int]] = []
        for mention in self.text_mentions(text):
            mark = _ITEM_MARK.search(text[max(0, mention.start - 12) : mention.start])
            if mark is None or mark[1].upper() != mention.value:
                continue
            start = mention.start - len(mark[0])
            follows = run and not text[run[-1][1] : start].strip(" \n.,;*-")
            if mention.value == letter(len(run)) and (not run or follows):
                run.append((start, mention.end))
            elif len(run) < 2:
                run = [(start, mention.end)] if mention.value == "A" else []
        if len(run) < 2:
            return text
        before, after = text[: run[0][0]], text[run[-1][1] :]
        if len(run) < len(self.texts):
            cut = re.fullmatch(rf"[\s.,;]*\(?{letter(len(run))}[).:]?\s*(.*)", after, re.S)
            if cut and self.texts[len(run)].lower().startswith(cut[1].lower().strip()):
                after = ""
        return f"{before}\n{after.lstrip(' .,;')}"

    def judged(self, text: str) -> str:
        """With a discussion of the options one by one ("A. …: wrong. B. …: correct.") replaced by what it concludes."""
        items = [item for item in _ITEM_LINE.finditer(text) if item[1].upper() in self.letters]
        run: list[re.Match[str]] = []
        for item in items:
            if item[1].upper() == letter(len(run)):
                run.append(item)
        if len(run) < min(3, len(self.letters)) or run != items[: len(run)]:
            return text
        ends = [item.start() for item in run[1:]]
        blank = text.find("\n\n", run[-1].end())
        ends.append(blank if blank >= 0 else len(text))
        bodies = [text[item.end() : end] for item, end in zip(run, ends, strict=True)]
        right = [i for i, body in enumerate(bodies) if _SAID_RIGHT.search(body) and not _SAID_WRONG.search(body)]
        wrong = [i for i, body in enumerate(bodies) if _SAID_WRONG.search(body)]
        left = [i for i in range(len(run)) if i not in wrong]
        chosen = right if len(right) == 1 else left if len(left) == 1 and len(run) == len(self.letters) else []
        conclusion = f"The answer is {letter(chosen[0])}." if chosen else ""
        return f"{text[: run[0].start()]}\n{conclusion}\n{text[ends[-1] :]}"

    def listed_in(self, text: str) -> bool:
        """Whether a text repeats one of the options, as a repeated prompt does and an invented question does not."""
        return bool(self.text_mentions(text))


_ITEM_MARK = re.compile(r"(?<![A-Za-z0-9])[(\[]?([A-Za-z])[)\].:]{0,2}[ ]?[-:]?[ ]?[\"']?\Z")
_ITEM_LINE = re.compile(
    r"(?:^|(?<=\n))[ ]*(?:\d[.)][ ])?[(\[]?(?:option |choice )?[(\[]?([A-Za-z])(?:[).:\]]|[ ]-)(?=\s)", re.I
)
_SAID_WRONG = re.compile(
    r"\b(?:incorrect|wrong|false|ruled out|eliminat\w+|exclud\w+|unlikely|less likely|inappropriate"
    r"|contraindicated|not (?!only))\b|n't\b|\A\s*no\b|✗|❌|✘",
    re.I,
)
_SAID_RIGHT = re.compile(
    r"(?<!in)(?<!not )\b(?:correct|right answer|best answer|most likely|most appropriate|true|is right(?=[.!,;]|$))\b"
    r"|\A\s*yes\b|✓|✔|✅",
    re.I,
)
_OPTION_LIST = re.compile(r"\bOptions:|(?:^|\n)[ ]*\(?A[.):][ ].*(?:\n|[ ])\(?B[.):][ ]")


class _Taken:
    """The stretches of a text that mentions cover."""

    def __init__(self, mentions: Sequence[Mention]) -> None:
        self._spans = sorted((mention.start, mention.end) for mention in mentions)
        self._starts = [start for start, _ in self._spans]

    def covers(self, mention: Mention) -> bool:
        index = bisect_right(self._starts, mention.end - 1) - 1
        return index >= 0 and self._spans[index][1] > mention.start


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
class OptionLetter:
    """Reads one of the letters A, B, C, … of `choices`: from a letter, or from the text of an option.

    A letter has to stand as an answer ("B", "(b)", "option B", "the answer is B"): the article "A", "vitamin D" and
    "E. coli" are no answers. An option's text counts wherever it stands, the longest first.
    """

    def __call__(
        self, output: str, *, choices: Sequence[str] = (), inputs: Mapping[str, str] | None = None
    ) -> str | None:
        """A letter within `choices`, or None."""
        if not choices:
            return None
        options = _options(tuple(choices))
        text = closed_text(output)
        stated = json_answer(find_json(text))
        if stated is not NOTHING:
            return self._read(str(stated), options) if isinstance(stated, str) else None
        for index, document in enumerate(documents(strip_markup(text))):
            if index and _OPTION_LIST.search(document) and not options.listed_in(document):
                return None
            value = self._read(document, options)
            if value is not None:
                return value
            if is_refusal(document) or states_no_answer(document):
                return None
        return None

    @staticmethod
    def _read(text: str, options: _Options) -> str | None:
        text = options.judged(options.without_listing(text))
        certain = not (is_refusal(text) or states_no_answer(text))
        return read_answer(text, options.mentions, mentions=certain, outside=_OUTSIDE)
