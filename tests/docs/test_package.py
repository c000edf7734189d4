"""What the package says of itself in several files is one thing."""

import configparser
import re
import tomllib
from pathlib import Path

import mibe

ROOT = Path(__file__).resolve().parents[2]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def setup():
    config = configparser.ConfigParser()
    config.read_string(read("setup.cfg"))
    return config


def test_the_version_is_the_same_everywhere():
    assert re.search(r"^version: (.*)$", read("CITATION.cff"), re.MULTILINE)[1] == mibe.__version__
    assert re.search(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)[1] == mibe.__version__


def test_the_pythons_that_are_named_are_tested():
    named = re.findall(r"Python :: (3\.\d+)$", setup()["metadata"]["classifiers"], re.MULTILINE)
    assert named == tomllib.loads(read("pyproject.toml"))["tool"]["tox"]["env_list"] == ["3.11", "3.12", "3.13"]
    assert setup()["options"]["python_requires"] == f">={named[0]}"


def test_every_extra_has_a_place_in_the_docs():
    pages = (
        read("README.md")
        + read("CONTRIBUTING.md")
        + "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    )
    extras = set(setup()["options.extras_require"]) - {"dev", "all"}
    assert [
        name for name in sorted(extras) if not re.search(rf"\[[\w,-]*\b{name}\b[\w,-]*\]|extra `{name}`", pages)
    ] == []
