"""Tables: each prompt slot is a column, and the response another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mellama_train.errors import DataError
from mellama_train.instructions.items import Item, Items
from mellama_train.instructions.readers import EachFile
from mellama_train.instructions.readers.records import SUFFIXES, records, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How the columns of a table become an item.

    `fields` maps a slot of the prompt to its column, `response` names the column of the response; where releases name
    it differently there are several names, the first that is there counts. A column in `optional` may be missing.
    `labels` writes out the codes of a label column; `where` keeps the rows in which a column starts with a text.
    """

    fields: Mapping[str, str]
    response: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)

    def read_file(self, path: Path) -> Items:
        """The items of one file. Raises `DataError` for a table without the columns."""
        for place, record in records(path):
            if all(str(record.get(column, "")).startswith(start) for column, start in self.where.items()):
                yield self._item(record, place, f"{path.name}{place.removeprefix(str(path))}")

    def _item(self, record: Mapping[str, Any], place: str, id: str) -> Item:
        wanted = (*(c for c in self.fields.values() if c not in self.optional), *self.where)
        if missing := [column for column in wanted if column not in record]:
            raise DataError(_lacks(place, missing[0], record))
        response = next((name for name in self.response if name in record), None)
        if response is None:
            raise DataError(_lacks(place, self.response[0], record))
        fields = {slot: text_of(record.get(column), place, column) for slot, column in self.fields.items()}
        return Item(id, fields, self._response(text_of(record[response], place, response), place))

    def _response(self, text: str, place: str) -> str:
        if not self.labels or not text:
            return text
        if text not in self.labels:
            raise DataError(f"{place}: the label is {text!r}, and should be one of {', '.join(self.labels)}")
        return self.labels[text]


def table(
    fields: Mapping[str, str],
    response: str | tuple[str, ...],
    *,
    optional: frozenset[str] = frozenset(),
    labels: Mapping[str, str] | None = None,
    where: Mapping[str, str] | None = None,
) -> EachFile:
    """A reader of JSON, JSON lines, CSV and xlsx tables (see `Columns`)."""
    columns = Columns(
        fields=fields,
        response=(response,) if isinstance(response, str) else response,
        optional=optional,
        labels=labels or {},
        where=where or {},
    )
    return EachFile(columns.read_file, SUFFIXES)


def _lacks(place: str, column: str, record: Mapping[str, Any]) -> str:
    return f"{place}: no column {column!r}; it has {', '.join(map(str, record)) or 'none'}"
