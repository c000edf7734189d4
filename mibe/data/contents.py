"""What a user should know of the content of a data set: empty, repeated and contradictory documents, equal options."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mibe.data.splits import normalised
from mibe.task import Example, letter

Answers = dict[str, list[str]]
"""Digest of a content → digests of the answers that it has, one for each example."""


def content_notes(splits: Mapping[str, Sequence[Example]]) -> list[str]:
    """One sentence for each kind of thing in each split that has it; case and white space make no other document."""
    notes = []
    answers = {split: _answers(examples) for split, examples in splits.items()}
    for split, examples in splits.items():
        empty = Counter(field for e in examples for field, text in e.inputs.items() if not text.strip())
        notes += [f"{split}: {count:,} examples with an empty {field}" for field, count in empty.items()]
        notes += _on_equal_options(split, examples)
        if torn := sum(len(given) for given in answers[split].values() if len(set(given)) > 1):
            notes.append(f"{split}: {torn:,} examples have the content of another one, whose answer differs")
    for other in (split for split in splits if split != "test" and "test" in splits):
        notes += _on_overlap(other, answers[other], answers["test"])
    return notes


def equal_options(example: Example) -> tuple[bool, bool]:
    """Whether two options have the same text, white space aside; and whether the right one is among them."""
    texts = [" ".join(choice.split()) for choice in example.choices]
    right = [text for i, text in enumerate(texts) if letter(i) == example.target]
    return len(set(texts)) < len(texts), any(texts.count(text) > 1 for text in right)


def _on_equal_options(split: str, examples: Iterable[Example]) -> list[str]:
    found = [equal_options(example) for example in examples if example.choices]
    equal, right = (sum(column) for column in zip(*found, strict=True)) if found else (0, 0)
    if not equal:
        return []
    about = f"; in {right:,} of them the right one has an equal, whose letter counts as right too" if right else ""
    return [f"{split}: {equal:,} questions have two equal options{about}"]


def _on_overlap(other: str, theirs: Answers, in_test: Answers) -> list[str]:
    shared = theirs.keys() & in_test.keys()
    if not shared:
        return []
    examples = sum(len(in_test[content]) for content in shared)
    differing = sum(answer not in theirs[content] for content in shared for answer in in_test[content])
    about = f", {examples:,} examples there" if examples != len(shared) else ""
    about += f", {differing:,} of them with another answer" if differing else ""
    return [f"{other}: {len(shared):,} documents also stand in test{about}"]


def _answers(examples: Iterable[Example]) -> Answers:
    found: Answers = {}
    for example in examples:
        content = normalised("\n".join((*example.inputs.values(), *example.choices)))
        if content:
            found.setdefault(_digest(content), []).append(_digest(json.dumps(example.target))[:16])
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
