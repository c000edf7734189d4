"""Lists of the answers within an output: repeated from the prompt, explained one by one, or judged one by one.

An item of a list is no choice, but what a list calls right is, and so is an answer that stands before or after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mibe.parsers.marks import ANSWER, ANY, BOTH, LETTER, LETTER_KINDS, Kind, index_of, kind_of
from mibe.parsers.patterns import late
from mibe.parsers.statements import IS, NOUN

_ANY = late(ANY)
_ITEM = late(rf"[ *>#|-]*(?:\(?(?:\d{{1,2}}|[a-h])[.)\]:]+[ ]*)?[\"'($€£]?(?P<answer>{ANSWER})(?P<body>.*)", re.I)
_BARE = late(r"[\s.,;:!|\"')\]]*\Z")
_SENTENCES = late(r"(?<=[.!?])\s+")
_GLOSS = late(r"[\"').,]{0,3}(?:[ ]?[:(=|✓✔✅❌✗✘✘]|[ ]?,[ ]?this\b|[ ]?-|(?<=\.)[ ])")
_IN_ONE_LINE = late(rf"(?:{BOTH}|{LETTER})(?:[ ]*[.;]?[ ]*(?:{BOTH}))+")
_NUMBER = r"(?:\(?\d{1,2}[.)][ ]*)?"
_LABELS_IN_ONE_LINE = late(rf"{_NUMBER}{ANSWER}(?:[ ]*[.;]?[ ]+{_NUMBER}{ANSWER}){{2,}}")
_SCORED = (
    rf"{ANSWER}[\"')]*(?:[ ]?[:=(-]?[ ]?(?:\d{{1,3}}(?:\.\d{{1,6}})?[ ]?(?:%|/[ ]?\d{{1,3}})|[01]?\.\d{{1,6}})"
    r"|[ ]?=[ ]?\d{1,3}(?:\.\d{1,6})?)\)?"
)
_SCORES = late(rf"{_SCORED}(?:[ ]?[,;|\n][\s*|-]*{_SCORED})+")
_SCORE = late(rf"(?P<answer>{ANSWER})[^\d.]*(?P<score>[\d.]+)")
_VERB = late(
    r"[ ](?:is|are|was|were|seems?|appears?|would|could|might|may|can|should|must|has|does|fits|be|ist|est|es)\b", re.I
)
_CUE = late(rf"\b{NOUN}\b(?:[^\n]{{0,40}}?(?:{IS}|[:=])|\W*$)", re.I)
_WRONG = late(
    r"\b(?:incorrect|wrong|false|ruled out|eliminat\w+|exclud\w+|unlikely|less likely|inappropriate"
    r"|contraindicated|not (?!only))\b|n't\b|\A\W*no\b|✗|❌|✘",
    re.I,
)
_RIGHT = late(
    r"(?<!in)(?<!not )\b(?:correct|right answer|best answer|the answer|most likely|most appropriate|true"
    r"|this (?:best )?fits|fits best|is right(?=[.!,;]|$))\b|\A\W*yes\b|✓|✔|✅",
    re.I,
)


@dataclass
class _Item:
    """A line, and those that explain it, about one answer."""

    char: str
    first: int
    last: int
    bare: bool
    body: str
    after: str
    """Further sentences of the line that are about other answers."""

    @property
    def index(self) -> int:
        return index_of(self.char)


def without_lists(text: str, *, options: bool) -> str:
    """Without lists of the answers, repeated or explained; of a list that judges them, what it finds right."""
    text = _IN_ONE_LINE.sub(_in_one_line, _SCORES.sub(_likeliest, text))
    if not options:
        text = _LABELS_IN_ONE_LINE.sub(_unless_repeated, text)
    lines = text.split("\n")
    for run in _runs(lines, options=options):
        right, gone = _verdict(run), _repeated(run, options=options)
        for item in run if right else gone:
            lines[item.first : item.last + 1] = [""] * (item.last + 1 - item.first)
            lines[item.first] = item.after
        if right:
            lines[run[0].first] = f"Answer: {right}\n{lines[run[0].first]}"
    return "\n".join(lines)


def _in_one_line(found: re.Match[str]) -> str:
    chars = _ANY.findall(found[0])
    ascending = all(index_of(a) < index_of(b) for a, b in pairwise(chars))
    return "\n" if ascending else found[0]


def _likeliest(found: re.Match[str]) -> str:
    """Of answers with a probability each, the one that has the highest."""
    scores = {item["answer"]: float(item["score"]) for item in _SCORE.finditer(found[0])}
    best = [char for char, score in scores.items() if score == max(scores.values())]
    return f"\n{best[0]} is most likely.\n" if len(best) == 1 else "\n"


def _unless_repeated(found: re.Match[str]) -> str:
    """Three labels and more in a row are a list; the same ones again and again an answer that runs on."""
    chars = _ANY.findall(found[0])
    return "\n" if len({index_of(char) for char in chars}) == len(chars) else found[0]


def _runs(lines: Sequence[str], *, options: bool) -> list[list[_Item]]:
    """Items that follow each other, two different answers at least."""
    runs: list[list[_Item]] = [[]]
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        item = _item(line, number)
        if item is not None:
            runs[-1].append(item)
        elif options and runs[-1] and not _ANY.search(line) and not _CUE.search(line):
            runs[-1][-1].body += f"\n{line}"
            if not runs[-1][-1].bare:
                runs[-1][-1].last = number
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len({item.index for item in run}) > 1]


def _item(line: str, number: int) -> _Item | None:
    found = _ITEM.match(line)
    if found is None or found["body"].rstrip().endswith("?"):
        return None
    char = found["answer"]
    body, *further = _SENTENCES.split(found["body"])
    after = " ".join(sentence for sentence in further if _ANY.search(sentence))
    body = " ".join([body, *(sentence for sentence in further if not _ANY.search(sentence))])
    bare = _BARE.match(body) is not None
    is_letter, has_verb = kind_of(char) in LETTER_KINDS, _VERB.match(body) is not None
    listed = kind_of(char) is Kind.BOTH and body[:2] == ", "
    named = is_letter and kind_of(char) is not Kind.SIGN and body[:1] == " " and not has_verb
    judged = is_letter and has_verb and _WRONG.search(body)
    if bare or listed or named or judged or _GLOSS.match(body):
        return _Item(char, number, number, bare and not after, body, after)
    return None


def _verdict(run: Sequence[_Item]) -> str | None:
    """The one answer that a list calls right."""
    right = {item.char for item in run if _RIGHT.search(item.body) and not _WRONG.search(item.body)}
    return right.pop() if len(right) == 1 else None


def _repeated(run: Sequence[_Item], *, options: bool) -> list[_Item]:
    """The items that are a list: of options those in the order of their letters, of labels all but a lone first one.

    So in "C", "A", "B", "C", "D" the first is the answer, and in "A", "B", "C", "B" the last.
    """
    alone = not options or kind_of(run[0].char) is not Kind.BOTH
    if run[0].bare and all(_WRONG.search(item.body) for item in run[1:]):
        return list(run[1:])
    if alone and run[0].bare and not any(item.bare for item in run[1:]):
        return list(run[1:])
    described = [item for item in run if options and kind_of(item.char) is Kind.BOTH and not item.bare]
    parts: list[list[_Item]] = [[]]
    for item in run:
        part = parts[-1]
        fits = item.index > part[-1].index if part and options else item.index not in {i.index for i in part}
        parts[-1:] = [[*part, item]] if fits or not part else [part, [item]]
    listed = [item for part in parts if len(part) > 1 for item in part]
    return [*listed, *(item for item in described if item not in listed)] if len(described) > 1 else listed
