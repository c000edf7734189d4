"""docs/commands.md has every command and option of both programs, and each of them says in a line what it is."""

import sys
from pathlib import Path

import pytest

import mellama_train.cli
import mibe.cli

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))
try:
    from commands_page import PAGE, commands, options, page
finally:
    sys.path.remove(str(TOOLS))

COMMANDS = [each for program in (mibe.cli.parser(), mellama_train.cli.parser()) for each in commands(program)]


def section(prog):
    """The rows of a command on the page: the first cells, names with what they take, to the second, the help."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {prog}\n")[2].partition("\n## ")[0]
    return dict(line.strip("| ").split(" | ", 1) for line in text.splitlines() if line.startswith("| `"))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.prog)
def test_every_option_has_a_line_of_help_and_stands_on_the_page(command):
    rows = section(command.prog)
    for action in options(command):
        assert action.help and "\n" not in action.help and len(action.help) <= 170, action
        named = [
            cell for cell in rows if all(f"`{name}" in cell for name in action.option_strings or [action.metavar or ""])
        ]
        assert named, f"{action.option_strings or action.dest} is not on the page: python tools/commands_page.py"
    assert len(rows) == len(options(command))


def test_the_page_is_as_the_parsers_are():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tools/commands_page.py writes it anew"
