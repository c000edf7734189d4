"""Seconds from the start of a command to its first line, and to its end.

    python benchmarks/first_line.py [--runs 5]

Whatever is printed first counts, on either stream: it is the first that a user sees.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EVAL = ("eval", "--limit", "2", "--tasks")
COMMANDS = {
    "mibe --help": ("--help",),
    "mibe tasks": ("tasks",),
    "mibe tasks -v": ("tasks", "-v"),
    "mibe eval --model dummy --tasks pubmedqa": (*EVAL, "pubmedqa", "--model", "dummy"),
    "mibe eval --model demo --tasks pubmedqa": (*EVAL, "pubmedqa", "--model", "demo"),
    "mibe eval --model hf --tasks pubmedqa": (*EVAL, "pubmedqa", "--model", "hf", "--model-args", "pretrained={demo}"),
    "mibe eval --model demo --tasks mmlu --num-fewshot 5": (*(*EVAL, "mmlu", "--num-fewshot", "5", "--model", "demo"),),
    "mibe eval --model lm_eval:dummy --tasks pubmedqa": (*EVAL, "pubmedqa", "--model", "lm_eval:dummy"),
    "mibe eval --model hf, load_in_4bit, no bitsandbytes": (
        *(*EVAL, "pubmedqa", "--model", "hf", "--model-args", "pretrained={demo},load_in_4bit=true"),
    ),
    "mibe eval --model hf, device=cuda:7, no GPU": (
        *(*EVAL, "pubmedqa", "--model", "hf", "--model-args", "pretrained={demo},device=cuda:7"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each command (default 5)")
    given = parser.parse_args()
    from mibe.models.local.demo import demo_path

    print("| command | first line, s | end, s |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in COMMANDS.items():
            words = [word.replace("{demo}", str(demo_path())) for word in arguments]
            if "eval" in words:
                words += ["--output-dir", folder]
            measured = [timed([sys.executable, "-m", "mibe", *words]) for _ in range(given.runs)]
            first, end = (statistics.median(column) for column in zip(*measured, strict=True))
            print(f"| `{name}` | {first:.2f} | {end:.2f} |", flush=True)


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds to the first line and to the end."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=Path.cwd())
    assert process.stdout is not None
    process.stdout.readline()
    first = time.perf_counter() - begun
    process.stdout.read()
    process.wait()
    return first, time.perf_counter() - begun


if __name__ == "__main__":
    main()
