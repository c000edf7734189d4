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
    assert len(commands) == 5

    site = tmp_path / "site"
    programs = {
        "mibe": [sys.executable, "-m", "mibe"],
        # Into a folder of the test, with what is installed already: the suite needs no network.
        "pip": [sys.executable, "-m", "pip", "--quiet"],
    }
    pip_extra = ["--no-deps", "--no-build-isolation", "--target", str(site)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    printed = []
    for command in commands:
        program, *arguments = shlex.split(command)
        full = [*programs[program], *arguments, *(pip_extra if program == "pip" else [])]
        done = subprocess.run(full, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert "train 3, test 3" in printed[1]
    assert "triage test: 3 gold answers, macro_f1 1: each is read as itself" in printed[2]
    assert printed[3].count("ANSWER:") == 4 and 'target:  "urgent"' in printed[3]
    assert re.search(r"triage +macro_f1 +0\.167", printed[4]) and re.search(r"accuracy +0\.333", printed[4])
