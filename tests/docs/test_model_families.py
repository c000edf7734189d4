"""docs/model-families.md: every command on it is read by the command line, and makes valid settings and arguments."""

import shlex
from pathlib import Path

import pytest

from mibe.cli.main import parser
from mibe.cli.options import generation_settings_of, model_args_of, prompt_settings_of
from mibe.models import load_model
from mibe.models.arguments import convert
from mibe.models.hf.arguments import ARGUMENTS
from mibe.registry import load_task
from mibe.run.asking import prepare
from mibe.run.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "model-families.md"
COMMANDS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("mibe ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_read_and_valid(command):
    words = shlex.split(command)
    given = parser().parse_args(words[1:])
    settings = Settings(**prompt_settings_of(given), **generation_settings_of(given))
    args = model_args_of(given)
    for name in given.tasks.split(","):
        load_task(name)
    if given.model == "hf":
        assert convert("hf", args, ARGUMENTS)["pretrained"]
    else:
        model = load_model(given.model, args)
        prepare(model, settings)
        model.close()


def test_the_page_names_every_family_that_is_tested():
    pytest.importorskip("torch")
    from families import FAMILIES

    text = PAGE.read_text(encoding="utf-8")
    tested = text[text.index("## What was tested") :]
    assert [name for name in FAMILIES if name not in tested] == []
    assert len(COMMANDS) > 30
