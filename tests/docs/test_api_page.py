"""docs/api.md names the public face: every name on it can be imported, and the top level of mibe is on it."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import mibe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
NAMES = sorted(
    {
        name
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(mibe\.[\w.]+)`", line.split("|")[1])
    }
)
EXAMPLES = sorted(
    {
        example
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `mibe")
        for example in re.findall(r"`([^`]+)`", line.split("|")[3])
        if "…" not in example
    }
)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_imported(name):
    module, _, attribute = name.rpartition(".")
    try:
        found = import_module(name)
    except ModuleNotFoundError:
        found = getattr(import_module(module), attribute)
    assert found is not None


def test_the_whole_top_level_is_on_the_page():
    assert {f"mibe.{name}" for name in mibe.__all__} <= set(NAMES)
    assert len(NAMES) > 60


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_python(example):
    compile(example, "docs/api.md", "exec")
