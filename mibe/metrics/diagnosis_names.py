"""Whether two names are the same diagnosis as far as spelling can tell; synonyms are a judge's affair."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from mibe.task import Value

_PARENTHESES = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_ABBREVIATION = re.compile(r"(?=(?:[^A-Z]*[A-Z]){2})[A-Za-z0-9][\w/&.+-]{1,11}s?")
_POSSESSIVE = re.compile(r"['’]s\b|(?<=s)['’](?=\s|$)")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
# "Hepatitis A" is not hepatitis: a lone "a" is an article only where it comes first.
_ARTICLE = re.compile(r"\b(?:an|the)\b|^\s*a\b")


class Names(NamedTuple):
    """The normalised names in one text: those that stand by themselves, and abbreviations beside a full name."""

    full: frozenset[str]
    short: frozenset[str]


def same_diagnosis(predicted: str, accepted: Iterable[str]) -> bool:
    """Whether the predicted name is one of the accepted ones.

    Case, accents, punctuation, possessives and articles make no difference, and an abbreviation in parentheses is a
    name too: "GPA" is "granulomatosis with polyangiitis (GPA)". Two full names are never the same for their
    abbreviation alone ("multiple sclerosis (MS)", "mitral stenosis (MS)").
    """
    ours = _names(predicted)
    return any(
        ours.full & theirs.full or ours.full & theirs.short or ours.short & theirs.full
        for theirs in map(_names, accepted)
    )


def accepted_names(target: Value) -> tuple[str, ...]:
    """The accepted names of a case: a list of them, or one text in which semicolons separate them."""
    names = target.split(";") if isinstance(target, str) else target
    return tuple(stripped for name in names if (stripped := str(name).strip()))


def alternatives(text: str) -> tuple[str, list[str]]:
    """The name without its parentheses, and what stands in them as a name of its own: abbreviations, or the full name
    where what stands outside is the abbreviation."""
    outside, inside, short = _parts(text)
    return outside, inside if _ABBREVIATION.fullmatch(outside) and len(inside) > len(short) else short


def _parts(text: str) -> tuple[str, list[str], list[str]]:
    """What stands outside of the parentheses of a name, what in each of them, and what of that is an abbreviation."""
    outside = " ".join(_PARENTHESES.sub(" ", text).split())
    inside = [part.strip() for found in _PARENTHESES.findall(text) for part in found if part.strip()]
    return outside, inside, [part for part in inside if _ABBREVIATION.fullmatch(part)]


def _names(text: str) -> Names:
    """The name itself and, where it or its parenthesis is an abbreviation, both by themselves."""
    outside, inside, short = _parts(text)
    if _ABBREVIATION.fullmatch(outside) and len(inside) > len(short):
        return Names(_forms(part for part in inside if part not in short), _forms([outside, *short]))
    # A parenthesis that is no abbreviation qualifies the name, and is part of it.
    whole = " ".join([outside, *(part for part in inside if part not in short)])
    return Names(_forms([whole]), _forms(short))


def _forms(names: Iterable[str]) -> frozenset[str]:
    return frozenset(filter(None, map(normalised, names)))


def normalised(name: str) -> str:
    """A name in lower case, without accents, possessives, punctuation and articles."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
    words = _PUNCTUATION.sub(" ", _POSSESSIVE.sub("", plain))
    return " ".join(_ARTICLE.sub(" ", words).split()) or words.strip()
