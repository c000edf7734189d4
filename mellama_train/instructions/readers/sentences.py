"""Sentences of running text, and a cut between two of them."""

from __future__ import annotations

import random
import re

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")
# What ends with a dot and not a sentence: "E. coli", "vs. placebo", "Fig. 2".
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|e\.g|i\.e|vs|cf|al|etc|approx|ca|resp|spp?|var|no|nos|figs?|dr|prof|st)\.$", re.I
)
LEAST_WORDS = 5
"""A heading or a stray piece has fewer words than a sentence."""


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, without headings ("BACKGROUND"), stray words and copyright notices."""
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        piece = text[start : match.end()].strip()
        if "\n" not in match[0] and _ABBREVIATION.search(piece):
            continue
        found.append(piece)
        start = match.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if len(sentence.split()) >= LEAST_WORDS and "©" not in sentence]


def cut(parts: list[str], name: str) -> int:
    """How many of the parts (at least two) come first, 1 to all but one: drawn once and for all by `name`."""
    return random.Random(name).randint(1, len(parts) - 1)
