"""A reply that comes as a stream of events (`stream=yes`): the whole answer that they spell, and when it began.

What is read here is an answer as any other from then on: its JSON is that of a reply that came in one piece.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mibe.models.openai.content import read_json

MEDIA_TYPE = "text/event-stream"

DONE = b"[DONE]"
"""What the last event holds in place of JSON."""

TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
"""Members of a message that grow from event to event."""


def begins(line: bytes) -> bool:
    """Whether a line of the stream holds the first of an answer's text, be it reasoning; roles and counts are none."""
    event = _event(line)
    return isinstance(event, Mapping) and any(text for _, text in _texts(event))


def completion(content: bytes) -> bytes:
    """The JSON of the completion that a stream's events make up; of an error among them, the error's.

    Nothing, which is no JSON, where the stream broke off: it ends with its last event, or with a choice that says why
    it ended.
    """
    texts: dict[str, str] = {}
    whole: dict[str, Any] = {}
    finish: Any = None
    is_over = False
    for line in content.splitlines():
        if _data(line) == DONE:
            is_over = True
            continue
        event = _event(line)
        if not isinstance(event, Mapping):
            continue
        if event.get("error"):
            return json.dumps({"error": event["error"]}).encode()
        whole |= {name: event[name] for name in ("id", "usage") if event.get(name)}
        for name, text in _texts(event):
            texts[name] = texts.get(name, "") + text
        finish = next((choice["finish_reason"] for choice in _choices(event) if choice.get("finish_reason")), finish)
    if not is_over and finish is None:
        return b""
    if "text" in texts:
        choice: dict[str, Any] = {"text": texts["text"]}
    else:
        choice = {"message": {"role": "assistant", "content": None, **texts}}
    return json.dumps({**whole, "choices": [{"index": 0, **choice, "finish_reason": finish}]}).encode()


def _texts(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(member, text) of what an event adds to the answer."""
    for choice in _choices(event):
        if isinstance(choice.get("text"), str):
            yield "text", choice["text"]
        delta: Any = choice.get("delta")
        if isinstance(delta, Mapping):
            yield from ((name, delta[name]) for name in TEXTS if isinstance(delta.get(name), str))


def _choices(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The first choice alone is asked for."""
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, Mapping) and choice.get("index", 0) == 0:
            yield choice


def _event(line: bytes) -> Any:
    data = _data(line)
    try:
        return None if data is None or data == DONE else read_json(data)
    except ValueError:
        return None


def _data(line: bytes) -> bytes | None:
    head, colon, data = line.partition(b":")
    return data.strip() if head == b"data" and colon else None
