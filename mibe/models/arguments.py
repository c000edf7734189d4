"""Model arguments: from the text of the command line to typed values, with an error that says what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mibe.errors import UsageError, all_unknown

SETTINGS: Mapping[str, str] = {
    **{name: "--" + name.replace("_", "-") for name in ("temperature", "top_p", "top_k", "min_p", "system_prompt")},
    **{name: "--" + name.replace("_", "-") for name in ("thinking", "reasoning_effort", "max_new_tokens", "repeats")},
    "enable_thinking": "--thinking on or off",
    "chat_template_kwargs": "--chat-template-args K=V,…",
    "max_tokens": "--max-new-tokens",
}
"""What is often given as an argument of a model → the option that sets it for all of them."""

_ARGUMENT = re.compile(
    r"""\s* (?P<name> (?: \\, | [^,=] )*? ) \s*
    (?: = \s* (?: "(?P<quoted> (?: \\" | [^"] )* )" \s* (?= , | $ ) | (?P<plain> (?: \\, | [^,] )* ) ) )?
    (?: , | $ )""",
    re.VERBOSE | re.DOTALL,
)
"""One argument and the comma behind it."""


def parse_model_args(text: str) -> dict[str, str]:
    """Arguments of a model from "pretrained=PATH,dtype=bfloat16".

    A value may hold "=". A comma in it is written `\\,`, or the value stands in double quotes (and a quote in those is
    `\\"`). Raises `UsageError` for a piece without "=" or without a name, for a quote that is not closed, and for a
    name given twice. An object of JSON, which lm-eval takes too, is read as well: its values become text, and nulls are
    left out.
    """
    if text.lstrip().startswith("{"):
        return _from_json(text)
    args: dict[str, str] = {}
    for found in _ARGUMENT.finditer(text):
        name, quoted, plain = found["name"], found["quoted"], found["plain"]
        if not name and quoted is None and plain is None:
            continue
        if not name or (quoted is None and plain is None):
            raise UsageError(
                f"model argument {found[0].strip(' ,')!r} is not of the form NAME=VALUE; separate arguments by commas; "
                r'a comma in a value is written \, or the value in double quotes: pretrained="/data/a,b"'
            )
        if plain is not None and plain.startswith('"'):
            raise UsageError(f"model argument {name}={plain}: the quote is not closed before the next argument")
        if name in args:
            raise UsageError(f"model argument {name!r} is given twice")
        args[name] = plain.strip().replace(r"\,", ",") if quoted is None else quoted.replace(r"\"", '"')
    return args


def _from_json(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"model arguments {text!r} begin as JSON and are none: {error}") from error
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
        if value is not None
    }


def write_model_args(args: Mapping[str, str]) -> str:
    """The text that `parse_model_args` reads these arguments from."""
    return ",".join(f"{name}={_written(value)}" for name, value in args.items())


def _written(value: str) -> str:
    if value.startswith('"') or value != value.strip():
        return '"' + value.replace('"', r"\"") + '"'
    return value.replace(",", r"\,")


def parse_template_args(text: str) -> dict[str, Any]:
    """Switches of a chat template from "enable_thinking=false,tools=[1,2],mode=fast".

    A value is JSON where it can be read so (then it may hold commas), true, false and null in any case, else text up to
    the next comma. Raises `UsageError` for a piece that is not of the form NAME=VALUE, and for a name given twice.
    """
    args: dict[str, Any] = {}
    rest = text
    while rest := rest.lstrip(" ,"):
        name, equals, rest = rest.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise UsageError(f"chat template argument {name!r} is not of the form NAME=VALUE; separate them by commas")
        if name in args:
            raise UsageError(f"chat template argument {name!r} is given twice")
        args[name], rest = _first_value(rest.lstrip())
    return args


def _first_value(text: str) -> tuple[Any, str]:
    """The value that a text begins with, and what comes after its comma."""
    word, _, rest = text.partition(",")
    if word.strip().lower() in _WORDS:
        return _WORDS[word.strip().lower()], rest
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return word.strip(), rest
    after = text[end:].lstrip()
    return (value, after[1:]) if after[:1] in ("", ",") else (word.strip(), rest)


_WORDS = {"true": True, "false": False, "null": None, "none": None}


def check_names(model: str, args: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UsageError`, with the option or the nearest known names, for an argument that `model` does not take."""
    known = sorted(known)
    strange = [name for name in args if name not in known]
    if settings := [name for name in strange if name in SETTINGS]:
        told = f"is no argument of the model {model!r} but a setting of the run"
        raise UsageError("; ".join(f"{name} {told}: {SETTINGS[name]}" for name in settings))
    if strange:
        raise all_unknown(f"argument of the model {model!r}:", strange, known)


def convert(model: str, args: Mapping[str, str], kinds: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Each argument through the converter of its name.

    Raises `UsageError` for an unknown name, and for a value that its converter refuses by `ValueError`.
    """
    check_names(model, args, kinds)
    values = {}
    for name, text in args.items():
        try:
            values[name] = kinds[name](text)
        except ValueError as error:
            raise UsageError(f"argument {name}={text} of the model {model!r}: {error}") from None
    return values


def switch(text: str) -> bool:
    """True or False from true/false, yes/no, on/off, 1/0 in any case."""
    value = text.lower()
    if value in ("true", "yes", "on", "1"):
        return True
    if value in ("false", "no", "off", "0"):
        return False
    raise ValueError("must be true or false")


def whole(text: str) -> int:
    """A whole number from its digits."""
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number") from None


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = whole(text)
    if value < 1:
        raise ValueError("must be at least 1")
    return value
