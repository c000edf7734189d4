"""What models without a tokenizer of their own do with text."""

from __future__ import annotations

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


def one_line(error: BaseException) -> str:
    """The first line of an error's message, at most 300 characters; its type where it says nothing."""
    text = str(error).strip()
    line = text.splitlines()[0].strip() if text else ""
    return (line or type(error).__name__)[:300]
