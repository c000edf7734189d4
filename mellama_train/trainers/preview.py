"""What a run would learn from, before anything is loaded or trained: its numbers, and its documents as tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mellama_train.loop.training import TrainingData
from mellama_train.recipe.config import Recipe
from mellama_train.rows.row import IGNORED
from mellama_train.rows.steps import run_steps, steps_in

LEARNED, OTHER, PLAIN = "\x1b[32m", "\x1b[2m", "\x1b[0m"
"""Green, faint, and back."""


def summary(recipe: Recipe, data: TrainingData) -> str:
    """Lines of what the run would do: rows, steps, targets of the first step, what is held out, where it goes."""
    rows = len(data.rows)
    possible, steps = steps_in(rows, recipe.batch.rows), run_steps(recipe, rows)
    first = [data.rows[index] for index in range(min(rows, recipe.batch.rows))]
    targets = sum(int((row.labels != IGNORED).sum()) for row in first)
    tokens = sum(len(row.tokens) for row in first)
    held_out = ", ".join(f"{name} {len(found):,}" for name, found in data.held_out.items()) or "none"
    return "\n".join(
        [
            f"rows: {rows:,} of {recipe.context:,} tokens",
            f"steps: {steps:,} of {recipe.batch.rows:,} rows (the data has {possible:,})",
            f"first step: {targets:,} of {tokens:,} tokens are learned; sources: "
            + ", ".join(sorted({row.source for row in first})),
            f"held-out rows: {held_out}",
            f"model: {recipe.model.path}; output: {recipe.output}",
        ]
    )


def documents(data: TrainingData) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """(token ids, which are learned) of each document, in the order of the rows; padding is none."""
    for index in range(len(data.rows)):
        row = data.rows[index]
        starts = [*np.flatnonzero(row.positions == 0), len(row.tokens)]
        for begin, end in itertools.pairwise(starts):
            learned = row.labels[begin:end] != IGNORED
            if learned.any():
                yield row.tokens[begin:end], learned


def shown(data: TrainingData, count: int, *, colour: bool) -> Iterator[str]:
    """The first documents as text, what is learned in green, or without colour between ⟦ and ⟧."""
    for number, (tokens, learned) in enumerate(itertools.islice(documents(data), count), start=1):
        parts = []
        for is_learned, group in itertools.groupby(zip(tokens.tolist(), learned.tolist(), strict=True), lambda t: t[1]):
            text = data.tokenizer.decode([token for token, _ in group], skip_special_tokens=False)
            parts.append(marked(text, learned=is_learned, colour=colour))
        yield f"--- {number}: {len(tokens):,} tokens, {int(learned.sum()):,} learned\n{''.join(parts)}"


def marked(text: str, *, learned: bool, colour: bool) -> str:
    """A text that is learned in green, or without colour between ⟦ and ⟧; another one faint, or as it is."""
    if colour:
        return f"{LEARNED if learned else OTHER}{text}{PLAIN}"
    return f"⟦{text}⟧" if learned else text
