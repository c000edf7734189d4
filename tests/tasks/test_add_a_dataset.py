"""The page `docs/add-a-dataset.md` is true: its files and commands, as printed, add a data set."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-dataset.md"
BLOCK = re.compile(r"^```\w+ (?:file=(?P<file>\S+)|(?P<run>run))\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_adds_a_data_set(tmp_path):
    commands = []
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["file"]:
            path = tmp_path / block["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["body"], encoding="utf-8")
        else:
            commands += block["body"].splitlines()
    included, installed, offline = commands[:3], commands[3:8], commands[8:]
    assert [len(included), len(installed), len(offline)] == [3, 5, 3]
    assert all("--include triage.py" in command for command in included)

    site = tmp_path / "site"
    programs = {
        "mibe": [sys.executable, "-m", "mibe"],
        # Into a folder of the test, with what is installed already: the suite needs no network.
        "pip": [sys.executable, "-m", "pip", "--quiet"],
    }
    pip_extra = {
        "install": ["--no-deps", "--no-build-isolation", "--upgrade", "--target", str(site)],
        "wheel": ["--no-build-isolation"],
    }
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    printed = []
    for command in commands:
        program, *arguments = shlex.split(command)
        full = [*programs[program], *arguments, *(pip_extra[arguments[0]] if program == "pip" else [])]
        done = subprocess.run(full, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    _check_commands([printed[0], *printed[1:3]], shown=None)
    _check_commands([*printed[4:6], printed[7]], shown=printed[6])
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["mibe_triage-1.0-py3-none-any.whl"]
    assert "triage test: 3 gold answers" in printed[10]
    (log,) = {path.stat().st_mode & 0o777 for path in tmp_path.glob("runs/*/samples/triage.jsonl")}
    assert log == 0o600


def _check_commands(printed, *, shown):
    """What `data prepare`, `check` and `eval` say, and `show`, of a message with a line break."""
    assert "train 3, test 3" in printed[0]
    assert "triage test: 3 gold answers, macro_f1 1: each is read as itself" in printed[1]
    if shown is not None:
        assert shown.count("ANSWER:") == 4 and 'target:  "urgent"' in shown
        assert "MESSAGE: My left arm is weak.\nI cannot find words, either.\n" in shown
    assert re.search(r"triage +macro_f1 +0\.167", printed[2]) and re.search(r"accuracy +0\.333", printed[2])
