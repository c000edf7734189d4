"""YAML files read into frozen dataclasses; every mistake in the file is an error with its line.

The dataclass is the schema: its fields are the keys, their types are checked, a field without a default is required.
Known types: bool, int, float, str, Path, Literal, enums, `X | None`, `tuple[X, ...]`, `dict[str, X]`, other dataclasses
and unions of members that YAML itself tells apart (a text, a list, a mapping). A class refuses contradictory values in
its `__post_init__` by `FieldError`, which puts the line of the field in front.
"""

from __future__ import annotations

import io
import math
import os
import types
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from mellama_train.errors import RecipeError

T = TypeVar("T")

Change = tuple[str, str]
"""A dotted key and the YAML text of its value, which is put over what the file says."""


class FieldError(ValueError):
    """A value of the field named `field` is out of range, or contradicts another field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def positive(config: Any, *names: str) -> None:
    """Raise `FieldError` for the first of the named fields that is not above 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise FieldError(name, f"{getattr(config, name)} is out of range; it must be above 0")


def load(path: Path, schema: type[T], changes: Sequence[Change] = ()) -> T:
    """The file, with `changes` put over it, as an instance of the dataclass `schema`.

    Raises `RecipeError` as `file:line: what is wrong`, with `--set KEY` in place of the file for a value of `changes`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text: {error}") from None
    return parse(text, schema, str(path), changes)


def parse(text: str, schema: type[T], name: str, changes: Sequence[Change] = ()) -> T:
    """The same of text; `name` stands before the line number in messages."""
    node = _compose(text, name)
    if node is None and not changes:
        raise RecipeError(f"{name}:1: the file is empty; required: {', '.join(_required(schema))}")
    try:
        for key, new in changes:
            node = _changed(node, key.split("."), _compose(new, f"--set {key}"), "the file")
        value: T = _value(node, schema, "the file")
    except _Wrong as wrong:
        raise RecipeError(f"{wrong.place}: {wrong}") from None
    return value


class _Named(io.StringIO):
    """A text whose name YAML keeps in its marks."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def _compose(text: str, name: str) -> Any:
    """The text as a YAML node; None where there is nothing in it."""
    try:
        return yaml.compose(_Named(text, name), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(f"{name}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not YAML: {error}") from None


def _changed(node: Any, keys: list[str], new: Any, where: str) -> Any:
    """The node with another value under nested keys, in place of what stood there; None is an empty mapping."""
    if not keys:
        return new
    if node is None:
        node = yaml.MappingNode("tag:yaml.org,2002:map", [], start_mark=new.start_mark)
    name, rest = keys[0], keys[1:]
    pairs = _pairs(node, where)
    key = yaml.ScalarNode("tag:yaml.org,2002:str", name, start_mark=new.start_mark)
    old = pairs[name][1] if name in pairs else None
    kept = [pair for pair in node.value if pair[0].value != name]
    node.value = [*kept, (key, _changed(old, rest, new, name))]
    return node


def as_json(config: Any) -> dict[str, Any]:
    """A loaded dataclass as JSON data, for records and hashes."""
    data: dict[str, Any] = _plain(asdict(config))
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


class _Wrong(Exception):
    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(message)
        self.place = f"{node.start_mark.name}:{node.start_mark.line + 1}"


def _value(node: yaml.Node, kind: Any, where: str) -> Any:
    """The value of a node as the type `kind`; `where` is the key by which messages call it."""
    origin = get_origin(kind)
    if kind is Any:
        return yaml.SafeLoader("").construct_document(node)
    if origin in (Union, types.UnionType):
        return _value(node, _member(node, get_args(kind), where), where)
    if origin is Literal:
        return _literal(node, get_args(kind), where)
    if origin is tuple:
        item = get_args(kind)[0]
        return tuple(_value(child, item, f"{where}[{i}]") for i, child in enumerate(_items(node, where)))
    if origin is dict:
        item = get_args(kind)[1]
        return {key: _value(child, item, f"{where}.{key}") for key, (_, child) in _pairs(node, where).items()}
    if is_dataclass(kind):
        return _dataclass(node, kind, where)
    return _scalar(node, kind, where)


def _dataclass(node: yaml.Node, kind: Any, where: str) -> Any:
    pairs = _pairs(node, where)
    known = {f.name for f in fields(kind) if f.init}
    for key, (key_node, _) in pairs.items():
        if key not in known:
            close = get_close_matches(key, known, n=2, cutoff=0.6)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"
            raise _Wrong(key_node, f"unknown key {key!r} in {where}; {hint}")
    if missing := [name for name in _required(kind) if name not in pairs]:
        raise _Wrong(node, f"{where} lacks {', '.join(missing)}")
    hints = get_type_hints(kind)
    values = {key: _value(child, hints[key], key) for key, (_, child) in pairs.items()}
    try:
        return kind(**values)
    except FieldError as error:
        blamed = pairs[error.field][0] if error.field in pairs else node
        raise _Wrong(blamed, f"{error.field}: {error}") from None
    except ValueError as error:
        raise _Wrong(node, f"{where}: {error}") from None


def _required(kind: Any) -> list[str]:
    return [f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING]


def _pairs(node: yaml.Node, where: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key → (node of the key, node of the value). A key that comes twice is an error: YAML would drop the first."""
    if not isinstance(node, yaml.MappingNode):
        raise _Wrong(node, f"{where} is {_shown(node)}, and should be keys with values")
    pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Wrong(key, f"a key in {where} is {_shown(key)}, and should be a word")
        if key.value in pairs:
            raise _Wrong(key, f"{key.value} is given twice in {where}")
        pairs[key.value] = (key, value)
    return pairs


def _items(node: yaml.Node, where: str) -> Iterator[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise _Wrong(node, f"{where} is {_shown(node)}, and should be a list")
    yield from node.value


def _member(node: yaml.Node, members: tuple[Any, ...], where: str) -> Any:
    """The member of a union that the node's own shape calls for."""
    if _is_null(node) and type(None) in members:
        return type(None)
    rest = [m for m in members if m is not type(None)]
    fitting = [m for m in rest if _shape(m) is type(node)]
    if not fitting:
        raise _Wrong(node, f"{where} is {_shown(node)}, and should be {' or '.join(_SHAPES[_shape(m)] for m in rest)}")
    return fitting[0]


def _shape(kind: Any) -> type[yaml.Node]:
    if is_dataclass(kind) or get_origin(kind) is dict:
        return yaml.MappingNode
    return yaml.SequenceNode if get_origin(kind) is tuple else yaml.ScalarNode


_SHAPES: dict[type[yaml.Node], str] = {
    yaml.MappingNode: "keys with values",
    yaml.SequenceNode: "a list",
    yaml.ScalarNode: "a single value",
}


def _literal(node: yaml.Node, choices: tuple[Any, ...], where: str) -> Any:
    if isinstance(node, yaml.ScalarNode):
        for choice in choices:
            # Compared as written, since YAML 1.1 reads the plain words on, off, yes and no as booleans.
            if node.value == str(choice):
                return choice
    close = get_close_matches(str(node.value), [str(c) for c in choices], n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise _Wrong(node, f"{where} is {_shown(node)}, and should be one of {', '.join(map(str, choices))}{hint}")


def _scalar(node: yaml.Node, kind: Any, where: str) -> Any:
    if kind is type(None) and _is_null(node):
        return None
    if not isinstance(node, yaml.ScalarNode) or _is_null(node):
        raise _Wrong(node, f"{where} is {_shown(node)}, and should be {_NAMES.get(kind, 'a single value')}")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(_literal(node, tuple(member.value for member in kind), where))
    if kind is bool and node.tag == "tag:yaml.org,2002:bool":
        return node.value.lower() in ("yes", "true", "on")
    if kind is int and node.tag == "tag:yaml.org,2002:int":
        return yaml.SafeLoader("").construct_yaml_int(node)
    if kind is float and (number := _number(node)) is not None:
        return number
    if kind is str:
        return node.value
    if kind is Path:
        return _path(node, where)
    raise _Wrong(node, f"{where} is {_shown(node)}, and should be {_NAMES.get(kind, kind)}")


_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}


def _number(node: yaml.ScalarNode) -> float | None:
    # YAML 1.1 takes 8e-6 (no dot) for text; everybody means the number.
    if node.style is not None or node.tag == "tag:yaml.org,2002:bool":
        return None
    try:
        value = float(node.value)
    except ValueError:
        return None
    # No setting means anything as "nan" or "inf", and comparisons let both through.
    return value if math.isfinite(value) else None


def _path(node: yaml.ScalarNode, where: str) -> Path:
    expanded = os.path.expandvars(node.value)
    if "$" in expanded:
        raise _Wrong(node, f"{where} is {node.value!r}, which names an environment variable that is not set")
    return Path(expanded).expanduser()


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "nothing" if _is_null(node) and not node.value else repr(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "keys with values"
