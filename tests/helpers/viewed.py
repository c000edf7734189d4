"""`mibe view` as a process."""

import subprocess
import sys
from contextlib import contextmanager


@contextmanager
def viewing(*arguments):
    """The address that the command prints, while it serves."""
    command = [sys.executable, "-m", "mibe", "view", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline().strip()
        assert line, process.stderr.read()
        yield line
    finally:
        process.terminate()
        process.communicate(timeout=30)
