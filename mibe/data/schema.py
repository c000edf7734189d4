"""One example as one line of JSON: the schema that all prepared data shares (`docs/data.md`)."""

from __future__ import annotations

import json
from typing import Any

from mibe.data.parsing import parse_json
from mibe.task import Example, letter

KEYS = frozenset({"id", "inputs", "target", "choices", "metadata", "source"})


def to_line(example: Example) -> str:
    """The example as one line of JSON, without the line break; what is empty of the optional keys is left out.

    Raises ValueError, saying what is wrong, for an example that `from_line` would refuse.
    """
    record: dict[str, Any] = {"id": example.id, "inputs": dict(example.inputs), "target": example.target}
    if example.choices:
        record["choices"] = list(example.choices)
    if example.metadata:
        record["metadata"] = dict(example.metadata)
    if example.source:
        record["source"] = example.source
    _check(record)
    return json.dumps(record, ensure_ascii=False)


def from_line(line: str) -> Example:
    """The example of one line. Raises ValueError, saying what is wrong, when the line is not in the schema."""
    try:
        record = parse_json(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from None
    _check(record)
    return Example(
        id=record["id"],
        inputs=record["inputs"],
        target=record["target"],
        choices=tuple(record.get("choices", ())),
        metadata=record.get("metadata", {}),
        source=record.get("source", ""),
    )


def _check(record: Any) -> None:
    if not isinstance(record, dict):
        raise ValueError(f"a line holds one JSON object, not {_kind(record)}")
    if not record.keys() <= KEYS:
        extra = ", ".join(sorted(record.keys() - KEYS))
        raise ValueError(f"unknown key {extra}; the keys are id, inputs, target, choices, metadata, source")
    if not isinstance(record.get("id"), str) or not record["id"]:
        raise ValueError("id must be a string that is not empty")
    if not _is_text_map(record.get("inputs")) or not record["inputs"]:
        raise ValueError('inputs must be an object of texts, such as {"text": "…"}')
    if record.get("target") is None:
        raise ValueError("target is missing")
    if not _is_text_map(record.get("metadata", {})):
        raise ValueError("metadata must be an object of texts")
    if not isinstance(record.get("source", ""), str):
        raise ValueError("source must be a text")
    if "choices" in record:
        _check_choices(record["choices"], record["target"])


def _check_choices(choices: Any, target: Any) -> None:
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) for c in choices):
        raise ValueError("choices must be a list of at least two texts")
    letters = [letter(i) for i in range(len(choices))]
    if target not in letters:
        raise ValueError(f"target {target!r} is not the letter of one of the choices ({letters[0]}–{letters[-1]})")


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}
    return names.get(type(value), "null")
