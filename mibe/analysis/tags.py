"""Entities as BIO tags, which seqeval takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mibe.metrics.extraction import Entity


def tag_rows(predicted: set[Entity], gold: set[Entity]) -> tuple[list[list[str]], list[list[str]]]:
    """One document as rows of BIO tags, gold and predicted; a tag stands for the text between two neighbouring bounds.

    Tags cannot say that entities of one side overlap: one that does goes to a further row, on both sides the same. An
    entity without a place in the text, which a model made up, has a row of one tag.
    """
    everything = sorted(predicted | gold, key=lambda span: (span.start, span.end, span.type))
    made_up = [span for span in everything if span.start >= span.end]
    rows: list[list[Entity]] = []
    for span in (span for span in everything if span.start < span.end):
        sides = [side for side in (predicted, gold) if span in side]
        free = (row for row in rows if not any(_meet(span, o) for o in row for side in sides if o in side))
        row = next(free, None)
        rows.append([span]) if row is None else row.append(span)
    bounds = sorted({bound for span in everything for bound in (span.start, span.end)})
    places = {bound: place for place, bound in enumerate(bounds)}
    tables = [[_tags([s for s in row if s in side], places) for row in rows] for side in (gold, predicted)]
    for table, side in zip(tables, (gold, predicted), strict=True):
        table += [[f"B-{span.type}"] if span in side else ["O"] for span in made_up]
    return tables[0], tables[1]


def _meet(span: Entity, other: Entity) -> bool:
    return span.start < other.end and other.start < span.end


def _tags(spans: Iterable[Entity], places: Mapping[int, int]) -> list[str]:
    tags = ["O"] * len(places)
    for name, start, end in spans:
        first, stop = places[start], places[end]
        tags[first:stop] = [f"B-{name}", *[f"I-{name}"] * (stop - first - 1)]
    return tags
