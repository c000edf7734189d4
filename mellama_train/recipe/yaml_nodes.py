"""YAML as nodes that know where they stand: composed, changed by options, and asked for what they should be."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from mellama_train.errors import RecipeError, one_line

NULL = "tag:yaml.org,2002:null"


class _Named(io.StringIO):
    """A text whose name YAML keeps in its marks."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def compose(text: str, name: str) -> Any:
    """The text as a YAML node; None where there is nothing in it."""
    try:
        return yaml.compose(_Named(text, name), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or outside(name)
        raise RecipeError(f"{place_of(mark)}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not YAML: {one_line(error)}") from None


def outside(name: str) -> yaml.Mark:
    """The place of what is said outside of a file."""
    return yaml.Mark(name, 0, 0, 0, None, 0)


def place_of(mark: yaml.Mark) -> str:
    """A place as messages have it; an option whose value is no YAML has no lines."""
    name: str = mark.name
    return name if re.fullmatch("--[a-z]+", name) else f"{name}:{mark.line + 1}"


def places_in(node: yaml.Node, key: str) -> Iterator[tuple[str, str]]:
    """(dotted key, its place) of a node that was read, and of all in it."""
    if isinstance(node, yaml.MappingNode):
        for name, child in node.value:
            inner = f"{key}.{name.value}" if key else name.value
            yield inner, place_of(name.start_mark)
            yield from places_in(child, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            yield f"{key}[{number}]", place_of(child.start_mark)
            yield from places_in(child, f"{key}[{number}]")


def changed(node: Any, keys: list[str], new: Any, where: str) -> Any:
    """The node with another value under nested keys, in place of what stood there; None is an empty mapping."""
    if not keys:
        return new
    if node is None:
        node = yaml.MappingNode("tag:yaml.org,2002:map", [], start_mark=new.start_mark)
    name, rest = keys[0], keys[1:]
    pairs = pairs_of(node, where)
    key = yaml.ScalarNode("tag:yaml.org,2002:str", name, start_mark=new.start_mark)
    old = pairs[name][1] if name in pairs else None
    kept = [pair for pair in node.value if pair[0].value != name]
    node.value = [*kept, (key, changed(old, rest, new, name))]
    return node


class WrongError(Exception):
    """`problems`, the mistakes in a node, as (place, what is wrong)."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.problems = problems


def wrong_at(node: yaml.Node, message: str) -> WrongError:
    """One mistake, in this node."""
    return WrongError([(place_of(node.start_mark), message)])


def pairs_of(node: yaml.Node, where: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key → (node of the key, node of the value). A key that comes twice is an error: YAML would drop the first."""
    if not isinstance(node, yaml.MappingNode):
        raise wrong_at(node, f"{where} is {shown(node)}, and should be keys with values")
    pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise wrong_at(key, f"a key in {where} is {shown(key)}, and should be a word")
        if key.value in pairs:
            raise wrong_at(key, f"{key.value} is given twice in {where}")
        pairs[key.value] = (key, value)
    return pairs


def items_of(node: yaml.Node, where: str) -> Iterator[yaml.Node]:
    """The nodes of a list."""
    if not isinstance(node, yaml.SequenceNode):
        raise wrong_at(node, f"{where} is {shown(node)}, and should be a list")
    yield from node.value


def is_null(node: yaml.Node) -> bool:
    """Whether it is YAML's null, written or left out."""
    return isinstance(node, yaml.ScalarNode) and node.tag == NULL


def shown(node: yaml.Node) -> str:
    """What a message says is there."""
    if isinstance(node, yaml.ScalarNode):
        return "nothing" if is_null(node) and not node.value else repr(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "keys with values"
