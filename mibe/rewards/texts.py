"""Prompts and responses as trainers hand them over: texts, or turns of a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from mibe.errors import UsageError

Text: TypeAlias = str | Sequence[Mapping[str, Any]] | Mapping[str, Any]
"""A text; or a turn {"role", "content"}, or several of them, the last of which counts. A content may be a list of
parts, whose texts are joined."""


def last_text(given: Text) -> str:
    """The text, or that of the last turn. Raises `UsageError` for what is neither."""
    if isinstance(given, str):
        return given
    if not isinstance(given, Mapping | Sequence):
        raise _neither(given)
    turn = given if isinstance(given, Mapping) else (given[-1] if given else {"content": ""})
    content = turn.get("content") if isinstance(turn, Mapping) else getattr(turn, "content", None)
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(_part(part) for part in content)
    raise _neither(given)


def _neither(given: Any) -> UsageError:
    return UsageError(f"a response is a text or turns of a chat with role and content, not {type(given).__name__}")


def _part(part: Any) -> str:
    """The text of a part of a turn; a picture has none."""
    found = part.get("text") if isinstance(part, Mapping) else getattr(part, "text", part)
    return found if isinstance(found, str) else ""
