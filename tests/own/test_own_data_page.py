"""The page `docs/own-data.md` is true: its files and commands, as printed, score one's own data."""

import re
import shlex
from pathlib import Path

from mibe import registry
from mibe.cli.main import main
from mibe.own.description import Columns, PromptText, TaskFile
from mibe.own.kinds import Kind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```\w+ (?:file=(?P<file>\S+)|(?P<run>run))\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_scores_ones_own_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = list(BLOCK.finditer(PAGE))
    for block in blocks:
        if block["file"]:
            Path(block["file"]).write_text(block["body"], encoding="utf-8")
    commands = [line for block in blocks if block["run"] for line in block["body"].splitlines()]
    printed = []
    for command in commands:
        registry._REGISTERED.clear()
        assert main(shlex.split(command)[1:]) == 0, command
        printed.append(capsys.readouterr())
    assert len(printed) == 6
    said = "notes.csv: 6 in test; each answer is one label: urgent 2, routine 2, administrative 2 (a guess;"
    assert said in printed[0].err and said in PAGE
    # "urgent" is right in two of six: an F1 of 2/4 and a mean over three labels of 1/6.
    for line in (1, 5):
        assert re.search(r"macro_f1 +0\.167", printed[line].out) and re.search(r"accuracy +0\.333", printed[line].out)
    assert "triage: train 3, test 6" in printed[2].out and "each is read as itself" in printed[3].out
    assert printed[4].out.count("ANSWER:") == 4


def test_the_page_names_every_kind_and_every_key():
    for name in (*Kind, *TaskFile.model_fields, *PromptText.model_fields, *Columns.model_fields):
        assert f"`{name}`" in PAGE, name
