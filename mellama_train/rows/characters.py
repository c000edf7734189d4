"""What JSON lets into a text and UTF-8 does not."""

from __future__ import annotations


def lone_surrogate(text: str) -> str | None:
    r"""The first half of a surrogate pair that stands without the other half, as "\ud83d"; None where there is none.

    JSON escapes bring them in where a text was cut in the midst of a character; no file and no tokenizer takes them.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return rf"\u{ord(text[error.start]):04x}"
    return None
