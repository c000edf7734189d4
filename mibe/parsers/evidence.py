"""Where in an output its answer stands, found by asking the parser itself, so that it works for every parser.

Parsers read a text from which markup, reasoning and invented documents were taken away; places in it are no places in
the output. So the question is put the other way round: from which part of the output alone does the parser read the
same? What is found is true by construction, for parsers of plugins too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from mibe.task import Parser, Value

_TOKEN = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")

Place = tuple[int, int]


def evidence(
    output: str,
    value: Value | None,
    parser: Parser,
    *,
    choices: Sequence[str] = (),
    inputs: Mapping[str, str] | None = None,
) -> Place | None:
    """Start and end of a part of `output` from which alone `parser` reads `value`, and not without its last word.

    `value` is what the parser reads from the whole; that is not asked again, since long texts take their time and most
    answers stand in the first words. Where the answer stands more than once, it is the part without which the output
    reads differently, if there is one, else the one that ends first. None where there is no such part: nothing was
    read, the answer is an empty one (no entities), or no part of the output gives this value.
    """
    tokens = [token.span() for token in _TOKEN.finditer(output)]

    @cache
    def reads(text: str) -> bool:
        return bool(parser(text, choices=choices, inputs=inputs) == value)

    def part(first: int, last: int) -> str:
        return output[tokens[first][0] : tokens[last - 1][1]] if first < last else ""

    def from_the_left(first: int, enough: int) -> int:
        return _boundary(lambda last: reads(part(first, last)), first, enough)

    def from_the_right(last: int, enough: int) -> int:
        return _boundary(lambda first: reads(part(first, last)), last, enough)

    if not value:
        return None
    if isinstance(value, str) and " " in value and output.count(value) == 1 and reads(value):
        return output.index(value), output.index(value) + len(value)
    end = from_the_left(0, len(tokens))
    if not reads(part(0, end)):
        return None
    start = from_the_right(end, 0)
    place = start, from_the_left(start, end)
    if reads(_without(output, tokens, *place)):
        start = from_the_right(len(tokens), 0)
        other = start, from_the_left(start, len(tokens))
        if not reads(_without(output, tokens, *other)):
            place = other
    first, last = place
    return (tokens[first][0], tokens[last - 1][1]) if first < last else None


def _boundary(holds: Callable[[int], bool], fails: int, succeeds: int) -> int:
    """A number for which `holds`, next to one on the side of `fails` for which it does not.

    It is looked for in strides that double from `fails` on: answers are short, and so is what is read for most of them.
    """
    stride = 1 if succeeds > fails else -1
    while abs(stride) < abs(succeeds - fails):
        if holds(fails + stride):
            succeeds = fails + stride
        else:
            fails, stride = fails + stride, 2 * stride
    while abs(succeeds - fails) > 1:
        middle = (fails + succeeds) // 2
        if holds(middle):
            succeeds = middle
        else:
            fails = middle
    return succeeds


def _without(output: str, tokens: Sequence[Place], first: int, last: int) -> str:
    return output[: tokens[first][0]] + output[tokens[last - 1][1] :] if first < last else output
