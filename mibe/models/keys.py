"""Keys of services: what can be one, and texts without them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SHORTEST = 8
"""A key of fewer characters is none ("EMPTY", "none", "x"): servers without keys get it, and an answer may say it."""

_NAMES = re.compile("(KEY|TOKEN|SECRET|PASSWORD)$", re.I)
_ARGUMENT = re.compile(r"([\w.-]*(?:KEY|TOKEN|SECRET|PASSWORD)=)(\"[^\"]*\"|(?:\\,|[^,])+)", re.I)
_IN_ADDRESS = re.compile(r"(?<=://)[^/?#@\s]+(?=@)")
_VISIBLE = re.compile("[!-~]*")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.S)


def can_be_sent(key: str) -> bool:
    """Whether a header can hold the key: visible characters of ASCII alone. HTTP libraries quote one that it cannot."""
    return _VISIBLE.fullmatch(key) is not None


def in_environment(environment: Mapping[str, str]) -> list[str]:
    """The values of the variables that are named as keys are, the longest first."""
    found = {value.strip() for name, value in environment.items() if _NAMES.search(name)}
    return sorted(found, key=lambda value: (-len(value), value))


def without(keys: Iterable[str], text: str) -> str:
    """The text with a mark in place of each key, be it that JSON's escapes, or escapes of escapes, spell one."""
    for key in keys:
        if len(key) >= SHORTEST:
            text = _spelt_out(key, text).replace(key, "[key]")
    return text


def hidden(text: str, environment: Mapping[str, str]) -> str:
    """A word of a command as it may be written down: without values of arguments named as keys are, without user and
    password in an address, and without the keys of the environment."""
    text = _IN_ADDRESS.sub("[key]", _ARGUMENT.sub(r"\1[key]", text))
    return without(in_environment(environment), text)


def _spelt_out(key: str, text: str) -> str:
    """The text without escapes where one of them hides the key; else as it is."""
    plain = text
    while key not in plain:
        if plain == (plain := _ESCAPE.sub(_character, plain)):
            return text
    return plain


def _character(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _CONTROLS.get(found[2], found[2])
