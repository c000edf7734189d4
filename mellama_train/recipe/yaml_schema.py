"""YAML files read into frozen dataclasses; all mistakes in the file are told at once, each with its line.

The dataclass is the schema: its fields are the keys, their types are checked, a field without a default is required.
Known types: bool, int, float, str, Path, Literal, enums, `X | None`, `tuple[X, ...]`, `dict[str, X]`, numbers within a
`Range` (`mellama_train.recipe.ranges`), other dataclasses and unions of members that YAML itself tells apart (a text, a
list, a mapping). A class refuses contradictory values in its `__post_init__` by `FieldError`, which puts the line of
the field in front.
"""

from __future__ import annotations

import math
import os
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from mellama_train.errors import RecipeError
from mellama_train.recipe.problems import LONGEST_NAME, FieldError, Problem, has_too_long_name
from mellama_train.recipe.ranges import Range
from mellama_train.recipe.yaml_nodes import (
    NULL,
    WrongError,
    changed,
    compose,
    is_null,
    items_of,
    outside,
    pairs_of,
    place_of,
    places_in,
    shown,
    wrong_at,
)

T = TypeVar("T")
K = TypeVar("K")

Change = tuple[str, str]
"""A dotted key and the YAML text of its value, which is put over what the file says."""

Options = Mapping[str, str]
"""Dotted key → the option of the command line that gave it, where that was no `--set`."""

NO_OPTIONS: Options = {}

Fixed = Mapping[str, str]
"""Key → the one text that a file may have there: keys that say what a file is, and are no part of its schema."""

NO_FIXED: Fixed = {}

WHOLE = re.compile(r"[-+]?\d(_?\d){0,99}")
"""A whole number as everybody writes it; YAML 1.1 also takes 1:30 for 90, 010 for 8 and 0b_ for one."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """A file as an instance of its schema, and where each of its dotted keys stands."""

    value: T
    name: str
    places: Mapping[str, str]

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise `RecipeError` for all of these, one line each with its place; nothing where there is none."""
        lines = [f"{self._place(key)}: {key}: {what}" for key, what in problems]
        if lines:
            raise RecipeError("\n".join(lines))

    def _place(self, key: str) -> str:
        """Of the key, or of the nearest one around it where the file says nothing of it."""
        while key and key not in self.places:
            key = re.sub(r"(^|\.)[^.\[]*$|\[\d+\]$", "", key)
        return self.places.get(key, self.name)


def load(path: Path, schema: type[T], changes: Sequence[Change] = ()) -> T:
    """The file, with `changes` put over it, as an instance of the dataclass `schema`.

    Raises `RecipeError` for all mistakes, a line each as `file:line: what is wrong`, with `--set KEY` in place of the
    file for a value of `changes`.
    """
    return read(path, schema, changes).value


def parse(text: str, schema: type[T], name: str, changes: Sequence[Change] = ()) -> T:
    """The same of text; `name` stands before the line number in messages."""
    return read_text(text, schema, name, changes).value


def read(
    path: Path,
    schema: type[T],
    changes: Sequence[Change] = (),
    options: Options = NO_OPTIONS,
    fixed: Fixed = NO_FIXED,
) -> Loaded[T]:
    """The same with the places of its keys, for whoever finds more wrong with them. Raises as `load`."""
    return read_text(text_of(path), schema, str(path), changes, options, fixed)


def text_of(path: Path) -> str:
    """The text of a file. Raises `RecipeError` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text: {error}") from None


def read_text(
    text: str,
    schema: type[T],
    name: str,
    changes: Sequence[Change] = (),
    options: Options = NO_OPTIONS,
    fixed: Fixed = NO_FIXED,
) -> Loaded[T]:
    """The same of text; `name` stands before the line number in messages."""
    try:
        node = _without(_with_changes(compose(text, name), changes, options), fixed)
        if node is None:
            raise RecipeError(f"{name}:1: the file is empty; required: {', '.join(_required(schema))}")
        value: T = _value(node, schema, "the file")
    except WrongError as wrong:
        raise RecipeError("\n".join(f"{place}: {what}" for place, what in wrong.problems)) from None
    return Loaded(value, name, dict(places_in(node, "")))


def keys_under(text: str, key: str, changes: Sequence[Change] = ()) -> frozenset[str]:
    """The keys that a text of YAML, with the changes put over it, has under one; none where it is not to be read."""
    try:
        return frozenset(pairs_of(_under(text, key, changes), key))
    except (WrongError, RecipeError, KeyError):
        return frozenset()


def text_under(text: str, key: str, changes: Sequence[Change] = ()) -> str | None:
    """The single value that a text of YAML has under a key, as written; None where there is none to be read."""
    try:
        node = _under(text, key, changes)
    except (WrongError, RecipeError, KeyError):
        return None
    return node.value if isinstance(node, yaml.ScalarNode) and not is_null(node) else None


def _under(text: str, key: str, changes: Sequence[Change]) -> yaml.Node:
    """Raises `KeyError` where there is no such key, and `WrongError` or `RecipeError` where nothing is to be read."""
    node = _with_changes(compose(text, "the file"), changes, NO_OPTIONS)
    if node is None:
        raise KeyError(key)
    return pairs_of(node, "the file")[key][1]


def _without(node: Any, fixed: Fixed) -> Any:
    """The node without the keys that say what it is. Raises `WrongError` where one says that it is something else."""
    if not fixed or not isinstance(node, yaml.MappingNode):
        return node
    pairs = pairs_of(node, "the file")
    for key in fixed.keys() & pairs.keys():
        if pairs[key][1].value != fixed[key]:
            raise wrong_at(pairs[key][1], f"{key} is {shown(pairs[key][1])}, and this is read as one of {fixed[key]}")
    kept = [pair for name, pair in pairs.items() if name not in fixed]
    return yaml.MappingNode(node.tag, kept, node.start_mark, node.end_mark)


def _with_changes(node: Any, changes: Sequence[Change], options: Options) -> Any:
    for key, said in changes:
        source = options.get(key, f"--set {key}")
        new = compose(said, source) or yaml.ScalarNode(NULL, "", outside(source))
        node = changed(node, key.split("."), new, "the file")
    return node


def as_json(config: Any) -> dict[str, Any]:
    """A loaded dataclass as JSON data, for records and hashes."""
    data: dict[str, Any] = _plain(asdict(config))
    return data


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested JSON data."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from flat(item, f"{name}[{number}]")
    else:
        yield name, value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _all(readings: Iterable[tuple[K, Callable[[], Any]]], problems: Iterable[WrongError] = ()) -> dict[K, Any]:
    """Every value by its key. Raises `WrongError` with the mistakes of all, behind the `problems` known already."""
    values: dict[K, Any] = {}
    found = [problem for wrong in problems for problem in wrong.problems]
    for key, reading in readings:
        try:
            values[key] = reading()
        except WrongError as wrong:
            found += wrong.problems
    if found:
        raise WrongError(found)
    return values


def _value(node: yaml.Node, kind: Any, where: str) -> Any:
    """The value of a node as the type `kind`; `where` is the key by which messages call it."""
    origin = get_origin(kind)
    if kind is Any:
        return yaml.SafeLoader("").construct_document(node)
    if origin in (Union, types.UnionType):
        return _value(node, _member(node, get_args(kind), where), where)
    if origin is Annotated:
        number, allowed = get_args(kind)
        return _within(node, number, allowed, where)
    if origin is Literal:
        return _literal(node, get_args(kind), where)
    if origin is tuple:
        item = get_args(kind)[0]
        parts = {i: (child, f"{where}[{i}]") for i, child in enumerate(items_of(node, where))}
        return tuple(_all((i, partial(_value, child, item, name)) for i, (child, name) in parts.items()).values())
    if origin is dict:
        item = get_args(kind)[1]
        pairs = pairs_of(node, where).items()
        return _all((key, partial(_value, child, item, f"{where}.{key}")) for key, (_, child) in pairs)
    if is_dataclass(kind):
        return _dataclass(node, kind, where)
    return _scalar(node, kind, where)


def _within(node: yaml.Node, kind: Any, allowed: Range, where: str) -> Any:
    """A number of a declared range."""
    value = _value(node, kind, where)
    if problem := allowed.problem(value):
        raise wrong_at(node, f"{where}: {problem}")
    return value


def _dataclass(node: yaml.Node, kind: Any, where: str) -> Any:
    pairs = pairs_of(node, where)
    known = {f.name for f in fields(kind) if f.init}
    problems = [_unknown(key_node, key, known, where) for key, (key_node, _) in pairs.items() if key not in known]
    if missing := [name for name in _required(kind) if name not in pairs]:
        problems.append(wrong_at(node, f"{where} lacks {', '.join(missing)}"))
    hints = get_type_hints(kind, include_extras=True)
    readings = ((key, partial(_value, child, hints[key], key)) for key, (_, child) in pairs.items() if key in known)
    values = _all(readings, problems)
    try:
        return kind(**values)
    except FieldError as first:
        blamed = [(pairs[e.field][0] if e.field in pairs else node, e) for e in (first, *first.others)]
        raise WrongError([(place_of(at.start_mark), f"{e.field}: {e}") for at, e in blamed]) from None
    except ValueError as error:
        raise wrong_at(node, f"{where}: {error}") from None


def _unknown(node: yaml.Node, key: str, known: set[str], where: str) -> WrongError:
    close = get_close_matches(key, known, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"
    return wrong_at(node, f"unknown key {key!r} in {where}; {hint}")


def _required(kind: Any) -> list[str]:
    return [f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING]


def _member(node: yaml.Node, members: tuple[Any, ...], where: str) -> Any:
    """The member of a union that the node's own shape calls for."""
    if is_null(node) and type(None) in members:
        return type(None)
    rest = [m for m in members if m is not type(None)]
    fitting = [m for m in rest if _shape(m) is type(node)]
    if not fitting:
        raise wrong_at(node, f"{where} is {shown(node)}, and should be {' or '.join(_SHAPES[_shape(m)] for m in rest)}")
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
    raise wrong_at(node, f"{where} is {shown(node)}, and should be one of {', '.join(map(str, choices))}{hint}")


def _scalar(node: yaml.Node, kind: Any, where: str) -> Any:
    if kind is type(None) and is_null(node):
        return None
    if not isinstance(node, yaml.ScalarNode) or is_null(node):
        raise wrong_at(node, f"{where} is {shown(node)}, and should be {_NAMES.get(kind, 'a single value')}")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(_literal(node, tuple(member.value for member in kind), where))
    if kind is bool and node.tag == "tag:yaml.org,2002:bool":
        return node.value.lower() in ("yes", "true", "on")
    if kind is int and node.tag == "tag:yaml.org,2002:int" and WHOLE.fullmatch(node.value):
        return int(node.value)
    if kind is float and (number := _number(node)) is not None:
        return number
    if kind in (str, Path):
        _refuse_unwritable(node, where)
    if kind is str:
        return node.value
    if kind is Path:
        return _path(node, where)
    raise wrong_at(node, f"{where} is {shown(node)}, and should be {_NAMES.get(kind, kind)}")


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
        raise wrong_at(node, f"{where} is {node.value!r}, which names an environment variable that is not set")
    if not expanded.strip():
        # It would be the folder that the command runs in.
        raise wrong_at(node, f"{where} is {node.value!r}, which is empty; give a path")
    if has_too_long_name(expanded):
        raise wrong_at(node, f"{where} has a name of more than {LONGEST_NAME} bytes in it, which no file has")
    try:
        return Path(expanded).expanduser()
    except RuntimeError:
        raise wrong_at(node, f"{where} is {node.value!r}, and there is no such home folder") from None


def _refuse_unwritable(node: yaml.ScalarNode, where: str) -> None:
    """Escapes bring in what no file, no name and no tokenizer takes."""
    try:
        node.value.encode()
    except UnicodeEncodeError:
        raise wrong_at(node, f"{where} is {node.value!a}, which holds half a character") from None
    if "\0" in node.value:
        raise wrong_at(node, f"{where} is {node.value!r}, which holds a NUL character")
