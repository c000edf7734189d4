r"""Cleaning steps by name. Each is a pure function from text to text; an empty result drops the document.

>>> whitespace("one \t two\r\n\n\n\nthree ")
'one two\n\nthree'
>>> steps((("min_words", 3.0),))[0].apply("too short")
''
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mellama_train.corpus.words import words

Step: TypeAlias = Callable[[str], str]

# Compatibility characters that mean nothing but their plain form. NFKC as a whole would make 10² into 102.
_LIGATURES = {
    "\ufb00": "ff",
    "\ufb01": "fi",
    "\ufb02": "fl",
    "\ufb03": "ffi",
    "\ufb04": "ffl",
    "\ufb05": "st",
    "\ufb06": "st",
}
_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_PLAIN = str.maketrans({**_LIGATURES, **dict.fromkeys(_SPACES, " "), "\u2028": "\n", "\u2029": "\n\n"})
# Soft hyphens, zero-width characters, marks of direction and byte order, noncharacters and halves of surrogate pairs.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufffe\uffff\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_BLANKS = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_PLACEHOLDER = re.compile(r"\[\*\*.*?\*\*\]", re.DOTALL)
_UNDERSCORES = re.compile(r"_{3,}")
_HEADING = r"(?:\#{1,6}\ *|[\d.]+\ +|\**)?"
_REFERENCES = re.compile(
    rf"^{_HEADING}(?:references?|bibliography|literature\ cited|works\ cited)\**\ *:?\ *(?:\{{[^}}\n]*\}})?$",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_CAPTION = re.compile(
    r"^(?:\*\*)?(?:(?:supplementary|additional) )?(?:figure|fig\.?|table|scheme)"
    r"\s*s?\d+[a-z]?(?:\*\*)?\s*[.:|–—-].*$\n?",
    re.IGNORECASE | re.MULTILINE,
)
# [12], [3, 4–6]; pandoc's [@b1-x; @b2] and \[[@CR7]\]; the link ([Fig. 1](#F1){ref-type="fig"}).
_CITATION = re.compile(
    r"\s*\\?\[(?:\[?@[^\]\n]*\]?|\d{1,3}(?:\s*[,–-]\s*\d{1,3})*)\\?\]"
    r"|\s*\(\s*\[[^\]\n]*\]\(#[^)\n]*\)(?:\{[^}\n]*\})?\s*\)"
)
_STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with", "is", "was", "were", "in", "for"])


def unicode(text: str) -> str:
    """Canonical composition (NFC), ligatures and special spaces made plain; superscripts and symbols stay."""
    return unicodedata.normalize("NFC", text.translate(_PLAIN))


def control_characters(text: str) -> str:
    """Without control and invisible characters; all line ends become one newline."""
    return _INVISIBLE.sub("", _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\x85", "\n")))


def whitespace(text: str) -> str:
    """One space between words, none at the ends of a line, at most one blank line."""
    lines = (_BLANKS.sub(" ", line).strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def deidentified(text: str) -> str:
    """MIMIC-III's `[**Known lastname 12**]` and MIMIC-IV's `___` become one form: three underscores."""
    return _UNDERSCORES.sub("___", _PLACEHOLDER.sub("___", text))


def references(text: str) -> str:
    """Without the list of references: what follows the last heading that announces one, if it is in the last half."""
    found = None
    for found in _REFERENCES.finditer(text):  # noqa: B007
        pass
    return text[: found.start()].rstrip() if found and found.start() > len(text) // 2 else text


def captions(text: str) -> str:
    """Without lines that are the caption of a figure or a table ("Figure 2. …")."""
    return _CAPTION.sub("", text)


def citations(text: str) -> str:
    """Without the marks of citations: [12], [3, 5–7], and pandoc's [@b1] as the Pile has them."""
    return _CITATION.sub("", text)


def min_words(number: float) -> Step:
    """Drop a document of fewer words."""
    return lambda text: text if len(words(text)) >= number else ""


def min_letters(share: float) -> Step:
    """Drop a document in which letters make up less than this share of what is not space: tables, codes, gibberish."""

    def step(text: str) -> str:
        solid = "".join(text.split())
        letters = sum(map(str.isalpha, solid))
        return text if solid and letters >= share * len(solid) else ""

    return step


def english(number: float) -> Step:
    """Drop a document with fewer than this many different English function words (Gopher's rule, with 2)."""
    return lambda text: text if len(_STOP_WORDS.intersection(words(text))) >= number else ""


def max_repeated_lines(share: float) -> Step:
    """Drop a document in which more than this share of its lines repeat an earlier line (Gopher's rule, with 0.3)."""

    def step(text: str) -> str:
        lines = [line for line in text.split("\n") if line.strip()]
        return text if len(lines) - len(set(lines)) <= share * len(lines) else ""

    return step


PLAIN_STEPS: Mapping[str, Step] = {
    step.__name__: step
    for step in (unicode, control_characters, whitespace, deidentified, references, captions, citations)
}
NUMBERED_STEPS: Mapping[str, Callable[[float], Step]] = {
    step.__name__: step for step in (min_words, min_letters, english, max_repeated_lines)
}


@dataclass(frozen=True, slots=True)
class NamedStep:
    """A step, and how the recipe calls it."""

    name: str
    apply: Step


def steps(wanted: Iterable[str | tuple[str, float]]) -> list[NamedStep]:
    """The steps of these names, in the order given; a pair is a step with its number. Raises `ValueError`."""
    found = []
    for item in wanted:
        if isinstance(item, str):
            if item not in PLAIN_STEPS:
                raise ValueError(_unknown(item))
            found.append(NamedStep(item, PLAIN_STEPS[item]))
        else:
            name, number = item
            if name not in NUMBERED_STEPS:
                raise ValueError(_unknown(name))
            found.append(NamedStep(f"{name}: {number:g}", NUMBERED_STEPS[name](number)))
    return found


def _unknown(name: str) -> str:
    if name in PLAIN_STEPS:
        return f"the step {name} takes no number"
    if name in NUMBERED_STEPS:
        return f"the step {name} needs a number: {{{name}: …}}"
    return f"unknown step {name!r}; known: {', '.join([*PLAIN_STEPS, *NUMBERED_STEPS])}"
