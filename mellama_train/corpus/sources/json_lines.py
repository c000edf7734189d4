"""JSON lines with a `text`: the Pile, RedPajama, C4, or one's own.

The other fields (also those inside `meta` or `metadata`, as `meta.pile_set_name`) are there to choose by.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mellama_train.corpus.documents import Broken, Document, Documents
from mellama_train.corpus.streams import numbered_lines
from mellama_train.rows.characters import lone_surrogate

IDS = ("id", "doc_id", "url")


def read_json_lines(path: Path) -> Documents:
    """One document a line."""
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            yield Broken(where, f"not JSON: {error}")
            continue
        text = value.get("text") if isinstance(value, dict) else None
        if isinstance(text, str) and (half := lone_surrogate(text)):
            yield Broken(where, f"`text` holds {half}, half a character")
        elif isinstance(text, str):
            fields = _fields(value)
            yield Document(next((fields[key] for key in IDS if key in fields), where), text, fields)
        else:
            yield Broken(where, "no field `text` that holds text")


def _fields(value: dict[str, Any]) -> dict[str, str]:
    fields = {key: str(item) for key, item in value.items() if key != "text" and not isinstance(item, dict | list)}
    for outer in ("meta", "metadata"):
        if isinstance(inner := value.get(outer), dict):
            fields |= {f"{outer}.{key}": str(item) for key, item in inner.items() if not isinstance(item, dict | list)}
    return fields
