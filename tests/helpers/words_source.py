"""A data set of words, for the tests of prepared data."""

from dataclasses import dataclass, field

from mibe.task import Example


@dataclass(frozen=True)
class Words:
    """One example a line of words.txt; the variant `other` has no fixed size."""

    counts: dict = field(default_factory=lambda: {"train": 2, "test": 3})
    licence: str = "CC0-1.0"
    homepage: str = "https://example.org"
    obtain: str = "Download words.txt from https://example.org."
    hub: None = None
    variants: tuple = ("official", "other")
    version: int = 1

    def read(self, raw, *, variant):
        lines = [line.split(",") for _, line in raw.lines(raw.one("words.txt"))]
        return {
            split: [Example(f"{i}", {"text": t}, "x") for i, (s, t) in enumerate(lines) if s == split]
            for split, _ in lines
        }
