"""How the process of a command ends."""

import subprocess
import sys

import pytest

ENDING = """
import atexit, sys
from mellama_train.cli import run

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()
atexit.register(print, "registered before")

def command():
    atexit.register(print, "registered by the command")
    print("done")
    {last}

run(command)
"""


def ended(last):
    return subprocess.run([sys.executable, "-c", ENDING.format(last=last)], capture_output=True, text=True)


@pytest.mark.parametrize("code", [0, 75])
def test_a_command_that_returned_ends_the_process_without_taking_python_apart(code):
    done = ended(f"return {code}")
    # What was registered before `run` could only run after it; the command line registers first of all.
    assert (done.returncode, done.stdout) == (code, "done\nregistered by the command\n")


def test_a_command_that_failed_shows_why():
    done = ended("raise ZeroDivisionError('why')")
    assert done.returncode == 1 and "ZeroDivisionError: why" in done.stderr and "registered before" in done.stdout
    usage = subprocess.run([sys.executable, "-m", "mellama_train", "pretrain", "--nothing"], capture_output=True)
    assert usage.returncode == 2 and b"usage" in usage.stderr
