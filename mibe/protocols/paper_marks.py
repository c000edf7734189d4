"""Marked sentences as the released code reads, aligns and scores them (Me-LLaMA, `src/tasks/vital_measure.py`, `NER`).

A sentence is parsed as HTML of which only the top level counts, and becomes words with BIO tags. The words of output
and gold are walked side by side; what does not line up is dropped on both sides, gold entities included.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from mibe.errors import ModelError
from mibe.metrics.extraction import Entity

CLASSES = frozenset({"problem", "treatment", "test", "drug"})
OUTSIDE = "O"

Tagged = list[str]
"""[word, tag], the tag being "O", "B-problem", "I-problem", …"""


_UNCLOSED = re.compile(r"<(?!!\[)([A-Za-z/!?][^<]*(?=<)|)")


def check_packages() -> None:
    """Raise `ModelError` unless the packages that the released code reads marked sentences with are there."""
    if missing := [name for name in ("bs4", "spacy") if find_spec(name) is None]:
        raise ModelError(f'the protocol "paper" needs {" and ".join(missing)} here; pip install "mibe[paper]"')


def tagged_words(marked: str) -> list[Tagged] | None:
    """Words and tags of a marked sentence, or None for markup that cannot be parsed as HTML.

    Text outside tags is split on white space, text inside by spaCy's English tokenizer. The first class of a
    top-level tag is its type; a tag of another class, or inside another tag, marks nothing.
    """
    from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, ParserRejectedMarkup, Tag

    # Lone surrogates, which JSON can carry, are no UTF-8 and so no text to either package.
    marked = _closed(marked.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        try:
            soup = BeautifulSoup(marked, "html.parser")
        except ParserRejectedMarkup:
            return None
    words: list[Tagged] = []
    for child in soup.children:
        if isinstance(child, Tag):
            words += _inside(_tokenize(child.get_text()), child.get("class"))
        else:
            words += [[word, OUTSIDE] for word in str(child).split()]
    return words


def _closed(marked: str) -> str:
    """The same with each "<" that no ">" follows written out, as it is text to the HTML parser, which looks for the ">"
    from each of them to the end: 25 s for 100,000 characters.
    """
    last = marked.rfind(">") + 1
    return marked[:last] + _UNCLOSED.sub(lambda tag: f"&lt;{tag[1].replace('&', '&amp;')}", marked[last:])


def _inside(words: Iterable[str], classes: Sequence[str] | str | None) -> list[Tagged]:
    kind = classes[0] if classes else ""
    if kind not in CLASSES:
        return [[word, OUTSIDE] for word in words]
    return [[word, f"{'I' if position else 'B'}-{kind}"] for position, word in enumerate(words)]


def _tokenize(text: str) -> list[str]:
    return [token.text for token in _tokenizer()(text)]


@cache
def _tokenizer() -> Callable[[str], Any]:
    from spacy.lang.en import English

    tokenizer: Callable[[str], Any] = English().tokenizer
    return tokenizer


def align(predicted: Sequence[Tagged], gold: Sequence[Tagged]) -> tuple[list[str], list[str]]:
    """The tags of predicted and gold words that line up, as two lists of equal length.

    Equal words are a pair. A word that begins the other side's word is a pair with that part of it, and the rest of
    the longer word goes on as the inside of its entity. Otherwise both sides drop a word.
    """
    left, right = iter(predicted), iter(gold)
    a, b = next(left, None), next(right, None)
    pairs: list[tuple[str, str]] = []
    while a is not None and b is not None:
        (word_a, tag_a), (word_b, tag_b) = a, b
        if word_a.startswith(word_b) or word_b.startswith(word_a):
            pairs.append((tag_a, tag_b))
            a = _rest(a, len(word_b)) or next(left, None)
            b = _rest(b, len(word_a)) or next(right, None)
        else:
            a, b = next(left, None), next(right, None)
    return [tag for tag, _ in pairs], [tag for _, tag in pairs]


def _rest(tagged: Tagged, length: int) -> Tagged | None:
    """What is left of a word after its first `length` characters."""
    word, tag = tagged
    return [word[length:], tag.replace("B-", "I-", 1)] if len(word) > length else None


def chunks(tags: Sequence[str]) -> set[Entity]:
    """The entities of a tag sequence, by word positions, as seqeval's default mode (conlleval) finds them.

    An inside tag without a beginning, or after another type, begins an entity.
    """
    found: set[Entity] = set()
    start, previous = 0, OUTSIDE
    for position, tag in enumerate([*tags, OUTSIDE]):
        continues = tag.startswith("I-") and tag[2:] == previous[2:]
        if continues:
            continue
        if previous != OUTSIDE:
            found.add(Entity(previous[2:], start, position))
        start, previous = position, tag
    return found
