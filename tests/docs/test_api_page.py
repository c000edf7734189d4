"""docs/api.md names the public face: every name on it can be imported, and the top level of mibe is on it."""

import ast
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
        for name in re.findall(r"`((?:mibe|mellama_train)\.[\w.]+)`", line.split("|")[1])
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


def _named():
    """Each name of the page by its last part, as an example writes it after importing it."""
    found = {"mibe": mibe}
    for name in NAMES:
        module, _, attribute = name.rpartition(".")
        found[attribute] = getattr(import_module(module), attribute, None)
    return found


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_python_and_those_that_need_nothing_else_run(example, tmp_path, monkeypatch):
    code = compile(example, "docs/api.md", "exec")
    names = _named()
    used = {node.id for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Name)}
    if used <= names.keys() and "runs/" not in example and example != "demo_path()":
        monkeypatch.chdir(tmp_path)
        exec(code, names)
