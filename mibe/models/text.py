"""What models without a tokenizer of their own do with text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mibe.models.base import Message


def plain_text(messages: Sequence[Message]) -> str:
    """The messages as one text, a blank line between them."""
    return "\n\n".join(message["content"] for message in messages)


def byte_count(text: str) -> int:
    """Bytes of a text: no tokenizer makes more tokens than that."""
    return len(text.encode("utf-8", "surrogatepass"))


def roughly_tokens(text: str) -> int:
    """Tokens of a text, estimated from above: one for every 3 bytes. English has one for every 4 to 5."""
    return -(-byte_count(text) // 3)


def first_stop(text: str, stop: Iterable[str]) -> int | None:
    """Where the earliest stop string begins in `text`, or None when it holds none."""
    return min((at for s in stop if s and (at := text.find(s)) >= 0), default=None)


SHOWN = 300
"""Characters of an error's message that are kept."""

_ANNOUNCES = re.compile(r":$|^\d+ validation errors? for |\bClient Error\b|^Traceback ", re.I)
"""A first line that only says that something follows."""


def one_line(error: BaseException) -> str:
    """The reason that an error gives, in one line of at most 300 characters; its type where it says nothing.

    That is the first line, and where this one only announces ("Error(s) in loading state_dict for Model:", pydantic's
    and the hub's errors) the next one behind it, with the number of those that follow in the same list. A message that
    quotes a traceback has its reason in its last line.
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, KeyError):
        # Its message is the key alone.
        return f"{type(error).__name__}: {lines[0]}"[:SHOWN]
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        return _cut(lines[-1])
    first, *rest = lines
    if not rest or not _ANNOUNCES.search(first):
        return _cut(first)
    kind = rest[0].partition(" for ")[0]
    alike = sum(line.startswith(f"{kind} for ") for line in rest[1:])
    more = f" (and {alike} more)" if alike else ""
    return _cut(f"{first} {rest[0]}", SHOWN - len(more)) + more


def _cut(text: str, most: int = SHOWN) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
