"""Whether a run of any length stays in the same memory and takes the same time a document.

Runs `mibe eval --model dummy` on 10,000, 30,000 and 100,000 documents of a synthetic task (a plugin, as in
docs/add-a-dataset.md), or as many as are asked for, each in a process of its own, and prints wall time, microseconds
of processor time a document, resident memory at the start of the process and its peak. With `--resume`, the run is then
opened again at its end. With `--repeats K` each document is drawn K times, and processor time is that of a sample.

    python benchmarks/endurance.py [--documents 10000 30000 100000] [--repeats K] [--resume]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

TASK = """\
from mibe.metrics.classification import Accuracy, MacroF1, PerLabel, PredictedShare
from mibe.parsers.options import OptionLetter
from mibe.task import OPEN, Category, Prompt, Task

LETTERS = ("A", "B", "C", "D")


class Synthetic:
    licence, homepage, obtain, hub = "CC0", "https://example.org", "Made by benchmarks/endurance.py.", None
    counts, variants, version = {}, ("default",), 1

    def read(self, raw, *, variant):
        raise NotImplementedError


TASK = Task(
    name="endurance",
    title="Synthetic questions",
    category=Category.QA,
    access=OPEN,
    source=Synthetic(),
    prompt=Prompt(instruction="Answer with a letter.", input="INPUT: {text}\\n{options}", cut=("text",)),
    parser=OptionLetter(),
    metrics=(Accuracy(), MacroF1(LETTERS), PerLabel(LETTERS), PredictedShare(LETTERS)),
    headline="accuracy",
    shots=0,
    max_new_tokens=16,
    version=1,
    labels=LETTERS,
    breakdowns=("subject",),
)
"""
CHILD = """\
import sys
def memory(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))
start = memory("VmRSS:")
import time
from mibe.cli import main
begun = time.perf_counter()
code = main(sys.argv[1:])
print(start, memory("VmHWM:"), time.perf_counter() - begun, time.process_time(), file=sys.stderr)
sys.exit(code)
"""
WORDS = (
    "fever",
    "cough",
    "patient",
    "history",
    "chronic",
    "acute",
    "renal",
    "cardiac",
    "lesion",
    "dose",
    "daily",
    "pain",
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--documents", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    options.add_argument("--repeats", type=int, default=1, metavar="K")
    options.add_argument("--resume", action="store_true")
    given = options.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| documents | command | seconds | processor µs a sample | start MB | peak MB | over the start MB |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for count in given.documents:
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            write_plugin(base / "plugin")
            write_documents(base / "data" / "endurance", count)
            report(count, given.repeats, "eval, no cache", base, "--no-cache")
            if given.resume:
                reopen(base / "runs")
                report(count, given.repeats, "the same, resumed", base, "--no-cache")
            report(count, given.repeats, "eval, cache filled", base)
            report(count, given.repeats, "eval, cache read", base)


def report(count: int, repeats: int, title: str, base: Path, *options: str) -> None:
    """Run once and print a line of the table."""
    env = os.environ | {
        "MIBE_DATA_DIR": str(base / "data"),
        "MIBE_CACHE_DIR": str(base / "cache"),
        "PYTHONPATH": os.pathsep.join([str(base / "plugin"), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-c", CHILD, "eval", "--model", "dummy", "--model-args", "mode=random"]
    command += ["--tasks", "endurance", "--output-dir", str(base / "runs"), "--repeats", str(repeats), *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the run failed:\n{done.stderr[-2000:]}")
    start, peak, wall, processor = map(float, done.stderr.splitlines()[-1].split())
    first, last = start / 1024, peak / 1024
    cost = 1e6 * processor / (count * repeats)
    memory = f"{first:.0f} | {last:.0f} | {last - first:.0f}"
    documents = f"{count:,}" if repeats == 1 else f"{count:,} × {repeats}"
    print(f"| {documents} | {title} | {wall:.1f} | {cost:.0f} | {memory} |", flush=True)


def reopen(runs: Path) -> None:
    """Make the finished run one that was cut off at its very end."""
    [path] = runs.glob("*/run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "running"}))


def write_plugin(folder: Path) -> None:
    """The task as an installed plugin: a module and its entry point."""
    info = folder / "endurance_task-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "endurance_task.py").write_text(TASK)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: endurance-task\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mibe.tasks]\nendurance = endurance_task:TASK\n")


def write_documents(folder: Path, count: int) -> None:
    """Questions of about 900 characters in 50 subjects, each its own."""
    folder.mkdir(parents=True)
    with (folder / "test.jsonl").open("w", encoding="utf-8") as lines:
        for number in range(count):
            digest = hashlib.sha256(str(number).encode()).digest()
            text = " ".join(WORDS[byte % len(WORDS)] for byte in digest * 4) + f" {number}"
            row = {
                "id": f"subject{digest[0] % 50}/{number}",
                "inputs": {"text": text},
                "target": "ABCD"[digest[1] % 4],
                "choices": [WORDS[digest[i] % len(WORDS)] for i in range(2, 6)],
                "metadata": {"subject": f"subject {digest[0] % 50}"},
            }
            lines.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
