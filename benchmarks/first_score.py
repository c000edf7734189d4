"""Minutes from a fresh clone to the first score, for each of the four wishes on the README's first screen.

Clones this repository, installs into an empty environment as `make eval` does, and then gives the commands that a new
user would, each from its first key to its last line. Nothing is shared between them but the installation.

    python benchmarks/first_score.py
"""

from __future__ import annotations

import csv
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

NOTES = (
    ("chest pain, now", "urgent"),
    ("refill, please", "routine"),
    ("new address", "administrative"),
    ("cannot breathe", "urgent"),
    ("results?", "routine"),
    ("insurance form", "administrative"),
)


def seconds(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> float:
    """How long a command takes; its output is shown where it fails."""
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - begun


def wishes(mibe: Path, folder: Path) -> dict[str, list[list[str | Path]]]:
    """Each wish, with its commands one after the other."""
    demo: list[str | Path] = ["--model", "demo", "--output-dir", folder / "runs"]
    notes: list[str | Path] = [mibe, "eval", "--data", folder / "notes.csv", "--input", "note", "--target", "urgency"]
    return {
        "score a model (40 questions)": [[mibe, "eval", *demo, "--tasks", "pubmedqa", "--limit", "40"]],
        "score outputs you have (500)": [[mibe, "score", "--task", "pubmedqa", "--outputs", folder / "outputs.csv"]],
        "score your own data (6 notes)": [[*notes, "--labels", "urgent,routine,administrative", *demo]],
        "have diagnoses rated (3 cases), until the page": [
            [mibe, "data", "prepare", "diagnosis_open"],
            [mibe, "eval", *demo, "--tasks", "diagnosis_open", "--limit", "3", "--max-new-tokens", "128"],
        ],
    }


def write_files(python: Path, folder: Path, environment: dict[str, str]) -> None:
    """A user's own files: notes with their urgency, and somebody's outputs on PubMedQA."""
    with (folder / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("note", "urgency"), *NOTES])
    script = (
        "import csv, mibe; rows = [(e.id, 'yes') for e in mibe.examples(mibe.load_task('pubmedqa'), 'test')]; "
        "csv.writer(open('outputs.csv', 'w', newline='')).writerows([('id', 'output'), *rows])"
    )
    seconds([python, "-c", script], folder, environment)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone = folder / "clone"
        environment = os.environ | {"MIBE_CACHE_DIR": f"{name}/cache", "MIBE_DATA_DIR": f"{name}/data"}
        seconds(["git", "clone", "--quiet", ROOT, clone], folder, environment)
        rows = [("installation (`make .venv/.demo`)", seconds(["make", ".venv/.demo"], clone, environment))]
        write_files(clone / ".venv/bin/python", folder, environment)
        for wish, commands in wishes(clone / ".venv/bin/mibe", folder).items():
            rows.append((wish, sum(seconds(command, folder, environment) for command in commands)))
    print("| | seconds |\n|---|---|")
    for what, spent in rows:
        print(f"| {what} | {spent:.0f} |")


if __name__ == "__main__":
    main()
