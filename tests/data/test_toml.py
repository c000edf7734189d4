"""Where the keys of a TOML text stand, and values written so that any reader of TOML has them back."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibe.data.toml import LARGEST, key_to_toml, lines_of, read_toml, to_toml
from mibe.errors import UsageError

TEXT = '''# a comment
title = "one"

text = """
fake = 1
[also.fake]
"""
list = [
  1,
  # in between
  2,
]
"quoted key" = 1
dotted.inner = { a = 1, b = { c = 2 } }

[table]
x = 1
[[rows]]
name = "first"
[[rows]]

name = "second"
[rows.deep]
y = 2
'''


def test_each_key_stands_on_the_line_that_it_begins_on():
    assert lines_of(TEXT) == {
        ("title",): 2,
        ("text",): 4,
        ("list",): 8,
        ("quoted key",): 13,
        ("dotted",): 14,
        ("dotted", "inner"): 14,
        ("dotted", "inner", "a"): 14,
        ("dotted", "inner", "b"): 14,
        ("dotted", "inner", "b", "c"): 14,
        ("table",): 16,
        ("table", "x"): 17,
        ("rows",): 18,
        ("rows", 0): 18,
        ("rows", 0, "name"): 19,
        ("rows", 1): 20,
        ("rows", 1, "name"): 22,
        ("rows", 1, "deep"): 23,
        ("rows", 1, "deep", "y"): 24,
    }


# Halves of surrogate pairs are no text, and no file holds them.
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@given(texts, values)
def test_what_is_written_is_read_back(key, value):
    assert tomllib.loads(f"{key_to_toml(key)} = {to_toml(value)}\n") == {key: value}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a = \xff\n", "is no TOML: 'utf-8' codec"),
        (b"a = 1\na = 2\n", r"is no TOML: Cannot overwrite a value \(at line 2"),
        (b"a = " + b"[" * 60_000, "is no TOML"),
        (b"#" * (LARGEST + 1), "larger than 64 KiB"),
    ],
)
def test_a_file_that_is_none_is_one_line(content, told, tmp_path):
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(UsageError, match=told):
        read_toml(tmp_path / "x.toml")


@pytest.mark.parametrize("name", ["nothing.toml", "."])
def test_what_is_no_file_is_one_line(name, tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_toml(tmp_path / name)
